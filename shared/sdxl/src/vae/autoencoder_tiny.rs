//! TAESD: a small autoencoder of the same latents.
//!
//! diffusers: `models/autoencoders/autoencoder_tiny.py`, `EncoderTiny` and `DecoderTiny` in `vae.py`;
//! <https://github.com/madebyollin/taesd>.

use super::autoencoder::{Encoded, LatentShape, VaeDecoder, VaeEncoder, expect_image};
use super::autoencoder_tiny_config::AutoencoderTinyConfig;
use super::tiling::{self, Map};
use crate::backend::loader::Loader;
use crate::backend::{Activation, After, Backend, Input, Window};
use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};
use std::ops::Range;

/// Kernel size of every convolution.
const K: usize = 3;
/// Rows of a picture that are encoded at a time at its full size.
const BAND: usize = 256;
/// Pixels of a tile's side: diffusers' `tile_sample_min_size`, which no configuration changes.
const TILE: usize = 512;

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
        let relu = |residual| After {
            residual,
            activation: Activation::Relu,
            ..After::default()
        };
        let h = b.conv2d(Input::plain(&x), &self.conv[0], relu(None))?;
        let h = b.conv2d(Input::plain(&h), &self.conv[1], relu(None))?;
        b.conv2d(Input::plain(&h), &self.conv[2], relu(Some(x)))
    }
}

/// Entries of the `Sequential` that encoder and decoder are.
enum Layer<B: Backend> {
    /// An upsampling to twice the size where the factor is 2, a convolution, an activation.
    Conv {
        factor: usize,
        conv: B::Conv2d,
        activation: Activation,
    },
    Block(AutoencoderTinyBlock<B>),
}

impl<B: Backend> Layer<B> {
    /// A convolution alone.
    fn conv(conv: B::Conv2d) -> Self {
        Self::Conv {
            factor: 1,
            conv,
            activation: Activation::Identity,
        }
    }

    /// How many convolutions it has, one after the other.
    fn convolutions(&self) -> usize {
        match self {
            Self::Conv { .. } => 1,
            Self::Block(block) => block.conv.len(),
        }
    }

    fn forward(&self, b: &B, x: B::Tensor) -> Result<B::Tensor> {
        match self {
            Self::Conv {
                factor,
                conv,
                activation,
            } => {
                let (height, width) = b.size(&x);
                let input = Input::upsampled(&x, factor * height, factor * width);
                let after = After {
                    activation: *activation,
                    ..After::default()
                };
                b.conv2d(input, conv, after)
            }
            Self::Block(block) => block.forward(b, x),
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
        let loader = loader.pp("decoder.layers");
        let (first, latents) = (channels[0], c.latent_channels);
        let mut layers = vec![Layer::Conv {
            factor: 1,
            conv: loader.conv2d("0", latents, first, K, same)?,
            activation: Activation::Relu,
        }];
        // Of the next entry: the ReLU is one, and so is an upsampling.
        let mut index = 2;
        for (i, &blocks) in c.num_decoder_blocks.iter().enumerate() {
            let n = channels[i];
            for _ in 0..blocks {
                let block = AutoencoderTinyBlock::load(&loader.pp(index), n)?;
                layers.push(Layer::Block(block));
                index += 1;
            }
            layers.push(if i + 1 < c.num_decoder_blocks.len() {
                let name = (index + 1).to_string();
                Layer::Conv {
                    factor: 2,
                    conv: loader.conv2d_no_bias(&name, n, n, K, same)?,
                    activation: Activation::Identity,
                }
            } else {
                Layer::conv(loader.conv2d(&index.to_string(), n, c.out_channels, K, same)?)
            });
            index += 2;
        }
        Ok(Self {
            backend: loader.backend.clone(),
            config,
            layers,
        })
    }

    /// The image `[out_channels, 8 height, 8 width]`, 0 to 1, for latents in the autoencoder's own scale.
    fn decode_tile(&self, z: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let b = &self.backend;
        let x = b.soft_clamp(b.map(z, self.config.latent_channels, height, width)?)?;
        b.to_host(&forward(b, &self.layers, x)?)
    }
}

impl<B: Backend> VaeDecoder for AutoencoderTinyDecoder<B> {
    fn latent_shape(&self) -> LatentShape {
        self.config.latent_shape()
    }

