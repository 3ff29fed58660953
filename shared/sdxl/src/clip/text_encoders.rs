//! Both text encoders side by side.
//!
//! diffusers: `encode_prompt` in `pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py`.

use super::clip_text_model::{CLIPTextModel, CLIPTextModelWithProjection, TokenVectors};
use crate::backend::Backend;
use crate::{Error, Result, expect_finite};

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
    fn width(&self) -> usize {
        self.widths().iter().sum()
    }
    /// How many of them are the first encoder's, and how many the second's, behind them (768 and 1280 for SDXL).
    fn widths(&self) -> [usize; 2];
    /// Values in `pooled_prompt_embeds` (1280 for SDXL).
    fn pooled_width(&self) -> usize;
    /// Gives tokens of the first and of the second encoder vectors of their own, as textual inversion does: ids beyond
    /// the vocabulary, or others than it has. They stay until an id is given another.
    ///
    /// # Errors
    /// A vector that is not as wide as its encoder.
    fn add_tokens(&mut self, tokens: [TokenVectors; 2]) -> Result<()>;
    /// Encodes one prompt: the padded ids of the first and of the second tokenizer, equal in number.
    ///
    /// `clip_skip` counts layers left out beyond the one that is always left out; 0 is diffusers' `None`.
    ///
    /// # Errors
    /// An id outside the vocabulary, too many ids, none, different numbers of them, a `clip_skip` that leaves less
    /// than no layer, or NaN in the result.
    fn encode(&self, ids_1: &[u32], ids_2: &[u32], clip_skip: usize) -> Result<TextEmbeddings>;
}

/// CLIP-L and OpenCLIP bigG, or what a checkpoint has in their places.
pub(crate) struct EncoderPair<B: Backend> {
    backend: B,
    /// The first, of which only hidden states are read.
    text_encoder: CLIPTextModel<B>,
    /// The second, which also gives the pooled vector.
    text_encoder_2: CLIPTextModelWithProjection<B>,
}

impl<B: Backend> EncoderPair<B> {
    /// Puts both side by side.
    pub(crate) fn new(
        backend: B,
        text_encoder: CLIPTextModel<B>,
        text_encoder_2: CLIPTextModelWithProjection<B>,
    ) -> Self {
        Self {
            backend,
            text_encoder,
            text_encoder_2,
        }
    }
}

impl<B: Backend> TextEncoders for EncoderPair<B> {
    fn max_tokens(&self) -> usize {
        let (one, two) = (self.text_encoder.config(), self.text_encoder_2.config());
        one.max_position_embeddings.min(two.max_position_embeddings)
    }

    fn widths(&self) -> [usize; 2] {
        let (one, two) = (self.text_encoder.config(), self.text_encoder_2.config());
        [one.hidden_size, two.hidden_size]
    }

    fn pooled_width(&self) -> usize {
        self.text_encoder_2.config().projection_dim
    }

    fn add_tokens(&mut self, [first, second]: [TokenVectors; 2]) -> Result<()> {
        self.text_encoder.add_tokens(first)?;
        self.text_encoder_2.add_tokens(second)
    }

    fn encode(&self, ids_1: &[u32], ids_2: &[u32], clip_skip: usize) -> Result<TextEmbeddings> {
        let (b, tokens) = (&self.backend, ids_1.len());
        if ids_2.len() != tokens {
            let expected = format!("{tokens} ids, as many as the first has");
            return Err(Error::argument(
                "the second encoder's tokens",
                expected,
                ids_2.len(),
            ));
        }
        let (first, second, pooled) = b.run(|| {
            let first = self.text_encoder.forward(b, ids_1, clip_skip)?;
            let (second, pooled) = self.text_encoder_2.forward(b, ids_2, clip_skip)?;
            Ok::<_, Error>((first, second, pooled))
        })?;
        let rows = |x: &[f32]| x.len() / tokens;
        let prompt_embeds: Vec<f32> = first
            .chunks_exact(rows(&first))
            .zip(second.chunks_exact(rows(&second)))
            .flat_map(|(a, b)| a.iter().chain(b).copied())
            .collect();
        expect_finite("the prompt's embedding", &prompt_embeds)?;
        expect_finite("the prompt's pooled embedding", &pooled)?;
        Ok(TextEmbeddings {
            tokens,
            prompt_embeds,
            pooled_prompt_embeds: pooled,
        })
    }
}
