//! CLIP's text transformer.
//!
//! transformers: `models/clip/modeling_clip.py` (`CLIPTextModel`, `CLIPTextModelWithProjection`). Radford et al. 2021,
//! arXiv:2103.00020.

use super::config::CLIPTextConfig;
use crate::backend::loader::Loader;
use crate::backend::{Activation, Backend};
use crate::{Error, Result};
use std::collections::BTreeMap;
use turbo_weights::Weight;

/// One pre-norm layer: causal self-attention, then two linear layers.
struct CLIPEncoderLayer<B: Backend> {
    layer_norm1: B::Norm,
    q_proj: B::Linear,
    k_proj: B::Linear,
    v_proj: B::Linear,
    out_proj: B::Linear,
    layer_norm2: B::Norm,
    fc1: B::Linear,
    fc2: B::Linear,
    heads: usize,
    activation: Activation,
}

impl<B: Backend> CLIPEncoderLayer<B> {
    fn load(loader: &Loader<'_, B>, c: &CLIPTextConfig) -> Result<Self> {
        let (width, eps) = (c.hidden_size, c.layer_norm_eps);
        let attention = loader.pp("self_attn");
        let mlp = loader.pp("mlp");
        Ok(Self {
            layer_norm1: loader.layer_norm("layer_norm1", width, eps)?,
            q_proj: attention.linear("q_proj", width, width)?,
            k_proj: attention.linear("k_proj", width, width)?,
            v_proj: attention.linear("v_proj", width, width)?,
            out_proj: attention.linear("out_proj", width, width)?,
            layer_norm2: loader.layer_norm("layer_norm2", width, eps)?,
            fc1: mlp.linear("fc1", width, c.intermediate_size)?,
            fc2: mlp.linear("fc2", c.intermediate_size, width)?,
            heads: c.num_attention_heads,
            activation: c.hidden_act,
        })
    }

    fn keys_values(&self, b: &B, h: &B::Tensor) -> Result<B::KeysValues> {
        let keys = b.linear(h, &self.k_proj, Activation::Identity)?;
        let values = b.linear(h, &self.v_proj, Activation::Identity)?;
        b.keys_values(keys, values, self.heads)
    }

    /// All tokens, each seeing itself and those before it.
    fn forward(&self, b: &B, x: B::Tensor) -> Result<B::Tensor> {
        let h = b.layer_norm(&x, &self.layer_norm1)?;
        let kv = self.keys_values(b, &h)?;
        let queries = b.linear(&h, &self.q_proj, Activation::Identity)?;
        let found = b.attention(queries, &kv, true)?;
        self.finish(b, &found, x)
    }

    /// The last token alone, seeing all.
    fn forward_last(&self, b: &B, all: &B::Tensor, last: B::Tensor) -> Result<B::Tensor> {
        let kv = self.keys_values(b, &b.layer_norm(all, &self.layer_norm1)?)?;
        let h = b.layer_norm(&last, &self.layer_norm1)?;
        let queries = b.linear(&h, &self.q_proj, Activation::Identity)?;
        let found = b.attention(queries, &kv, false)?;
        self.finish(b, &found, last)
    }

    /// What follows attention.
    fn finish(&self, b: &B, found: &B::Tensor, x: B::Tensor) -> Result<B::Tensor> {
        let x = b.linear_add(found, &self.out_proj, x)?;
        let h = b.layer_norm(&x, &self.layer_norm2)?;
        let h = b.linear(&h, &self.fc1, self.activation)?;
        b.linear_add(&h, &self.fc2, x)
    }
}

/// Vectors of tokens, by the tokens' ids: each as wide as the encoder (`hidden_size`).
pub type TokenVectors = BTreeMap<u32, Vec<f32>>;

/// Embeddings and layers: what both classes share. The final layer norm belongs to the pooled vector.
struct CLIPTextTransformer<B: Backend> {
    config: CLIPTextConfig,
    token_embedding: Weight,
    added_tokens: TokenVectors,
    position_embedding: Vec<f32>,
    layers: Vec<CLIPEncoderLayer<B>>,
}

