//! The autoencoder that latents come from, as its two halves.
//!
//! diffusers: `models/autoencoders/autoencoder_kl.py`. A program needs one half only, and the other's weights are then
//! never touched; so `AutoencoderKL` is two types here.

use super::autoencoder::{DiagonalGaussianDistribution, expect_image};
use super::autoencoder_kl_config::AutoencoderKLConfig;
use super::tiling;
use super::vae::{Decoder, Encoder};
use crate::backend::{Backend, Loader, Window};
use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};

/// Latents to pictures.
pub struct AutoencoderKLDecoder<B: Backend> {
    config: AutoencoderKLConfig,
    post_quant_conv: Option<B::Conv2d>,
    decoder: Decoder<B>,
}

impl<B: Backend> AutoencoderKLDecoder<B> {
    /// Takes the weights, and knowingly leaves the encoder's.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn load(loader: &Loader<'_, B>, config: AutoencoderKLConfig) -> Result<Self> {
        loader.ignore("encoder.");
        loader.ignore("quant_conv.");
        let n = config.latent_channels;
        Ok(Self {
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| loader.conv2d("post_quant_conv", n, n, 1, Window::same(1)))
                .transpose()?,
            decoder: Decoder::load(&loader.pp("decoder"), &config)?,
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &AutoencoderKLConfig {
        &self.config
    }

    /// The image `[out_channels, 8 height, 8 width]` for latents `[latent_channels, height, width]` in UNet scale:
    /// they are divided by `scaling_factor` here. Not clamped.
    ///
    /// # Errors
    /// Latents of another size; NaN in the result; the backend's.
    pub fn decode(&self, b: &B, latents: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let image = self.decode_tile(b, &self.unscaled(latents, height, width)?, height, width)?;
        expect_finite("the decoded image", &image)?;
        Ok(image)
    }

    /// As [`AutoencoderKLDecoder::decode`], in overlapping tiles of `sample_size` pixels where a side is larger.
    ///
    /// # Errors
    /// As [`AutoencoderKLDecoder::decode`].
    pub fn tiled_decode(
        &self,
        b: &B,
        latents: &[f32],
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>> {
        let c = &self.config;
        let tile = c.tile_latent_min_size();
        if height.max(width) <= tile {
            return self.decode(b, latents, height, width);
        }
        let map = tiling::Map {
            values: &self.unscaled(latents, height, width)?,
            channels: c.latent_channels,
            height,
            width,
        };
        let decode = |z: &[f32], height, width| self.decode_tile(b, z, height, width);
        let image = tiling::decode(&map, tile, c.scale_factor(), c.out_channels, decode)?;
        expect_finite("the decoded image", &image)?;
        Ok(image)
    }

    fn unscaled(&self, latents: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let c = &self.config;
        if height == 0 || width == 0 {
            let found = format!("{height} x {width}");
            return Err(Error::argument(
                "latents",
                "at least one latent pixel",
                found,
            ));
        }
        expect_len("latents", latents, &[c.latent_channels, height, width])?;
        Ok(latents
            .iter()
            .map(|x| x / c.scaling_factor + c.shift_factor)
            .collect())
    }

    fn decode_tile(&self, b: &B, z: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let mut x = b.map(z, self.config.latent_channels, height, width)?;
        if let Some(conv) = &self.post_quant_conv {
            x = b.conv2d(&x, conv, None, None)?;
        }
        b.to_host(&self.decoder.forward(b, &x)?)
    }
}

/// Pictures to a distribution of latents.
pub struct AutoencoderKLEncoder<B: Backend> {
    config: AutoencoderKLConfig,
    encoder: Encoder<B>,
    quant_conv: Option<B::Conv2d>,
}

impl<B: Backend> AutoencoderKLEncoder<B> {
    /// Takes the weights, and knowingly leaves the decoder's.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn load(loader: &Loader<'_, B>, config: AutoencoderKLConfig) -> Result<Self> {
        loader.ignore("decoder.");
        loader.ignore("post_quant_conv.");
        let n = 2 * config.latent_channels;
        Ok(Self {
            encoder: Encoder::load(&loader.pp("encoder"), &config)?,
            quant_conv: config
                .use_quant_conv
                .then(|| loader.conv2d("quant_conv", n, n, 1, Window::same(1)))
                .transpose()?,
            config,
        })
    }

    /// The configuration it was loaded with.
    pub fn config(&self) -> &AutoencoderKLConfig {
        &self.config
    }

    /// The distribution for an image `[in_channels, height, width]`, -1 to 1, sides divisible by 8.
    ///
    /// # Errors
    /// An image of another size; NaN in the result; the backend's.
    pub fn encode(
        &self,
        b: &B,
        image: &[f32],
        height: usize,
        width: usize,
    ) -> Result<DiagonalGaussianDistribution> {
        let c = &self.config;
        let factor = c.scale_factor();
        expect_image(image, c.in_channels, height, width, factor)?;
        let x = b.map(image, c.in_channels, height, width)?;
        let mut moments = self.encoder.forward(b, &x)?;
        if let Some(conv) = &self.quant_conv {
            moments = b.conv2d(&moments, conv, None, None)?;
        }
        let mut mean = b.to_host(&moments)?;
        expect_finite("the encoded picture", &mean)?;
        let mut logvar = mean.split_off(mean.len() / 2);
        for x in &mut logvar {
            *x = x.clamp(-30., 20.);
        }
        Ok(DiagonalGaussianDistribution {
            mean,
            logvar,
            scaling_factor: c.scaling_factor,
            shift_factor: c.shift_factor,
        })
    }
}
