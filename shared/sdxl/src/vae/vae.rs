//! Encoder and decoder of the autoencoder.
//!
//! diffusers: `models/autoencoders/vae.py` (`Encoder`, `Decoder`), `models/unets/unet_2d_blocks.py`
//! (`DownEncoderBlock2D`, `UNetMidBlock2D`, `UpDecoderBlock2D`). Rombach et al. 2021, arXiv:2112.10752.

use super::autoencoder_kl_config::AutoencoderKLConfig;
use crate::Result;
use crate::backend::loader::Loader;
use crate::backend::{Activation, After, Backend, Input, Window};
use crate::blocks::attention::Attention;
use crate::blocks::resnet::{ResnetBlock2D, ResnetConfig};

/// Epsilon of every norm.
const EPS: f32 = 1e-6;

fn resnets<B: Backend>(
    loader: &Loader<'_, B>,
    inputs: usize,
    outputs: usize,
    count: usize,
    groups: usize,
) -> Result<Vec<ResnetBlock2D<B>>> {
    (0..count)
        .map(|i| {
            let config = ResnetConfig {
                inputs: if i == 0 { inputs } else { outputs },
                outputs,
                temb: None,
                groups,
                eps: EPS,
            };
            ResnetBlock2D::load(&loader.pp("resnets").pp(i), &config)
        })
        .collect()
}

/// `UNetMidBlock2D`: resnet, attention with a single head, resnet.
struct UNetMidBlock2D<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    group_norm: B::Norm,
    attention: Attention<B>,
}

impl<B: Backend> UNetMidBlock2D<B> {
    fn load(loader: &Loader<'_, B>, channels: usize, groups: usize) -> Result<Self> {
        let attention = loader.pp("attentions.0");
        Ok(Self {
            resnets: resnets(loader, channels, channels, 2, groups)?,
            group_norm: attention.group_norm("group_norm", channels, groups, EPS)?,
            attention: Attention::load_single_head(&attention, channels)?,
        })
    }

    fn forward(&self, b: &B, x: B::Tensor) -> Result<B::Tensor> {
        let x = self.resnets[0].forward(b, x, None)?;
        let (height, width) = b.size(&x);
        let h = b.group_norm(&x, &self.group_norm)?;
        let h = b.map_to_tokens(h)?;
        let kv = self.attention.keys_values(b, &h, 1)?;
        let x = b.map_to_tokens(x)?;
        let x = self.attention.forward_add(b, &h, kv.iter(), x)?;
        let x = b.tokens_to_map(x, height, width)?;
        self.resnets[1].forward(b, x, None)
    }
}

/// A level: resnets, then a down- or upsampling convolution, if it has one.
struct Level<B: Backend> {
    resnets: Vec<ResnetBlock2D<B>>,
    sampler: Option<B::Conv2d>,
}

/// Pictures to moments, before `quant_conv`.
pub(crate) struct Encoder<B: Backend> {
    conv_in: B::Conv2d,
    down_blocks: Vec<Level<B>>,
    mid_block: UNetMidBlock2D<B>,
    conv_norm_out: B::Norm,
    conv_out: B::Conv2d,
}

impl<B: Backend> Encoder<B> {
    /// Takes the weights.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, c: &AutoencoderKLConfig) -> Result<Self> {
        let (channels, groups) = (&c.block_out_channels, c.norm_num_groups);
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        // Zeros below and to the right only.
        let window = Window {
            stride: 2,
            padding: [0, 1, 0, 1],
        };
        let mut down_blocks = Vec::new();
        for (i, &outputs) in channels.iter().enumerate() {
            let loader = loader.pp("down_blocks").pp(i);
            let inputs = channels[i.saturating_sub(1)];
            down_blocks.push(Level {
                resnets: resnets(&loader, inputs, outputs, c.layers_per_block, groups)?,
                sampler: (i + 1 < channels.len())
                    .then(|| loader.conv2d("downsamplers.0.conv", outputs, outputs, 3, window))
                    .transpose()?,
            });
        }
        let same = Window::same(3);
        Ok(Self {
            conv_in: loader.conv2d("conv_in", c.in_channels, first, 3, same)?,
            down_blocks,
            mid_block: UNetMidBlock2D::load(&loader.pp("mid_block"), last, groups)?,
            conv_norm_out: loader.group_norm("conv_norm_out", last, groups, EPS)?,
            conv_out: loader.conv2d("conv_out", last, 2 * c.latent_channels, 3, same)?,
        })
    }

    /// `[in_channels, height, width]` to `[2 latent_channels, height / 8, width / 8]`.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward(&self, b: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let mut x = b.conv2d(Input::plain(x), &self.conv_in, After::default())?;
        for level in &self.down_blocks {
            for resnet in &level.resnets {
                x = resnet.forward(b, x, None)?;
            }
            if let Some(downsampler) = &level.sampler {
                x = b.conv2d(Input::plain(&x), downsampler, After::default())?;
            }
        }
        let x = self.mid_block.forward(b, x)?;
        let input = Input::normed(&x, &self.conv_norm_out, Activation::Silu);
        b.conv2d(input, &self.conv_out, After::default())
    }
}

/// Latents to pictures, after `post_quant_conv`.
pub(crate) struct Decoder<B: Backend> {
    conv_in: B::Conv2d,
    mid_block: UNetMidBlock2D<B>,
    up_blocks: Vec<Level<B>>,
    conv_norm_out: B::Norm,
    conv_out: B::Conv2d,
}

impl<B: Backend> Decoder<B> {
    /// Takes the weights.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, c: &AutoencoderKLConfig) -> Result<Self> {
        let (channels, groups) = (&c.block_out_channels, c.norm_num_groups);
        let (first, last) = (channels[0], channels.len() - 1);
        let same = Window::same(3);
        let mut up_blocks = Vec::new();
        for (n, i) in (0..=last).rev().enumerate() {
            let loader = loader.pp("up_blocks").pp(n);
            let (inputs, outputs) = (channels[(i + 1).min(last)], channels[i]);
            up_blocks.push(Level {
                resnets: resnets(&loader, inputs, outputs, c.layers_per_block + 1, groups)?,
                sampler: (i != 0)
                    .then(|| loader.conv2d("upsamplers.0.conv", outputs, outputs, 3, same))
                    .transpose()?,
            });
        }
        let last = channels[last];
        Ok(Self {
            conv_in: loader.conv2d("conv_in", c.latent_channels, last, 3, same)?,
            mid_block: UNetMidBlock2D::load(&loader.pp("mid_block"), last, groups)?,
            up_blocks,
            conv_norm_out: loader.group_norm("conv_norm_out", first, groups, EPS)?,
            conv_out: loader.conv2d("conv_out", first, c.out_channels, 3, same)?,
        })
    }

    /// `[latent_channels, height, width]` to `[out_channels, 8 height, 8 width]`.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward(&self, b: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let x = b.conv2d(Input::plain(x), &self.conv_in, After::default())?;
        let mut x = self.mid_block.forward(b, x)?;
        for level in &self.up_blocks {
            for resnet in &level.resnets {
                x = resnet.forward(b, x, None)?;
            }
            if let Some(upsampler) = &level.sampler {
                let (height, width) = b.size(&x);
                let input = Input::upsampled(&x, 2 * height, 2 * width);
                x = b.conv2d(input, upsampler, After::default())?;
            }
        }
        let input = Input::normed(&x, &self.conv_norm_out, Activation::Silu);
        b.conv2d(input, &self.conv_out, After::default())
    }
}
