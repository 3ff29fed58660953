//! The networks behind object-safe traits, so that a program can pick the device while it runs.
//!
//! Everything that crosses these traits is plain `f32` in host memory, one sample at a time.

use crate::{Result, autoencoder_kl::DiagonalGaussianDistribution};

/// A prompt as the networks see it.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEmbeddings {
    /// Number of tokens T, padding included.
    pub tokens: usize,
    /// `[T, width]`, row by row: both encoders' hidden states side by side.
    pub prompt_embeds: Vec<f32>,
    /// `[projection_dim]` of the second encoder.
    pub pooled_prompt_embeds: Vec<f32>,
}

/// Both text encoders.
pub trait TextEncoders: Send + Sync {
    /// Number of ids each encoder takes at most (77 for SDXL).
    fn max_tokens(&self) -> usize;
    /// Values in a row of `prompt_embeds` (2048 for SDXL).
    fn width(&self) -> usize;
    /// Values in `pooled_prompt_embeds` (1280 for SDXL).
    fn pooled_width(&self) -> usize;
    /// Encodes one prompt: the padded ids of the first and of the second tokenizer, equal in number.
    ///
    /// `clip_skip` counts layers left out beyond the one that is always left out; 0 is diffusers' `None`.
    ///
    /// # Errors
    /// An id outside the vocabulary, too many ids, none, different numbers of them, a `clip_skip` that leaves less
    /// than no layer, or NaN in the result.
    fn encode(&self, ids_1: &[u32], ids_2: &[u32], clip_skip: usize) -> Result<TextEmbeddings>;
}

/// What a prompt and the sizes tell the network, once for all steps.
#[derive(Clone, Copy, Debug)]
pub struct AddedConditions<'a> {
    /// `[tokens, cross_attention_dim]`.
    pub prompt_embeds: &'a [f32],
    /// Number of rows in `prompt_embeds`; any number.
    pub tokens: usize,
    /// The pooled vector.
    pub pooled_prompt_embeds: &'a [f32],
    /// original height, original width, crop top, crop left, target height, target width, in pixels.
    pub time_ids: [f32; 6],
}

/// The denoising network.
pub trait UNet: Send + Sync {
    /// Its configuration: default size (`sample_size`), channels and widths.
    fn config(&self) -> &crate::unet_2d_condition::UNet2DConditionConfig;
    /// Computes all that depends on the prompt alone.
    ///
    /// # Errors
    /// Widths that differ from the configuration's.
    fn condition<'a>(
        &'a self,
        conditions: &AddedConditions<'_>,
    ) -> Result<Box<dyn ConditionedUNet + 'a>>;
}

/// The denoising network with a prompt.
pub trait ConditionedUNet {
    /// The network's output for `sample` `[in_channels, height, width]`, in latent pixels, **already scaled** by
    /// 1/sqrt(sigma^2 + 1). `timestep` is 0 to 999 and need not be whole. Returns `[out_channels, height, width]`.
    ///
    /// # Errors
    /// A sample of the wrong size, or NaN in the result.
    fn predict(
        &self,
        sample: &[f32],
        height: usize,
        width: usize,
        timestep: f32,
    ) -> Result<Vec<f32>>;
}

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
    /// With `tile`, pictures larger than the checkpoint's `sample_size` are decoded in overlapping tiles, which takes
    /// less memory and gives slightly other numbers, as in diffusers. `AutoencoderTiny`, which takes little memory
    /// as it is, decodes as a whole.
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
    /// # Errors
    /// An image of the wrong size, or NaN in the result.
    fn encode(&self, image: &[f32], height: usize, width: usize) -> Result<Encoded>;
}
