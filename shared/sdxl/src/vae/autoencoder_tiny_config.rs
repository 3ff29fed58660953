//! The tiny autoencoder's `config.json`.

use crate::vae::autoencoder::LatentShape;
use crate::{ConfigFile, Result};
use serde_json::json;

/// `AutoencoderTiny`'s configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AutoencoderTinyConfig {
    /// Channels of the picture that is encoded.
    pub in_channels: usize,
    /// Channels of the picture that is decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each level of the encoder.
    pub encoder_block_out_channels: Vec<usize>,
    /// Channels of each level of the decoder.
    pub decoder_block_out_channels: Vec<usize>,
    /// Blocks of each level of the encoder.
    pub num_encoder_blocks: Vec<usize>,
    /// Blocks of each level of the decoder.
    pub num_decoder_blocks: Vec<usize>,
    /// Latents in UNet scale are this many times those of the autoencoder.
    pub scaling_factor: f32,
    /// Whether it must run in f32.
    pub force_upcast: bool,
}

impl AutoencoderTinyConfig {
    /// TAESDXL's own, and diffusers' defaults.
    pub(crate) fn taesdxl() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            encoder_block_out_channels: vec![64; 4],
            decoder_block_out_channels: vec![64; 4],
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            scaling_factor: 1.,
            force_upcast: false,
        }
    }

    /// Reads the configuration; a missing key has diffusers' default.
    ///
    /// # Errors
    /// A value that is not supported, with its key.
    pub(crate) fn from_json(c: &ConfigFile<'_>) -> Result<Self> {
        c.only("act_fn", &[json!("relu")])?;
        c.only("upsample_fn", &[json!("nearest")])?;
        c.only("upsampling_scaling_factor", &[json!(2)])?;
        c.only("shift_factor", &[json!(0)])?;
        let default = Self::taesdxl();
        let number = |key, default| match c.optional(key, "a whole number from 1")? {
            Some(0) => Err(c.refuse(key, "a whole number from 1")),
            n => Ok(n.unwrap_or(default)),
        };
        let list = |key, default: Vec<usize>| -> Result<Vec<usize>> {
            let list = c
                .optional(key, "a list of whole numbers from 1")?
                .unwrap_or(default);
            if list.is_empty() || list.contains(&0) {
                return Err(c.refuse(key, "a list of whole numbers from 1"));
            }
            Ok(list)
        };
        let config = Self {
            in_channels: number("in_channels", default.in_channels)?,
            out_channels: number("out_channels", default.out_channels)?,
            latent_channels: number("latent_channels", default.latent_channels)?,
            encoder_block_out_channels: list(
                "encoder_block_out_channels",
                default.encoder_block_out_channels,
            )?,
            decoder_block_out_channels: list(
                "decoder_block_out_channels",
                default.decoder_block_out_channels,
            )?,
            num_encoder_blocks: list("num_encoder_blocks", default.num_encoder_blocks)?,
            num_decoder_blocks: list("num_decoder_blocks", default.num_decoder_blocks)?,
            scaling_factor: c.optional("scaling_factor", "a number")?.unwrap_or(1.),
            force_upcast: c.optional("force_upcast", "true, false")?.unwrap_or(false),
        };
        // A level's convolution has as many channels in as out, so that all levels have the same.
        let (encoder, decoder) = ("encoder_block_out_channels", "decoder_block_out_channels");
        for (key, widths, levels) in [
            (
                encoder,
                &config.encoder_block_out_channels,
                &config.num_encoder_blocks,
            ),
            (
                decoder,
                &config.decoder_block_out_channels,
                &config.num_decoder_blocks,
            ),
        ] {
            if widths.len() != levels.len() || widths.iter().any(|n| *n != widths[0]) {
                return Err(c.refuse(key, format!("a list of {} equal numbers", levels.len())));
            }
        }
        if config.num_encoder_blocks.len() != config.num_decoder_blocks.len() {
            return Err(c.refuse("num_decoder_blocks", "as many levels as num_encoder_blocks"));
        }
        if config.scaling_factor == 0. {
            return Err(c.refuse("scaling_factor", "a number other than 0"));
        }
        Ok(config)
    }

    /// Pixels to a latent pixel, in each direction.
    pub(crate) fn scale_factor(&self) -> usize {
        1 << (self.num_decoder_blocks.len() - 1)
    }

    /// What its latents look like.
    pub(crate) fn latent_shape(&self) -> LatentShape {
        LatentShape {
            channels: self.latent_channels,
            scale_factor: self.scale_factor(),
        }
    }
}
