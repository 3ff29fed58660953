//! The denoising network.
//!
//! diffusers: `models/unets/unet_2d_condition.py`. Ho et al. 2020, arXiv:2006.11239; Podell et al. 2023,
//! arXiv:2307.01952 (SDXL).

use super::config::UNet2DConditionConfig;
use super::unet_2d_blocks::{
    BlockConfig, BlockPrompt, DownBlock, UNetMidBlock2DCrossAttn, UpBlock,
};
use crate::backend::{Activation, Backend, Loader, Window};
use crate::blocks::embeddings::{TimestepEmbedding, get_timestep_embedding};
use crate::blocks::transformer_2d::TransformerConfig;
use crate::error::{expect_finite, expect_len};
use crate::{Error, Result};

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
    fn config(&self) -> &UNet2DConditionConfig;
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

/// Called with the output of each part, under diffusers' name for it.
pub type Watch<'a, B> = &'a mut dyn FnMut(&str, &<B as Backend>::Tensor) -> Result<()>;

/// `UNet2DConditionModel` with text and size conditioning.
pub struct UNet2DConditionModel<B: Backend> {
    config: UNet2DConditionConfig,
    conv_in: B::Conv2d,
    time_embedding: TimestepEmbedding<B>,
    add_embedding: TimestepEmbedding<B>,
    down_blocks: Vec<DownBlock<B>>,
    mid_block: UNetMidBlock2DCrossAttn<B>,
    up_blocks: Vec<UpBlock<B>>,
    conv_norm_out: B::Norm,
    conv_out: B::Conv2d,
}

/// What depends on the prompt and the sizes alone, kept over the steps.
pub struct Conditioning<B: Backend> {
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
        let block = |i: usize, attends: bool| BlockConfig {
            temb: c.time_embed_dim(),
            groups: c.norm_num_groups,
            eps: c.norm_eps,
            attention: attends.then(|| TransformerConfig {
                channels: channels[i],
                heads: c.num_attention_heads[i],
                layers: c.transformer_layers_per_block[i],
                context: c.cross_attention_dim,
                groups: c.norm_num_groups,
            }),
        };

        let mut skips = vec![channels[0]]; // conv_in's
        let mut down_blocks = Vec::new();
        for i in 0..=last {
            let loader = loader.pp("down_blocks").pp(i);
            let (inputs, layers) = (channels[i.saturating_sub(1)], c.layers_per_block[i]);
            let config = block(i, c.down_attention[i]);
            let block = DownBlock::load(&loader, &config, inputs, channels[i], layers, i == last)?;
            down_blocks.push(block);
            skips.extend(std::iter::repeat_n(
                channels[i],
                layers + usize::from(i != last),
            ));
        }
        let mid_block = UNetMidBlock2DCrossAttn::load(
            &loader.pp("mid_block"),
            &block(last, true),
            channels[last],
        )?;
        let mut up_blocks = Vec::new();
        for (n, i) in (0..=last).rev().enumerate() {
            let loader = loader.pp("up_blocks").pp(n);
            let mut taken = skips.split_off(skips.len() - (c.layers_per_block[i] + 1));
            taken.reverse();
            let (inputs, config) = (channels[(i + 1).min(last)], block(i, c.up_attention[n]));
            let block = UpBlock::load(&loader, &config, inputs, channels[i], &taken, i == 0)?;
            up_blocks.push(block);
        }

