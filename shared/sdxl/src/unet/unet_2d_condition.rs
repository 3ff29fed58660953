//! The denoising network.
//!
//! diffusers: `models/unets/unet_2d_condition.py`. Ho et al. 2020, arXiv:2006.11239; Podell et al. 2023,
//! arXiv:2307.01952 (SDXL).

use super::config::UNet2DConditionConfig;
use super::unet_2d_blocks::{BlockConfig, BlockPrompt, DownBlock, Given, MidBlock, UpBlock};
use crate::backend::loader::Loader;
use crate::backend::{Activation, After, Backend, Input, Samples, Window};
use crate::blocks::embeddings::{TimestepEmbedding, get_timestep_embedding};
use crate::blocks::transformer_2d::TransformerConfig;
use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};
use std::any::Any;
use std::sync::Arc;

/// All that the output depends on beside the sample and the timestep, the same at all steps.
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
    /// Height and width of every sample, in latent pixels.
    pub size: [usize; 2],
    /// `[in_channels - out_channels, height, width]`: what the network sees of a picture beside the sample, as it is,
    /// whatever the step's sigma. An inpainting network's nine channels are four of the sample, the mask, and four of the
    /// masked picture's latents in UNet scale. Empty where both numbers of channels are equal.
    pub image: &'a [f32],
}

