//! The denoising network.

mod config;
pub mod unet_2d_blocks;
mod unet_2d_condition;

pub use config::UNet2DConditionConfig;
pub use unet_2d_condition::{
    AddedConditions, ConditionedUNet, Conditioning, UNet, UNet2DConditionModel, Watch,
};
