//! The text encoders.

mod clip_text_model;
mod config;
mod text_encoders;

pub use clip_text_model::TokenVectors;
pub(crate) use clip_text_model::{CLIPTextModel, CLIPTextModelWithProjection};
pub(crate) use config::CLIPTextConfig;
pub(crate) use text_encoders::EncoderPair;
pub use text_encoders::{TextEmbeddings, TextEncoders};