/// The denoising network.
pub trait UNet: Send + Sync {
    /// Its configuration: default size (`sample_size`), channels and widths.
    fn config(&self) -> &UNet2DConditionConfig;
    /// Computes all that depends on the conditions alone. What it gives keeps the network open.
    ///
    /// # Errors
    /// Sizes that differ from the configuration's.
    fn condition(&self, conditions: &AddedConditions<'_>) -> Result<Box<dyn ConditionedUNet>>;
    /// The output for each sample of a batch, the very numbers that [`ConditionedUNet::predict`] gives; but weights are
    /// read once for all, and a multiple of the memory is taken.
    ///
    /// # Errors
    /// As [`ConditionedUNet::predict`]; conditions of different sizes.
    ///
    /// # Panics
    /// If conditions are of another device's network.
    fn predict(&self, batch: &[Sample<'_>]) -> Result<Vec<Vec<f32>>>;
}

/// One sample of a batch.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// The network with this sample's conditions, made by the same network.
    pub conditioned: &'a dyn ConditionedUNet,
    /// As [`ConditionedUNet::predict`] takes it.
    pub sample: &'a [f32],
    /// 0 to 999.
    pub timestep: f32,
}

/// The denoising network with its conditions.
pub trait ConditionedUNet: Any {
    /// The network's output for `sample` `[out_channels, height, width]`, in latent pixels, **already scaled** by
    /// 1/sqrt(sigma^2 + 1). `timestep` is 0 to 999 and need not be whole. Returns `[out_channels, height, width]`.
    ///
    /// # Errors
    /// A sample of the wrong size, or NaN in the result.
    fn predict(&self, sample: &[f32], timestep: f32) -> Result<Vec<f32>>;
}

/// Called with the output of each part, under diffusers' name for it.
type Watch<'a, B> = &'a mut dyn FnMut(&str, &<B as Backend>::Tensor) -> Result<()>;

/// `UNet2DConditionModel` with text and size conditioning.
pub struct UNet2DConditionModel<B: Backend> {
    backend: B,
    config: UNet2DConditionConfig,
    conv_in: B::Conv2d,
    time_embedding: TimestepEmbedding<B>,
    add_embedding: TimestepEmbedding<B>,
    down_blocks: Vec<DownBlock<B>>,
    mid_block: MidBlock<B>,
    up_blocks: Vec<UpBlock<B>>,
    conv_norm_out: B::Norm,
    conv_out: B::Conv2d,
}

/// What depends on [`AddedConditions`] alone, kept over the steps.
pub(super) struct Conditioning<B: Backend> {
    size: [usize; 2],
    image: Vec<f32>,
    add_embedding: B::Tensor,
    down_blocks: Vec<BlockPrompt<B>>,
    mid_block: BlockPrompt<B>,
    up_blocks: Vec<BlockPrompt<B>>,
}

impl<B: Backend> UNet2DConditionModel<B> {
    /// Takes the weights.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub fn load(loader: &Loader<'_, B>, config: UNet2DConditionConfig) -> Result<Self> {
        let c = &config;
        let channels = &c.block_out_channels;
        let last = channels.len() - 1;
        let block = |i: usize| BlockConfig {
            temb: c.time_embed_dim(),
            groups: c.norm_num_groups,
            eps: c.norm_eps,
            attention: TransformerConfig {
                channels: channels[i],
                heads: c.num_attention_heads[i],
                layers: 1,
                context: c.cross_attention_dim,
                groups: c.norm_num_groups,
            },
            depths: &[],
        };

        let mut skips = vec![channels[0]]; // conv_in's
        let mut down_blocks = Vec::new();
        for i in 0..=last {
            let loader = loader.pp("down_blocks").pp(i);
            let (inputs, layers) = (channels[i.saturating_sub(1)], c.layers_per_block[i]);
            let depths = &c.transformer_layers_per_block[i][..];
            let depths = if c.down_attention[i] { depths } else { &[] };
            let config = BlockConfig { depths, ..block(i) };
            let block = DownBlock::load(&loader, &config, inputs, channels[i], layers, i == last)?;
            down_blocks.push(block);
            skips.extend(std::iter::repeat_n(
                channels[i],
                layers + usize::from(i != last),
            ));
        }
        let middle = BlockConfig {
            depths: c.mid_transformer_layers.as_slice(),
            ..block(last)
        };
        let mid_block = MidBlock::load(&loader.pp("mid_block"), &middle, channels[last])?;
        let mut up_blocks = Vec::new();
        for (n, i) in (0..=last).rev().enumerate() {
            let loader = loader.pp("up_blocks").pp(n);
            let mut taken = skips.split_off(skips.len() - (c.layers_per_block[i] + 1));
            taken.reverse();
            let depths = &c.up_transformer_layers[n][..];
            let depths = if c.up_attention[n] { depths } else { &[] };
            let config = BlockConfig { depths, ..block(i) };
            let inputs = channels[(i + 1).min(last)];
            let block = UpBlock::load(&loader, &config, inputs, channels[i], &taken, i == 0)?;
            up_blocks.push(block);
        }

        let (first, temb) = (channels[0], c.time_embed_dim());
        let (added, groups) = (c.projection_class_embeddings_input_dim, c.norm_num_groups);
        let same = Window::same(3);
        Ok(Self {
            backend: loader.backend.clone(),
            conv_in: loader.conv2d("conv_in", c.in_channels, first, 3, same)?,
            time_embedding: TimestepEmbedding::load(&loader.pp("time_embedding"), first, temb)?,
            add_embedding: TimestepEmbedding::load(&loader.pp("add_embedding"), added, temb)?,
            down_blocks,
            mid_block,
            up_blocks,
            conv_norm_out: loader.group_norm("conv_norm_out", first, groups, c.norm_eps)?,
            conv_out: loader.conv2d("conv_out", first, c.out_channels, 3, same)?,
            config,
        })
    }

    /// Keys and values of every cross-attention, and the embedding of pooled vector and sizes.
    pub(super) fn condition(&self, added: &AddedConditions<'_>) -> Result<Conditioning<B>> {
        let (b, c) = (&self.backend, &self.config);
        if added.tokens == 0 {
            return Err(Error::argument("prompt_embeds", "at least one token", 0));
        }
        let shape = [added.tokens, c.cross_attention_dim];
        expect_len("prompt_embeds", added.prompt_embeds, &shape)?;
        let pooled = added.pooled_prompt_embeds;
        expect_len("pooled_prompt_embeds", pooled, &[c.pooled_dim()])?;
        let [height, width] = added.size;
        if height == 0 || width == 0 {
            let found = format!("{height} x {width}");
            return Err(Error::argument(
                "sample",
                "at least one latent pixel",
                found,
            ));
        }
        let shape = [c.in_channels - c.out_channels, height, width];
        expect_len("the picture beside the sample", added.image, &shape)?;

        // `text_time`: the pooled vector, then each size as sinusoids.
        let mut vector = pooled.to_vec();
        for id in added.time_ids {
            vector.extend(self.sinusoids(id, c.addition_time_embed_dim));
        }
        let prompt = b.tokens(added.prompt_embeds, added.tokens, c.cross_attention_dim)?;
        Ok(Conditioning {
            size: added.size,
            image: added.image.to_vec(),
            add_embedding: self.add_embedding.forward(b, &vector)?,
            down_blocks: self
                .down_blocks
                .iter()
                .map(|block| block.condition(b, &prompt))
                .collect::<Result<_>>()?,
            mid_block: self.mid_block.condition(b, &prompt)?,
            up_blocks: self
                .up_blocks
                .iter()
                .map(|block| block.condition(b, &prompt))
                .collect::<Result<_>>()?,
        })
    }

    fn sinusoids(&self, value: f32, channels: usize) -> Vec<f32> {
        let c = &self.config;
        get_timestep_embedding(value, channels, c.flip_sin_to_cos, c.freq_shift)
    }

    /// SiLU of the embedding of a timestep and the conditions, with which every resnet begins.
    fn silu_temb(
        &self,
        timestep: f32,
        conditioning: &Conditioning<B>,
        watch: Watch<'_, B>,
    ) -> Result<B::Tensor> {
        let (b, c) = (&self.backend, &self.config);
        let t = self.sinusoids(timestep, c.block_out_channels[0]);
        let emb = self.time_embedding.forward(b, &t)?;
        watch("time_embedding", &emb)?;
        watch("add_embedding", &conditioning.add_embedding)?;
        let emb = b.add(emb, &conditioning.add_embedding)?;
        b.activate(emb, Activation::Silu)
    }

    /// `conv_in` of a sample, and of the picture beside it where there is one.
    fn conv_in(&self, sample: &[f32], conditioning: &Conditioning<B>) -> Result<B::Tensor> {
        let (b, c) = (&self.backend, &self.config);
        let [height, width] = conditioning.size;
        expect_len("sample", sample, &[c.out_channels, height, width])?;
        let x = if conditioning.image.is_empty() {
            b.map(sample, c.in_channels, height, width)?
        } else {
            let sample = [sample, &conditioning.image].concat();
            b.map(&sample, c.in_channels, height, width)?
        };
        b.conv2d(Input::plain(&x), &self.conv_in, After::default())
    }

    /// The output for each sample of a batch of one size, as [`UNet::predict`]; `watch` sees what `time_embedding`,
    /// `add_embedding`, `conv_in` and each block give for the first, under diffusers' names.
    pub(super) fn forward(
        &self,
        batch: &[Asked<'_, B>],
        watch: Watch<'_, B>,
    ) -> Result<Samples<Vec<f32>>> {
        let b = &self.backend;
        let mut silu_tembs = Samples::new();
        let mut x = Samples::new();
        for (i, asked) in batch.iter().enumerate() {
            let mut ignored = |_: &str, _: &B::Tensor| Ok(());
            let watch: Watch<'_, B> = if i == 0 { watch } else { &mut ignored };
            silu_tembs.push(self.silu_temb(asked.timestep, asked.conditioning, watch)?);
            x.push(self.conv_in(asked.sample, asked.conditioning)?);
        }
        // What each sample is given in a block, of which `prompt` finds what the block makes of the prompt.
        let given = |prompt: &dyn Fn(&'_ Conditioning<B>) -> &'_ BlockPrompt<B>| -> Samples<_> {
            let each = silu_tembs.iter().zip(batch);
            each.map(|(silu_temb, asked)| Given {
                silu_temb,
                prompt: prompt(asked.conditioning),
            })
            .collect()
        };
        watch("conv_in", &x[0])?;
        let mut skips = vec![x.clone()];
        for (i, block) in self.down_blocks.iter().enumerate() {
            let given = given(&|conditioning| &conditioning.down_blocks[i]);
            x = block.forward(b, x, &given, &mut skips)?;
            watch(&format!("down_blocks.{i}"), &x[0])?;
        }
        x = self
            .mid_block
            .forward(b, x, &given(&|conditioning| &conditioning.mid_block))?;
        watch("mid_block", &x[0])?;
        for (i, block) in self.up_blocks.iter().enumerate() {
            let given = given(&|conditioning| &conditioning.up_blocks[i]);
            x = block.forward(b, x, &given, &mut skips)?;
            watch(&format!("up_blocks.{i}"), &x[0])?;
        }
        x.iter()
            .map(|x| {
                let input = Input::normed(x, &self.conv_norm_out, Activation::Silu);
                let x = b.conv2d(input, &self.conv_out, After::default())?;
                let output = b.to_host(&x)?;
                expect_finite("the UNet's output", &output)?;
                Ok(output)
            })
            .collect()
    }
}

/// What is conditioned holds the network, so that it may outlive who opened it.
impl<B: Backend> UNet for Arc<UNet2DConditionModel<B>> {
    fn config(&self) -> &UNet2DConditionConfig {
        &self.config
    }

    fn condition(&self, conditions: &AddedConditions<'_>) -> Result<Box<dyn ConditionedUNet>> {
        let conditioning = self
            .backend
            .run(|| UNet2DConditionModel::condition(self, conditions))?;
        Ok(Box::new(Conditioned {
            unet: self.clone(),
            conditioning,
        }))
    }

    fn predict(&self, batch: &[Sample<'_>]) -> Result<Vec<Vec<f32>>> {
        fn asked<'a, B: Backend>(sample: &Sample<'a>) -> Asked<'a, B> {
            let conditioned: &'a dyn Any = sample.conditioned;
            let conditioned = conditioned.downcast_ref::<Conditioned<B>>();
            Asked {
                sample: sample.sample,
                timestep: sample.timestep,
                conditioning: &conditioned
                    .expect("conditions of this network")
                    .conditioning,
            }
        }
        let batch: Vec<_> = batch.iter().map(asked::<B>).collect();
        let Some(first) = batch.first() else {
            return Ok(Vec::new());
        };
        let size = first.conditioning.size;
        if let Some(other) = batch.iter().find(|asked| asked.conditioning.size != size) {
            let found = format!("{:?} beside {size:?}", other.conditioning.size);
            return Err(Error::argument("batch", "samples of one size", found));
        }
        let outputs = self
            .backend
            .run(|| self.forward(&batch, &mut |_, _| Ok(())))?;
        Ok(outputs.into_vec())
    }
}

/// One sample of a batch, for a network whose type is known.
pub(super) struct Asked<'a, B: Backend> {
    pub(super) sample: &'a [f32],
    pub(super) timestep: f32,
    pub(super) conditioning: &'a Conditioning<B>,
}

/// A UNet and what it made of its conditions.
struct Conditioned<B: Backend> {
    unet: Arc<UNet2DConditionModel<B>>,
    conditioning: Conditioning<B>,
}

impl<B: Backend> ConditionedUNet for Conditioned<B> {
    fn predict(&self, sample: &[f32], timestep: f32) -> Result<Vec<f32>> {
        let asked = Asked {
            sample,
            timestep,
            conditioning: &self.conditioning,
        };
        let mut outputs = self
            .unet
            .backend
            .run(|| self.unet.forward(&[asked], &mut |_, _| Ok(())))?;
        Ok(outputs.remove(0))
    }
}
