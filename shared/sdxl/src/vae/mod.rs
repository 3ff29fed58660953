//! The autoencoders.

mod autoencoder;
mod autoencoder_kl;
mod autoencoder_kl_config;
mod autoencoder_tiny;
mod autoencoder_tiny_config;
mod tiling;
#[allow(clippy::module_inception)] // diffusers' name
mod vae;

pub use autoencoder::{DiagonalGaussianDistribution, Encoded, LatentShape, VaeDecoder, VaeEncoder};
pub(crate) use autoencoder_kl::{AutoencoderKLDecoder, AutoencoderKLEncoder};
pub(crate) use autoencoder_kl_config::AutoencoderKLConfig;
pub(crate) use autoencoder_tiny::{AutoencoderTinyDecoder, AutoencoderTinyEncoder};
pub(crate) use autoencoder_tiny_config::AutoencoderTinyConfig;
