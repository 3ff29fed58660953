//! The autoencoder that latents come from, as its two halves.
//!
//! diffusers: `models/autoencoders/autoencoder_kl.py`. A program needs one half only, and the other's weights are then
//! never touched; so `AutoencoderKL` is two types here.

use super::autoencoder::{
    DiagonalGaussianDistribution, Encoded, LatentShape, VaeDecoder, VaeEncoder, expect_image,
};
use super::autoencoder_kl_config::AutoencoderKLConfig;
use super::tiling::{self, Map};
use super::vae::{Decoder, Encoder};
use crate::backend::loader::Loader;
use crate::backend::{After, Backend, Input, Window};
use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};

/// Latents to pictures.
pub(crate) struct AutoencoderKLDecoder<B: Backend> {
    backend: B,
    config: AutoencoderKLConfig,
    post_quant_conv: Option<B::Conv2d>,
    decoder: Decoder<B>,
}

impl<B: Backend> AutoencoderKLDecoder<B> {
    /// Takes the weights, and knowingly leaves the encoder's.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: AutoencoderKLConfig) -> Result<Self> {
        loader.ignore("encoder.");
        loader.ignore("quant_conv.");
        let n = config.latent_channels;
        Ok(Self {
            backend: loader.backend.clone(),
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| loader.conv2d("post_quant_conv", n, n, 1, Window::same(1)))
                .transpose()?,
            decoder: Decoder::load(&loader.pp("decoder"), &config)?,
            config,
        })
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

    /// The image `[out_channels, 8 height, 8 width]` for latents `[latent_channels, height, width]` in the autoencoder's
    /// own scale.
    fn decode_tile(&self, z: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let b = &self.backend;
        let mut x = b.map(z, self.config.latent_channels, height, width)?;
        if let Some(conv) = &self.post_quant_conv {
            x = b.conv2d(Input::plain(&x), conv, After::default())?;
        }
        b.to_host(&self.decoder.forward(b, &x)?)
    }
}

impl<B: Backend> VaeDecoder for AutoencoderKLDecoder<B> {
    fn latent_shape(&self) -> LatentShape {
        self.config.latent_shape()
    }

    fn decode(&self, latents: &[f32], height: usize, width: usize, tile: bool) -> Result<Vec<f32>> {
        let c = &self.config;
        let z = self.unscaled(latents, height, width)?;
        let (side, factor) = (c.tile_latent_min_size(), c.scale_factor());
        let image = self.backend.run(|| {
            if !tile || height.max(width) <= side {
                return self.decode_tile(&z, height, width);
            }
            let map = Map {
                values: &z,
                channels: c.latent_channels,
                height,
                width,
            };
            let decode = |z: &[f32], height, width| self.decode_tile(z, height, width);
            tiling::blended(&map, side, side * factor, c.out_channels, decode)
        })?;
        expect_finite("the decoded image", &image)?;
        Ok(image)
    }
}

/// Pictures to a distribution of latents.
pub(crate) struct AutoencoderKLEncoder<B: Backend> {
    backend: B,
    config: AutoencoderKLConfig,
    encoder: Encoder<B>,
    quant_conv: Option<B::Conv2d>,
}

impl<B: Backend> AutoencoderKLEncoder<B> {
    /// Takes the weights, and knowingly leaves the decoder's.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: AutoencoderKLConfig) -> Result<Self> {
        loader.ignore("decoder.");
        loader.ignore("post_quant_conv.");
        let n = 2 * config.latent_channels;
        Ok(Self {
            backend: loader.backend.clone(),
            encoder: Encoder::load(&loader.pp("encoder"), &config)?,
            quant_conv: config
                .use_quant_conv
                .then(|| loader.conv2d("quant_conv", n, n, 1, Window::same(1)))
                .transpose()?,
            config,
        })
    }

    /// Mean and logarithm of the variance, side by side: `[2 latent_channels, height / 8, width / 8]`.
    fn encode_tile(&self, image: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let b = &self.backend;
        let x = b.map(image, self.config.in_channels, height, width)?;
        let mut moments = self.encoder.forward(b, &x)?;
        if let Some(conv) = &self.quant_conv {
            moments = b.conv2d(Input::plain(&moments), conv, After::default())?;
        }
        b.to_host(&moments)
    }
}

impl<B: Backend> VaeEncoder for AutoencoderKLEncoder<B> {
    fn latent_shape(&self) -> LatentShape {
        self.config.latent_shape()
    }

    fn encode(&self, image: &[f32], height: usize, width: usize, tile: bool) -> Result<Encoded> {
        let c = &self.config;
        let (side, factor) = (c.tile_latent_min_size(), c.scale_factor());
        expect_image(image, c.in_channels, height, width, factor)?;
        let mut mean = self.backend.run(|| {
            if !tile || height.max(width) <= side * factor {
                return self.encode_tile(image, height, width);
            }
            let map = Map {
                values: image,
                channels: c.in_channels,
                height,
                width,
            };
            let encode = |x: &[f32], height, width| self.encode_tile(x, height, width);
            tiling::blended(&map, side * factor, side, 2 * c.latent_channels, encode)
        })?;
        expect_finite("the encoded picture", &mean)?;
        let mut logvar = mean.split_off(mean.len() / 2);
        for x in &mut logvar {
            *x = x.clamp(-30., 20.);
        }
        Ok(Encoded::Posterior(DiagonalGaussianDistribution {
            mean,
            logvar,
            scaling_factor: c.scaling_factor,
            shift_factor: c.shift_factor,
        }))
    }
}
