//! The denoising network.

mod config;
mod unet_2d_blocks;
mod unet_2d_condition;

#[cfg(test)]
mod tests;

pub use config::UNet2DConditionConfig;
pub(crate) use unet_2d_condition::UNet2DConditionModel;
pub use unet_2d_condition::{AddedConditions, ConditionedUNet, Sample, UNet};
