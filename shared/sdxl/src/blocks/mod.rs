//! What networks are built from.

pub mod attention;
pub mod embeddings;
pub mod resnet;
pub mod transformer_2d;
