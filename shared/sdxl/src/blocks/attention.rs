//! Attention and the transformer block of the UNet.
//!
//! diffusers: `models/attention.py` (`BasicTransformerBlock`, `FeedForward`), `models/attention_processor.py`.

use crate::Result;
use crate::backend::loader::Loader;
use crate::backend::{Activation, Backend, Samples};

/// Epsilon of the layer norms in a [`BasicTransformerBlock`].
const LAYER_NORM_EPS: f32 = 1e-5;

/// Queries from one sequence, keys and values from the same or another; no masks.
pub(crate) struct Attention<B: Backend> {
    to_q: B::Linear,
    to_k: B::Linear,
    to_v: B::Linear,
    to_out: B::Linear,
    heads: usize,
}

impl<B: Backend> Attention<B> {
    /// The UNet's: queries, keys and values without a bias. `context` is the width of what keys and values are made
    /// of.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(
        loader: &Loader<'_, B>,
        width: usize,
        context: usize,
        heads: usize,
    ) -> Result<Self> {
        Ok(Self {
            to_q: loader.linear_no_bias("to_q", width, width)?,
            to_k: loader.linear_no_bias("to_k", context, width)?,
            to_v: loader.linear_no_bias("to_v", context, width)?,
            to_out: loader.linear("to_out.0", width, width)?,
            heads,
        })
    }

    /// The autoencoder's: one head, biases everywhere.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load_single_head(loader: &Loader<'_, B>, width: usize) -> Result<Self> {
        Ok(Self {
            to_q: loader.linear("to_q", width, width)?,
            to_k: loader.linear("to_k", width, width)?,
            to_v: loader.linear("to_v", width, width)?,
            to_out: loader.linear("to_out.0", width, width)?,
            heads: 1,
        })
    }

    /// Keys and values of each of the `count` samples whose tokens `context` joins.
    ///
    /// # Errors
    /// The backend's; so for all that follow.
    pub(crate) fn keys_values(
        &self,
        b: &B,
        context: &B::Tensor,
        count: usize,
    ) -> Result<Samples<B::KeysValues>> {
        let keys = b.linear(context, &self.to_k, Activation::Identity)?;
        let values = b.linear(context, &self.to_v, Activation::Identity)?;
        let (keys, values) = (b.split(keys, count)?, b.split(values, count)?);
        keys.into_iter()
            .zip(values)
            .map(|(keys, values)| b.keys_values(keys, values, self.heads))
            .collect()
    }

    /// `residual` + what each sample of `x` finds in its own of `kv`.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward_add<'a>(
        &self,
        b: &B,
        x: &B::Tensor,
        kv: impl ExactSizeIterator<Item = &'a B::KeysValues>,
        residual: B::Tensor,
    ) -> Result<B::Tensor>
    where
        B::KeysValues: 'a,
    {
        let queries = b.linear(x, &self.to_q, Activation::Identity)?;
        let queries = b.split(queries, kv.len())?;
        let found: Result<Samples<_>> = queries
            .into_iter()
            .zip(kv)
            .map(|(queries, kv)| b.attention(queries, kv, false))
            .collect();
        b.linear_add(&b.join(found?)?, &self.to_out, residual)
    }
}

/// Self-attention, cross-attention and a GEGLU feed-forward layer, each behind a layer norm and beside a residual.
pub(crate) struct BasicTransformerBlock<B: Backend> {
    norm1: B::Norm,
    attn1: Attention<B>,
    norm2: B::Norm,
    attn2: Attention<B>,
    norm3: B::Norm,
    /// `ff.net.0.proj`: value and gate, 4 times the width each.
    ff_proj: B::Linear,
    /// `ff.net.2`.
    ff_out: B::Linear,
}

impl<B: Backend> BasicTransformerBlock<B> {
    /// Takes the weights; `context` is `cross_attention_dim`.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(
        loader: &Loader<'_, B>,
        width: usize,
        context: usize,
        heads: usize,
    ) -> Result<Self> {
        Ok(Self {
            norm1: loader.layer_norm("norm1", width, LAYER_NORM_EPS)?,
            attn1: Attention::load(&loader.pp("attn1"), width, width, heads)?,
            norm2: loader.layer_norm("norm2", width, LAYER_NORM_EPS)?,
            attn2: Attention::load(&loader.pp("attn2"), width, context, heads)?,
            norm3: loader.layer_norm("norm3", width, LAYER_NORM_EPS)?,
            ff_proj: loader.linear("ff.net.0.proj", width, 8 * width)?,
            ff_out: loader.linear("ff.net.2", 4 * width, width)?,
        })
    }

    /// Keys and values that cross-attention makes of a prompt `[tokens, context]`.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn condition(&self, b: &B, prompt: &B::Tensor) -> Result<B::KeysValues> {
        Ok(self.attn2.keys_values(b, prompt, 1)?.remove(0))
    }

    /// `x` joins the tokens of some samples, `prompt` has what [`BasicTransformerBlock::condition`] gave for each.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) fn forward<'a>(
        &self,
        b: &B,
        x: B::Tensor,
        prompt: impl ExactSizeIterator<Item = &'a B::KeysValues>,
    ) -> Result<B::Tensor>
    where
        B::KeysValues: 'a,
    {
        let h = b.layer_norm(&x, &self.norm1)?;
        let own = self.attn1.keys_values(b, &h, prompt.len())?;
        let x = self.attn1.forward_add(b, &h, own.iter(), x)?;

        let h = b.layer_norm(&x, &self.norm2)?;
        let x = self.attn2.forward_add(b, &h, prompt, x)?;

        let h = b.layer_norm(&x, &self.norm3)?;
        let h = b.linear_geglu(&h, &self.ff_proj)?;
        b.linear_add(&h, &self.ff_out, x)
    }
}
