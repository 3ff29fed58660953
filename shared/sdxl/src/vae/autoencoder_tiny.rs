//! TAESD: a small autoencoder of the same latents.
//!
//! diffusers: `models/autoencoders/autoencoder_tiny.py`, `EncoderTiny` and `DecoderTiny` in `vae.py`;
//! <https://github.com/madebyollin/taesd>.

use super::autoencoder::{Encoded, LatentShape, VaeDecoder, VaeEncoder, expect_image};
use super::autoencoder_tiny_config::AutoencoderTinyConfig;
use crate::backend::loader::Loader;
use crate::backend::{Activation, Backend, Window};
use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};

/// Kernel size of every convolution.
const K: usize = 3;

/// Three convolutions, the input beside them, then ReLU.
struct AutoencoderTinyBlock<B: Backend> {
    conv: [B::Conv2d; 3],
}

impl<B: Backend> AutoencoderTinyBlock<B> {
    fn load(loader: &Loader<'_, B>, channels: usize) -> Result<Self> {
        let conv = |i: &str| loader.conv2d(i, channels, channels, K, Window::same(K));
        let conv = [conv("conv.0")?, conv("conv.2")?, conv("conv.4")?];
        Ok(Self { conv })
    }

    fn forward(&self, b: &B, x: B::Tensor) -> Result<B::Tensor> {
        let h = b.conv2d(&x, &self.conv[0], None, None)?;
        let h = b.activate(h, Activation::Relu)?;
        let h = b.conv2d(&h, &self.conv[1], None, None)?;
        let h = b.activate(h, Activation::Relu)?;
        let h = b.conv2d(&h, &self.conv[2], None, Some(x))?;
        b.activate(h, Activation::Relu)
    }
}

/// An entry of the `Sequential` that encoder and decoder are.
enum Layer<B: Backend> {
    Conv(B::Conv2d),
    Relu,
    Block(AutoencoderTinyBlock<B>),
    /// Nearest neighbour, twice the size.
    Upsample,
}

impl<B: Backend> Layer<B> {
    fn forward(&self, b: &B, x: B::Tensor) -> Result<B::Tensor> {
        match self {
            Self::Conv(conv) => b.conv2d(&x, conv, None, None),
            Self::Relu => b.activate(x, Activation::Relu),
            Self::Block(block) => block.forward(b, x),
            Self::Upsample => {
                let (height, width) = b.size(&x);
                b.upsample_nearest(&x, 2 * height, 2 * width)
            }
        }
    }
}

fn forward<B: Backend>(b: &B, layers: &[Layer<B>], x: B::Tensor) -> Result<B::Tensor> {
    layers.iter().try_fold(x, |x, layer| layer.forward(b, x))
}

/// Latents to pictures.
pub(crate) struct AutoencoderTinyDecoder<B: Backend> {
    backend: B,
    config: AutoencoderTinyConfig,
    layers: Vec<Layer<B>>,
}

impl<B: Backend> AutoencoderTinyDecoder<B> {
    /// Takes the weights, and knowingly leaves the encoder's.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: AutoencoderTinyConfig) -> Result<Self> {
        loader.ignore("encoder.");
        let c = &config;
        let (channels, same) = (&c.decoder_block_out_channels, Window::same(K));
        let mut layers = Vec::new();
        let loader = loader.pp("decoder.layers");
        let conv = loader.conv2d(
            &layers.len().to_string(),
            c.latent_channels,
            channels[0],
            K,
            same,
        )?;
        layers.push(Layer::Conv(conv));
        layers.push(Layer::Relu);
        for (i, &blocks) in c.num_decoder_blocks.iter().enumerate() {
            let n = channels[i];
            for _ in 0..blocks {
                let block = AutoencoderTinyBlock::load(&loader.pp(layers.len()), n)?;
                layers.push(Layer::Block(block));
            }
            let conv = if i + 1 < c.num_decoder_blocks.len() {
                layers.push(Layer::Upsample);
                loader.conv2d_no_bias(&layers.len().to_string(), n, n, K, same)?
            } else {
                loader.conv2d(&layers.len().to_string(), n, c.out_channels, K, same)?
            };
            layers.push(Layer::Conv(conv));
        }
        Ok(Self {
            backend: loader.backend.clone(),
            config,
            layers,
        })
    }
}

impl<B: Backend> VaeDecoder for AutoencoderTinyDecoder<B> {
    fn latent_shape(&self) -> LatentShape {
        self.config.latent_shape()
    }

    /// About -1 to 1. Not tiled.
    fn decode(&self, latents: &[f32], height: usize, width: usize, _: bool) -> Result<Vec<f32>> {
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
        let z: Vec<f32> = latents.iter().map(|x| x / c.scaling_factor).collect();
        let b = &self.backend;
        let mut image = b.run(|| {
            let x = b.soft_clamp(b.map(&z, c.latent_channels, height, width)?)?;
            b.to_host(&forward(b, &self.layers, x)?)
        })?;
        for x in &mut image {
            *x = *x * 2. - 1.;
        }
        expect_finite("the decoded image", &image)?;
        Ok(image)
    }
}

/// Pictures to latents.
pub(crate) struct AutoencoderTinyEncoder<B: Backend> {
    backend: B,
    config: AutoencoderTinyConfig,
    layers: Vec<Layer<B>>,
}

impl<B: Backend> AutoencoderTinyEncoder<B> {
    /// Takes the weights, and knowingly leaves the decoder's.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: AutoencoderTinyConfig) -> Result<Self> {
        loader.ignore("decoder.");
        let c = &config;
        let half = Window {
            stride: 2,
            padding: [1; 4],
        };
        let mut layers = Vec::new();
        let loader = loader.pp("encoder.layers");
        let mut last = c.in_channels;
        for (i, (&n, &blocks)) in c
            .encoder_block_out_channels
            .iter()
            .zip(&c.num_encoder_blocks)
            .enumerate()
        {
            let conv = if i == 0 {
                loader.conv2d(
                    &layers.len().to_string(),
                    c.in_channels,
                    n,
                    K,
                    Window::same(K),
                )?
            } else {
                loader.conv2d_no_bias(&layers.len().to_string(), n, n, K, half)?
            };
            layers.push(Layer::Conv(conv));
            for _ in 0..blocks {
                let block = AutoencoderTinyBlock::load(&loader.pp(layers.len()), n)?;
                layers.push(Layer::Block(block));
            }
            last = n;
        }
        let conv = loader.conv2d(
            &layers.len().to_string(),
            last,
            c.latent_channels,
            K,
            Window::same(K),
        )?;
        layers.push(Layer::Conv(conv));
        Ok(Self {
            backend: loader.backend.clone(),
            config,
            layers,
        })
    }
}

impl<B: Backend> VaeEncoder for AutoencoderTinyEncoder<B> {
    fn latent_shape(&self) -> LatentShape {
        self.config.latent_shape()
    }

    fn encode(&self, image: &[f32], height: usize, width: usize, _: bool) -> Result<Encoded> {
        let (b, c) = (&self.backend, &self.config);
        expect_image(image, c.in_channels, height, width, c.scale_factor())?;
        let image: Vec<f32> = image.iter().map(|x| (x + 1.) / 2.).collect();
        let mut latents = b.run(|| {
            let x = b.map(&image, c.in_channels, height, width)?;
            b.to_host(&forward(b, &self.layers, x)?)
        })?;
        for x in &mut latents {
            *x *= c.scaling_factor;
        }
        expect_finite("the encoded picture", &latents)?;
        Ok(Encoded::Latents(latents))
    }
}
