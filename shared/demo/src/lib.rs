//! The demo checkpoint, for building into programs: SDXL's structure in miniature, drawing Fluent emoji.
//!
//! `files/` is a checkpoint in diffusers layout; `examples/demo-model` makes it and says what it is. Each constant holds
//! what one stage needs, and is none in builds without its feature; what no program refers to is not linked.

#![forbid(unsafe_code)]

use turbo_weights::EmbeddedFiles;

#[cfg(any(feature = "text", feature = "unet", feature = "vae"))]
macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        Some(EmbeddedFiles(&[$(($path, include_bytes!(concat!("../files/", $path)))),+]))
    };
}

/// Both text encoders and their tokenizers.
#[cfg(feature = "text")]
pub const TEXT: Option<EmbeddedFiles> = files![
    "model_index.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
];

/// Both text encoders and their tokenizers: left out of this build.
#[cfg(not(feature = "text"))]
pub const TEXT: Option<EmbeddedFiles> = None;

/// The `UNet` and its scheduler.
#[cfg(feature = "unet")]
pub const UNET: Option<EmbeddedFiles> = files![
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
];

/// The `UNet` and its scheduler: left out of this build.
#[cfg(not(feature = "unet"))]
pub const UNET: Option<EmbeddedFiles> = None;

/// The autoencoder.
#[cfg(feature = "vae")]
pub const VAE: Option<EmbeddedFiles> = files![
    "model_index.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
];

/// The autoencoder: left out of this build.
#[cfg(not(feature = "vae"))]
pub const VAE: Option<EmbeddedFiles> = None;

/// All of it, for programs that copy a checkpoint.
#[cfg(all(feature = "text", feature = "unet", feature = "vae"))]
pub const ALL: Option<EmbeddedFiles> = files![
    "NOTICE",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
];

/// All of it: left out of this build.
#[cfg(not(all(feature = "text", feature = "unet", feature = "vae")))]
pub const ALL: Option<EmbeddedFiles> = None;
