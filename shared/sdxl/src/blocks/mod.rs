//! What networks are built from.

pub(crate) mod attention;
pub(crate) mod embeddings;
pub(crate) mod resnet;
pub(crate) mod transformer_2d;
