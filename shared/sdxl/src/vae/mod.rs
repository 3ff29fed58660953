//! The autoencoders.

mod autoencoder;
mod autoencoder_kl;
mod autoencoder_tiny;
mod tiling;
#[allow(clippy::module_inception)] // diffusers' name
pub mod vae;

pub use autoencoder::{DiagonalGaussianDistribution, Encoded, LatentShape, VaeDecoder, VaeEncoder};
pub use autoencoder_kl::{AutoencoderKLConfig, AutoencoderKLDecoder, AutoencoderKLEncoder};
pub use autoencoder_tiny::{AutoencoderTinyConfig, AutoencoderTinyDecoder, AutoencoderTinyEncoder};
