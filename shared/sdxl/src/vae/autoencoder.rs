//! The two halves of an autoencoder as programs see them, and what they give.
//!
//! diffusers: `DiagonalGaussianDistribution` in `models/autoencoders/vae.py`.

use crate::error::expect_len;
use crate::{Error, Result};

/// What an encoder makes of a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoded {
    /// A distribution to be sampled (`AutoencoderKL`).
    Posterior(DiagonalGaussianDistribution),
    /// Latents in UNet scale (`AutoencoderTiny`).
    Latents(Vec<f32>),
}

/// Pixels and channels of an autoencoder's latents, which are in **UNet scale** everywhere in these traits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatentShape {
    /// Channels (4 for SDXL).
    pub channels: usize,
    /// Pixels to a latent pixel, in each direction (8 for SDXL).
    pub scale_factor: usize,
}

/// The half of an autoencoder that makes pictures.
pub trait VaeDecoder: Send + Sync {
    /// What latents look like.
    fn latent_shape(&self) -> LatentShape;
    /// Decodes latents `[channels, height, width]`, in latent pixels, to an image
    /// `[3, height * scale_factor, width * scale_factor]`, about -1 to 1, not clamped. They are divided by
    /// `scaling_factor` here.
    ///
    /// With `tile`, large pictures are decoded in overlapping tiles, which takes less memory and gives slightly other
    /// numbers, as in diffusers: `AutoencoderKL` does so from beyond the checkpoint's `sample_size`, `AutoencoderTiny`
    /// from beyond 448 pixels, in tiles of 512.
    ///
    /// # Errors
    /// Latents of the wrong size, or NaN in the result.
    fn decode(&self, latents: &[f32], height: usize, width: usize, tile: bool) -> Result<Vec<f32>>;
}

/// The half of an autoencoder that makes latents.
pub trait VaeEncoder: Send + Sync {
    /// What latents look like.
    fn latent_shape(&self) -> LatentShape;
    /// Encodes an image `[3, height, width]`, -1 to 1, sides divisible by `scale_factor`.
    ///
    /// With `tile`, large pictures are encoded in overlapping tiles, as [`VaeDecoder::decode`] decodes them.
    ///
    /// # Errors
    /// An image of the wrong size, or NaN in the result.
    fn encode(&self, image: &[f32], height: usize, width: usize, tile: bool) -> Result<Encoded>;
}

/// Checks an image's length, and that its sides are multiples of `factor`.
pub(crate) fn expect_image(
    image: &[f32],
    channels: usize,
    height: usize,
    width: usize,
    factor: usize,
) -> Result<()> {
    if height == 0 || width == 0 || !height.is_multiple_of(factor) || !width.is_multiple_of(factor)
    {
        let expected = format!("a height and width divisible by {factor}");
        return Err(Error::argument(
            "picture",
            expected,
            format!("{height} x {width}"),
        ));
    }
    expect_len("picture", image, &[channels, height, width])
}

/// A normal distribution for each value of the latents, in the autoencoder's own scale.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagonalGaussianDistribution {
    /// `[latent_channels, height / 8, width / 8]`.
    pub mean: Vec<f32>,
    /// Logarithms of the variances, as many, clamped to -30 to 20.
    pub logvar: Vec<f32>,
    /// To UNet scale: what is added up is taken less `shift_factor`, times this.
    pub scaling_factor: f32,
    /// 0 for SDXL.
    pub shift_factor: f32,
}

impl DiagonalGaussianDistribution {
    /// Mean and logarithms of the variances in UNet scale: with `noise`, `mean + exp(logvar / 2) noise` are the latents
    /// of [`DiagonalGaussianDistribution::sample`].
    pub fn in_unet_scale(self) -> (Vec<f32>, Vec<f32>) {
        let Self {
            mut mean,
            mut logvar,
            scaling_factor,
            shift_factor,
        } = self;
        for value in &mut mean {
            *value = (*value - shift_factor) * scaling_factor;
        }
        for value in &mut logvar {
            *value += 2. * scaling_factor.ln();
        }
        (mean, logvar)
    }

    /// Latents in UNet scale: mean + standard deviation * `noise`, shifted and scaled. `noise` is standard normal,
    /// as many values as the mean has.
    ///
    /// # Errors
    /// Another number of values.
    pub fn sample(&self, noise: &[f32]) -> Result<Vec<f32>> {
        expect_len("noise", noise, &[self.mean.len()])?;
        let scaled = |z: f32| (z - self.shift_factor) * self.scaling_factor;
        Ok(self
            .mean
            .iter()
            .zip(&self.logvar)
            .zip(noise)
            .map(|((mean, logvar), noise)| scaled(mean + (0.5 * logvar).exp() * noise))
            .collect())
    }
}