    fn decode(&self, latents: &[f32], height: usize, width: usize, tile: bool) -> Result<Vec<f32>> {
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
        let mut image = self.backend.run(|| {
            if !tile {
                return self.decode_tile(&z, height, width);
            }
            let map = Map {
                values: &z,
                channels: c.latent_channels,
                height,
                width,
            };
            let decode = |z: &[f32], height, width| self.decode_tile(z, height, width);
            tiling::overlaid(&map, TILE / c.scale_factor(), TILE, c.out_channels, decode)
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
    /// How many of the layers see the picture at its full size: up to the one that halves it, none where none does.
    large: usize,
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
            layers.push(Layer::conv(conv));
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
        layers.push(Layer::conv(conv));
        Ok(Self {
            backend: loader.backend.clone(),
            large: match config.num_encoder_blocks[..] {
                [first, _, ..] => 1 + first + 1,
                _ => 0,
            },
            config,
            layers,
        })
    }

    /// Latents `[latent_channels, height / 8, width / 8]` in the autoencoder's own scale, for an image of -1 to 1.
    fn encode_tile(&self, image: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let b = &self.backend;
        let (large, small) = self.layers.split_at(self.large);
        let x = if height <= BAND || large.is_empty() {
            forward(b, large, self.rows(image, height, width, 0..height)?)?
        } else {
            self.in_bands(large, image, height, width)?
        };
        b.to_host(&forward(b, small, x)?)
    }

    /// Rows of an image as a map, brought from -1 to 1 to 0 to 1.
    fn rows(
        &self,
        image: &[f32],
        height: usize,
        width: usize,
        rows: Range<usize>,
    ) -> Result<B::Tensor> {
        let planes = image.chunks_exact(height * width);
        let rows_of = |plane: &[f32]| plane[rows.start * width..rows.end * width].to_vec();
        let mut values: Vec<f32> = planes.flat_map(rows_of).collect();
        for x in &mut values {
            *x = 0.5 * *x + 0.5;
        }
        self.backend
            .map(&values, self.config.in_channels, rows.len(), width)
    }

    /// What the layers at the picture's full size make of it, a band at a time: the same numbers as at once, from a
    /// fraction of the memory. A band has as many rows more, above and below, as its edges spoil.
    fn in_bands(
        &self,
        large: &[Layer<B>],
        image: &[f32],
        height: usize,
        width: usize,
    ) -> Result<B::Tensor> {
        let b = &self.backend;
        let channels = self.config.encoder_block_out_channels[0];
        // Each convolution spoils a row; in fours, so that a band is cut into blocks of pixels as the whole would be.
        let convolutions: usize = large.iter().map(Layer::convolutions).sum();
        let spoiled = convolutions.next_multiple_of(4);
        let mut half = vec![0.; channels * height / 2 * width / 2];
        for top in (0..height).step_by(BAND) {
            let bottom = (top + BAND).min(height);
            let rows = top.saturating_sub(spoiled)..(bottom + spoiled).min(height);
            let band = self.rows(image, height, width, rows.clone())?;
            let band = b.to_host(&forward(b, large, band)?)?;
            let [whole, seen, kept, skipped] = [height, rows.len(), bottom - top, top - rows.start]
                .map(|rows| rows / 2 * (width / 2));
            for (half, band) in half.chunks_exact_mut(whole).zip(band.chunks_exact(seen)) {
                let to = top / 2 * (width / 2);
                half[to..][..kept].copy_from_slice(&band[skipped..][..kept]);
            }
        }
        b.map(&half, channels, height / 2, width / 2)
    }
}

impl<B: Backend> VaeEncoder for AutoencoderTinyEncoder<B> {
    fn latent_shape(&self) -> LatentShape {
        self.config.latent_shape()
    }

    fn encode(&self, image: &[f32], height: usize, width: usize, tile: bool) -> Result<Encoded> {
        let c = &self.config;
        expect_image(image, c.in_channels, height, width, c.scale_factor())?;
        let mut latents = self.backend.run(|| {
            if !tile {
                return self.encode_tile(image, height, width);
            }
            let map = Map {
                values: image,
                channels: c.in_channels,
                height,
                width,
            };
            let encode = |x: &[f32], height, width| self.encode_tile(x, height, width);
            tiling::overlaid(
                &map,
                TILE,
                TILE / c.scale_factor(),
                c.latent_channels,
                encode,
            )
        })?;
        for x in &mut latents {
            *x *= c.scaling_factor;
        }
        expect_finite("the encoded picture", &latents)?;
        Ok(Encoded::Latents(latents))
    }
}