        let (first, temb) = (channels[0], c.time_embed_dim());
        let (added, groups) = (c.projection_class_embeddings_input_dim, c.norm_num_groups);
        let same = Window::same(3);
        Ok(Self {
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

    /// The configuration it was loaded with.
    pub fn config(&self) -> &UNet2DConditionConfig {
        &self.config
    }

    /// Keys and values of every cross-attention, and the embedding of pooled vector and sizes.
    ///
    /// # Errors
    /// Sizes that are not the configuration's; the backend's.
    pub fn condition(&self, b: &B, added: &AddedConditions<'_>) -> Result<Conditioning<B>> {
        let c = &self.config;
        if added.tokens == 0 {
            return Err(Error::argument("prompt_embeds", "at least one token", 0));
        }
        let shape = [added.tokens, c.cross_attention_dim];
        expect_len("prompt_embeds", added.prompt_embeds, &shape)?;
        let pooled = added.pooled_prompt_embeds;
        expect_len("pooled_prompt_embeds", pooled, &[c.pooled_dim()])?;

        // `text_time`: the pooled vector, then each size as sinusoids.
        let mut vector = pooled.to_vec();
        for id in added.time_ids {
            vector.extend(self.sinusoids(id, c.addition_time_embed_dim));
        }
        let prompt = b.tokens(added.prompt_embeds, added.tokens, c.cross_attention_dim)?;
        Ok(Conditioning {
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

    /// The output for `sample` `[in_channels, height, width]`, already scaled by 1/sqrt(sigma^2 + 1).
    /// `timestep` need not be whole. Returns `[out_channels, height, width]`.
    ///
    /// # Errors
    /// A sample of another size; NaN in the result; the backend's.
    pub fn forward(
        &self,
        b: &B,
        sample: &[f32],
        height: usize,
        width: usize,
        timestep: f32,
        conditioning: &Conditioning<B>,
    ) -> Result<Vec<f32>> {
        let mut nobody = |_: &str, _: &B::Tensor| Ok(());
        self.forward_watched(
            b,
            sample,
            height,
            width,
            timestep,
            conditioning,
            &mut nobody,
        )
    }

    /// As [`UNet2DConditionModel::forward`]; `watch` sees what `time_embedding`, `add_embedding`, `conv_in` and each
    /// block give.
    ///
    /// # Errors
    /// As [`UNet2DConditionModel::forward`], and `watch`'s.
    #[allow(clippy::too_many_arguments)] // forward's six, and who watches
    pub fn forward_watched(
        &self,
        b: &B,
        sample: &[f32],
        height: usize,
        width: usize,
        timestep: f32,
        conditioning: &Conditioning<B>,
        watch: Watch<'_, B>,
    ) -> Result<Vec<f32>> {
        let c = &self.config;
        if height == 0 || width == 0 {
            let found = format!("{height} x {width}");
            return Err(Error::argument(
                "sample",
                "at least one latent pixel",
                found,
            ));
        }
        expect_len("sample", sample, &[c.in_channels, height, width])?;

        let t = self.sinusoids(timestep, c.block_out_channels[0]);
        let emb = self.time_embedding.forward(b, &t)?;
        watch("time_embedding", &emb)?;
        watch("add_embedding", &conditioning.add_embedding)?;
        let emb = b.add(emb, &conditioning.add_embedding)?;
        let silu_emb = b.activate(emb, Activation::Silu)?; // every resnet begins with it

        let x = b.map(sample, c.in_channels, height, width)?;
        let mut x = b.conv2d(&x, &self.conv_in, None, None)?;
        watch("conv_in", &x)?;
        let mut skips = vec![x.clone()];
        for (i, (block, prompt)) in self
            .down_blocks
            .iter()
            .zip(&conditioning.down_blocks)
            .enumerate()
        {
            x = block.forward(b, x, &silu_emb, prompt, &mut skips)?;
            watch(&format!("down_blocks.{i}"), &x)?;
        }
        x = self
            .mid_block
            .forward(b, x, &silu_emb, &conditioning.mid_block)?;
        watch("mid_block", &x)?;
        for (i, (block, prompt)) in self
            .up_blocks
            .iter()
            .zip(&conditioning.up_blocks)
            .enumerate()
        {
            x = block.forward(b, x, &silu_emb, prompt, &mut skips)?;
            watch(&format!("up_blocks.{i}"), &x)?;
        }
        let x = b.group_norm(&x, &self.conv_norm_out, Activation::Silu)?;
        let x = b.conv2d(&x, &self.conv_out, None, None)?;
        let output = b.to_host(&x)?;
        expect_finite("the UNet's output", &output)?;
        Ok(output)
    }
}