impl<B: Backend> CLIPTextTransformer<B> {
    /// Takes the embeddings and the first `layers` layers. `loader` stands at `text_model.`.
    fn load(loader: &Loader<'_, B>, config: CLIPTextConfig, layers: usize) -> Result<Self> {
        let c = &config;
        let (width, positions) = (c.hidden_size, c.max_position_embeddings);
        let embeddings = loader.pp("embeddings");
        Ok(Self {
            added_tokens: TokenVectors::new(),
            token_embedding: embeddings.weight("token_embedding.weight", &[c.vocab_size, width])?,
            position_embedding: embeddings
                .weight("position_embedding.weight", &[positions, width])?
                .to_f32(),
            layers: (0..layers)
                .map(|i| CLIPEncoderLayer::load(&loader.pp("encoder.layers").pp(i), c))
                .collect::<Result<_>>()?,
            config,
        })
    }

    /// `hidden_states[0]`: token and position embeddings, `[tokens, hidden_size]`.
    fn embed(&self, b: &B, ids: &[u32]) -> Result<B::Tensor> {
        let c = &self.config;
        if ids.is_empty() || ids.len() > c.max_position_embeddings {
            let expected = format!("1 to {} ids", c.max_position_embeddings);
            return Err(Error::argument("tokens", expected, ids.len()));
        }
        let positions = &self.position_embedding[..ids.len() * c.hidden_size];
        let positions = b.tokens(positions, ids.len(), c.hidden_size)?;
        b.add(self.embed_tokens(b, ids)?, &positions)
    }

    /// A row of the table for each id, or its vector where it was added.
    fn embed_tokens(&self, b: &B, ids: &[u32]) -> Result<B::Tensor> {
        let c = &self.config;
        let added = |id: &u32| self.added_tokens.get(id);
        let known = |id: &u32| (*id as usize) < c.vocab_size || added(id).is_some();
        if let Some(id) = ids.iter().find(|id| !known(id)) {
            let expected = format!("an id below {}", c.vocab_size);
            return Err(Error::argument("token", expected, id));
        }
        if !ids.iter().any(|id| added(id).is_some()) {
            return b.embed(&self.token_embedding, ids);
        }
        // A row that an added vector replaces may be any row of the table.
        let table = |id: &u32| if added(id).is_some() { 0 } else { *id };
        let inside: Vec<u32> = ids.iter().map(table).collect();
        let mut rows = b.to_host(&b.embed(&self.token_embedding, &inside)?)?;
        for (row, id) in rows.chunks_exact_mut(c.hidden_size).zip(ids) {
            if let Some(vector) = added(id) {
                row.copy_from_slice(vector);
            }
        }
        b.tokens(&rows, ids.len(), c.hidden_size)
    }

    fn add_tokens(&mut self, tokens: TokenVectors) -> Result<()> {
        let width = self.config.hidden_size;
        if let Some(vector) = tokens.values().find(|vector| vector.len() != width) {
            let expected = format!("{width} values, the encoder's width");
            return Err(Error::argument("a token's vector", expected, vector.len()));
        }
        self.added_tokens.extend(tokens);
        Ok(())
    }

    fn run(&self, b: &B, x: B::Tensor, layers: std::ops::Range<usize>) -> Result<B::Tensor> {
        self.layers[layers]
            .iter()
            .try_fold(x, |x, layer| layer.forward(b, x))
    }
}

/// Number of layers below `hidden_states[-(clip_skip + 2)]`.
fn layers_read(c: &CLIPTextConfig, clip_skip: usize) -> Result<usize> {
    let layers = c.num_hidden_layers;
    (layers - 1).checked_sub(clip_skip).ok_or_else(|| {
        let expected = format!("0 to {}, as an encoder has {layers} layers", layers - 1);
        Error::argument("clip_skip", expected, clip_skip)
    })
}

/// `CLIPTextModel`, of which SDXL reads hidden states only: the last layer and the final norm are never taken.
pub(crate) struct CLIPTextModel<B: Backend> {
    text_model: CLIPTextTransformer<B>,
}

