//! Both text encoders side by side.
//!
//! diffusers: `encode_prompt` in `pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py`.

use crate::backend::Backend;
use crate::clip_text_model::{CLIPTextModel, CLIPTextModelWithProjection};
use crate::models::TextEmbeddings;
use crate::{Error, Result, expect_finite};

/// CLIP-L and OpenCLIP bigG, or what a checkpoint has in their places.
pub struct TextEncoders<B: Backend> {
    /// The first, of which only hidden states are read.
    pub text_encoder: CLIPTextModel<B>,
    /// The second, which also gives the pooled vector.
    pub text_encoder_2: CLIPTextModelWithProjection<B>,
}

impl<B: Backend> TextEncoders<B> {
    /// Encodes one prompt: hidden states of both, side by side, and the pooled vector.
    ///
    /// # Errors
    /// Different numbers of ids; as [`CLIPTextModel::forward`]; NaN in the result.
    pub fn encode(
        &self,
        b: &B,
        ids_1: &[u32],
        ids_2: &[u32],
        clip_skip: usize,
    ) -> Result<TextEmbeddings> {
        let tokens = ids_1.len();
        if ids_2.len() != tokens {
            let expected = format!("{tokens} ids, as many as the first has");
            return Err(Error::argument(
                "the second encoder's tokens",
                expected,
                ids_2.len(),
            ));
        }
        let first = self.text_encoder.forward(b, ids_1, clip_skip)?;
        let (second, pooled) = self.text_encoder_2.forward(b, ids_2, clip_skip)?;
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
