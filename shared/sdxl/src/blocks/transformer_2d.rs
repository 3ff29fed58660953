//! Transformer blocks over the pixels of a map.
//!
//! diffusers: `models/transformers/transformer_2d.py`.

use super::attention::BasicTransformerBlock;
use crate::Result;
use crate::backend::loader::Loader;
use crate::backend::{Activation, Backend, Samples};

/// Epsilon of the group norm in front; not the UNet's `norm_eps`.
const NORM_EPS: f32 = 1e-6;

/// What a [`Transformer2DModel`] is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransformerConfig {
    /// Channels in and out.
    pub channels: usize,
    /// Heads of every attention.
    pub heads: usize,
    /// Number of [`BasicTransformerBlock`]s.
    pub layers: usize,
    /// Width of the prompt's rows, `cross_attention_dim`.
    pub context: usize,
    /// Groups of the norm in front.
    pub groups: usize,
}

/// Group norm, linear layer, blocks, linear layer; and the input beside it.
pub(crate) struct Transformer2DModel<B: Backend> {
    norm: B::Norm,
    proj_in: B::Linear,
    transformer_blocks: Vec<BasicTransformerBlock<B>>,
    proj_out: B::Linear,
}

impl<B: Backend> Transformer2DModel<B> {
    /// Takes the weights of the form with `use_linear_projection`.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: &TransformerConfig) -> Result<Self> {
        let &TransformerConfig {
            channels,
            heads,
            layers,
            context,
            groups,
        } = config;
        let blocks = loader.pp("transformer_blocks");
        Ok(Self {
            norm: loader.group_norm("norm", channels, groups, NORM_EPS)?,
            proj_in: loader.linear("proj_in", channels, channels)?,
            transformer_blocks: (0..layers)
                .map(|i| BasicTransformerBlock::load(&blocks.pp(i), channels, context, heads))
                .collect::<Result<_>>()?,
            proj_out: loader.linear("proj_out", channels, channels)?,
        })
    }

    /// What each block makes of the prompt, in order.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn condition(&self, b: &B, prompt: &B::Tensor) -> Result<Vec<B::KeysValues>> {
        self.transformer_blocks
            .iter()
            .map(|block| block.condition(b, prompt))
            .collect()
    }

    /// `x` has the map of each sample, all of one size, `prompts` what [`Transformer2DModel::condition`] gave for each.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward(
        &self,
        b: &B,
        x: Samples<B::Tensor>,
        prompts: &[&[B::KeysValues]],
    ) -> Result<Samples<B::Tensor>> {
        let (height, width) = b.size(&x[0]);
        if height * width == 1 && x.len() > 1 {
            // A backend may sum a single position in another order than many, and samples are to be as they are alone.
            let each = x.into_iter().zip(prompts);
            let forward = |(x, prompt): (_, &&[_])| {
                let x = Samples::from_iter([x]);
                Ok(self.forward(b, x, &[*prompt])?.remove(0))
            };
            return each.map(forward).collect();
        }
        let normed: Result<Samples<_>> = x
            .iter()
            .map(|x| b.map_to_tokens(b.group_norm(x, &self.norm)?))
            .collect();
        let residual: Result<Samples<_>> = x.into_iter().map(|x| b.map_to_tokens(x)).collect();
        let residual = b.join(residual?)?;
        let mut h = b.linear(&b.join(normed?)?, &self.proj_in, Activation::Identity)?;
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            h = block.forward(b, h, prompts.iter().map(|prompt| &prompt[i]))?;
        }
        let x = b.linear_add(&h, &self.proj_out, residual)?;
        let x = b.split(x, prompts.len())?;
        x.into_iter()
            .map(|x| b.tokens_to_map(x, height, width))
            .collect()
    }
}