impl<B: Backend> CLIPTextModel<B> {
    /// Takes the weights.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: CLIPTextConfig) -> Result<Self> {
        let loader = loader.pp("text_model");
        let last = config.num_hidden_layers - 1;
        loader.ignore(&format!("encoder.layers.{last}."));
        loader.ignore("final_layer_norm.");
        let text_model = CLIPTextTransformer::load(&loader, config, last)?;
        Ok(Self { text_model })
    }

    /// The configuration it was loaded with.
    pub(crate) fn config(&self) -> &CLIPTextConfig {
        &self.text_model.config
    }

    /// Gives tokens vectors of their own, as textual inversion does: ids beyond the vocabulary, or others than the
    /// table has.
    ///
    /// # Errors
    /// A vector that is not as wide as the encoder.
    pub(crate) fn add_tokens(&mut self, tokens: TokenVectors) -> Result<()> {
        self.text_model.add_tokens(tokens)
    }

    /// `hidden_states[-(clip_skip + 2)]`, `[tokens, hidden_size]`, without the final layer norm.
    ///
    /// # Errors
    /// An id outside the vocabulary, too many ids or none, a `clip_skip` beyond the first layer; the backend's.
    pub(crate) fn forward(&self, b: &B, ids: &[u32], clip_skip: usize) -> Result<Vec<f32>> {
        let layers = layers_read(self.config(), clip_skip)?;
        let x = self.text_model.embed(b, ids)?;
        b.to_host(&self.text_model.run(b, x, 0..layers)?)
    }
}

/// `CLIPTextModelWithProjection`: hidden states, and a projection of the text's end.
pub(crate) struct CLIPTextModelWithProjection<B: Backend> {
    text_model: CLIPTextTransformer<B>,
    final_layer_norm: B::Norm,
    text_projection: B::Linear,
}

impl<B: Backend> CLIPTextModelWithProjection<B> {
    /// Takes the weights.
    ///
    /// # Errors
    /// As [`Loader::weight`].
    pub(crate) fn load(loader: &Loader<'_, B>, config: CLIPTextConfig) -> Result<Self> {
        let (width, projection) = (config.hidden_size, config.projection_dim);
        let (layers, eps) = (config.num_hidden_layers, config.layer_norm_eps);
        let text_model = loader.pp("text_model");
        Ok(Self {
            final_layer_norm: text_model.layer_norm("final_layer_norm", width, eps)?,
            text_model: CLIPTextTransformer::load(&text_model, config, layers)?,
            text_projection: loader.linear_no_bias("text_projection", width, projection)?,
        })
    }

    /// The configuration it was loaded with.
    pub(crate) fn config(&self) -> &CLIPTextConfig {
        &self.text_model.config
    }

    /// Gives tokens vectors of their own, as textual inversion does: ids beyond the vocabulary, or others than the
    /// table has.
    ///
    /// # Errors
    /// A vector that is not as wide as the encoder.
    pub(crate) fn add_tokens(&mut self, tokens: TokenVectors) -> Result<()> {
        self.text_model.add_tokens(tokens)
    }

    /// `hidden_states[-(clip_skip + 2)]` as [`CLIPTextModel::forward`], and `text_embeds` `[projection_dim]`, which
    /// `clip_skip` leaves alone.
    ///
    /// # Errors
    /// As [`CLIPTextModel::forward`].
    pub(crate) fn forward(
        &self,
        b: &B,
        ids: &[u32],
        clip_skip: usize,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (c, model) = (self.config(), &self.text_model);
        let (read, last) = (layers_read(c, clip_skip)?, c.num_hidden_layers - 1);
        let x = model.embed(b, ids)?;
        let x = model.run(b, x, 0..read)?;
        let hidden = b.to_host(&x)?;
        let x = model.run(b, x, read..last)?;

        // Of the last layer only the end of the text is read, and it sees nothing behind it.
        let x = if read == last {
            hidden.clone()
        } else {
            b.to_host(&x)?
        };
        let (end, width) = (c.end_of_text(ids), c.hidden_size);
        let all = b.tokens(&x[..(end + 1) * width], end + 1, width)?;
        let row = b.tokens(&x[end * width..(end + 1) * width], 1, width)?;
        let row = model.layers[last].forward_last(b, &all, row)?;
        let row = b.layer_norm(&row, &self.final_layer_norm)?;
        let pooled = b.linear(&row, &self.text_projection, Activation::Identity)?;
        Ok((hidden, b.to_host(&pooled)?))
    }
}
