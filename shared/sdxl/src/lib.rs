//! The SDXL networks, with diffusers' names and, in f32, diffusers' numbers.
//!
//! Programs open a network on a [`Device`] and use it through an object-safe trait:
//!
//! ```no_run
//! # fn main() -> turbo_sdxl::Result<()> {
//! # let model = turbo_weights::Model::locate("demo", &turbo_weights::LocateOptions::default())?;
//! # let (ids_1, ids_2, noise) = (vec![0; 77], vec![0; 77], vec![0.0; 4 * 64 * 64]);
//! use turbo_sdxl::{AddedConditions, DType, Device, image_processor};
//!
//! let device = Device::Cpu;
//! let text = turbo_sdxl::open_text_encoders(&device, DType::Auto, &model, &[])?;
//! let prompt = text.encode(&ids_1, &ids_2, 0)?;
//!
//! let unet = turbo_sdxl::open_unet(&device, DType::Auto, &model, &[])?;
//! let conditioned = unet.condition(&AddedConditions {
//!     prompt_embeds: &prompt.prompt_embeds,
//!     tokens: prompt.tokens,
//!     pooled_prompt_embeds: &prompt.pooled_prompt_embeds,
//!     time_ids: [512., 512., 0., 0., 512., 512.],
//!     size: [64, 64],
//!     image: &[],
//! })?;
//! let output = conditioned.predict(&noise, 999.)?; // one call a step
//!
//! let vae = turbo_sdxl::open_vae_decoder(&device, DType::Auto, &model.vae()?)?;
//! let image = vae.decode(&output, 64, 64, false)?; // latents in UNet scale
//! let rgb = image_processor::postprocess(&image, 512, 512)?; // u8 [512, 512, 3]
//! # Ok(())
//! # }
//! ```
//!
//! Below that, each network is written once, generic over `Backend`, in a file named as in diffusers; the
//! README beside this crate says where, and how to add to it.
#![forbid(unsafe_code)]
#![allow(clippy::doc_markdown)] // UNet, ReLU and GEGLU are words here

mod backend;
mod blocks;
mod clip;
mod config;
mod device;
mod error;
pub mod image_processor;
mod open;
mod unet;
mod vae;

pub use clip::{TextEmbeddings, TextEncoders, TokenVectors};
use config::ConfigFile;
pub use device::{DType, Device, use_threads};
pub use error::{Error, Result, expect_finite};
pub use open::{open_text_encoders, open_unet, open_unet_with, open_vae_decoder, open_vae_encoder};
pub use unet::{AddedConditions, ConditionedUNet, Sample, UNet, UNet2DConditionConfig};
pub use vae::{DiagonalGaussianDistribution, Encoded, LatentShape, VaeDecoder, VaeEncoder};
