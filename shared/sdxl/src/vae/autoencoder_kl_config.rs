//! The autoencoder's `config.json`.

use crate::vae::autoencoder::LatentShape;
use crate::{ConfigFile, Result};
use serde_json::json;

/// `AutoencoderKL`'s configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AutoencoderKLConfig {
    /// Channels of the picture that is encoded.
    pub in_channels: usize,
    /// Channels of the picture that is decoded.
    pub out_channels: usize,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Channels of each level, from the picture's side.
    pub block_out_channels: Vec<usize>,
    /// Resnets of each level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Latents in UNet scale are this many times those of the autoencoder.
    pub scaling_factor: f32,
    /// Added to latents before decoding; 0 for SDXL.
    pub shift_factor: f32,
    /// Sides of a tile, in pixels.
    pub sample_size: usize,
    /// Whether float16 overflows in it, so that it runs in f32 whatever was asked for.
    pub force_upcast: bool,
    /// Whether there is a 1x1 convolution behind the encoder.
    pub use_quant_conv: bool,
    /// Whether there is a 1x1 convolution in front of the decoder.
    pub use_post_quant_conv: bool,
}

impl AutoencoderKLConfig {
    /// Reads the configuration; a missing key has diffusers' default.
    ///
    /// # Errors
    /// A value that is not supported, with its key.
    pub(crate) fn from_json(c: &ConfigFile<'_>) -> Result<Self> {
        c.only("act_fn", &[json!("silu")])?;
        c.only("latents_mean", &[])?;
        c.only("latents_std", &[])?;
        c.only("mid_block_add_attention", &[json!(true)])?;
        let channels: Vec<usize> = c.required("block_out_channels", "a list of channels")?;
        let levels = channels.len();
        if levels == 0 || channels.contains(&0) {
            return Err(c.refuse("block_out_channels", "a list of channels"));
        }
        c.only(
            "down_block_types",
            &[json!(vec!["DownEncoderBlock2D"; levels])],
        )?;
        c.only("up_block_types", &[json!(vec!["UpDecoderBlock2D"; levels])])?;
        let flag = |key| Ok::<_, crate::Error>(c.optional(key, "true, false")?.unwrap_or(true));
        let config = Self {
            in_channels: c.count("in_channels")?,
            out_channels: c.count("out_channels")?,
            latent_channels: c.count("latent_channels")?,
            layers_per_block: c
                .optional("layers_per_block", "a whole number")?
                .unwrap_or(1),
            norm_num_groups: c
                .optional("norm_num_groups", "a whole number")?
                .unwrap_or(32),
            scaling_factor: c.optional("scaling_factor", "a number")?.unwrap_or(0.18215),
            shift_factor: c.optional("shift_factor", "a number")?.unwrap_or(0.),
            sample_size: c.optional("sample_size", "a whole number")?.unwrap_or(32),
            force_upcast: flag("force_upcast")?,
            use_quant_conv: flag("use_quant_conv")?,
            use_post_quant_conv: flag("use_post_quant_conv")?,
            block_out_channels: channels,
        };
        let groups = config.norm_num_groups;
        if groups == 0 || config.block_out_channels.iter().any(|n| n % groups != 0) {
            return Err(c.refuse("norm_num_groups", "a divisor of each of block_out_channels"));
        }
        if config.layers_per_block == 0 {
            return Err(c.refuse("layers_per_block", "a whole number from 1"));
        }
        if config.scaling_factor == 0. {
            return Err(c.refuse("scaling_factor", "a number other than 0"));
        }
        Ok(config)
    }

    /// Sides of a tile in latent pixels: `sample_size`, in a multiple of 4 so that a quarter is whole.
    pub(crate) fn tile_latent_min_size(&self) -> usize {
        (self.sample_size / self.scale_factor() / 4 * 4).max(4)
    }

    /// Pixels to a latent pixel, in each direction.
    pub(crate) fn scale_factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// What its latents look like.
    pub(crate) fn latent_shape(&self) -> LatentShape {
        LatentShape {
            channels: self.latent_channels,
            scale_factor: self.scale_factor(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn published_values_are_read_and_others_refused() {
        let published = json!({
            "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D",
            "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "force_upcast": true,
            "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
            "sample_size": 1024, "scaling_factor": 0.13025,
        });
        let read = |json: &serde_json::Value| {
            AutoencoderKLConfig::from_json(&ConfigFile::new(Path::new("vae/config.json"), json)?)
        };
        let c = read(&published).unwrap();
        assert_eq!((c.scale_factor(), c.tile_latent_min_size()), (8, 128));
        assert!(c.force_upcast && c.use_quant_conv && c.use_post_quant_conv);
        for (key, value) in [
            ("act_fn", json!("relu")),
            ("latents_mean", json!([0.0, 0.0, 0.0, 0.0])),
            ("down_block_types", json!(["DownEncoderBlock2D"])),
            ("mid_block_add_attention", json!(false)),
            ("norm_num_groups", json!(7)),
            ("scaling_factor", json!(0)),
            ("sample_size", json!("large")),
            ("block_out_channels", json!([])),
        ] {
            let mut json = published.clone();
            json[key] = value;
            let message = read(&json).unwrap_err().to_string();
            assert!(
                message.contains(&format!("vae/config.json: `{key}` is")),
                "{message}"
            );
        }
    }
}
