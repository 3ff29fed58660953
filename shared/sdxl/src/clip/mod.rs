//! The text encoders.

mod clip_text_model;
mod config;
mod text_encoders;

pub use clip_text_model::{CLIPTextModel, CLIPTextModelWithProjection};
pub use config::CLIPTextConfig;
pub use text_encoders::{EncoderPair, TextEmbeddings, TextEncoders};
