//! What is added to a checkpoint's text encoders.

use crate::cache::digest;
use crate::clip_tokenizer::ClipTokenizer;
use crate::textual_inversion::{EmbeddingArg, TextualInversion};
use turbo_cli::{Context, Result};
use turbo_sdxl::{TextEncoders, TokenVectors};

/// What a record or the flags name. Two that are equal give the same encoders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) embeddings: Vec<EmbeddingArg>,
}

/// The files that were named, read.
pub(crate) struct Adapters {
    inversions: Vec<TextualInversion>,
}

impl Adapters {
    /// Reads the files.
    ///
    /// # Errors
    /// One is not there, or is something else.
    pub(crate) fn open(named: &Named) -> Result<Self> {
        let inversions = named.embeddings.iter().map(TextualInversion::open);
        Ok(Self {
            inversions: inversions.collect::<Result<_>>()?,
        })
    }

    /// What numbers depend on, for a cache's keys; empty where nothing is added.
    pub(crate) fn identity(&self) -> String {
        if self.inversions.is_empty() {
            return String::new();
        }
        let parts = self.inversions.iter().flat_map(TextualInversion::identity);
        let parts: Vec<_> = parts.collect();
        format!(
            "; embeddings {}",
            digest::of_parts(parts.iter().map(Vec::as_slice))
        )
    }

    /// Gives tokenizers and encoders the tokens that they lack.
    ///
    /// # Errors
    /// A token that is there already, or vectors for another model.
    pub(crate) fn add_tokens(
        &self,
        tokenizers: &mut [ClipTokenizer; 2],
        encoders: &mut dyn TextEncoders,
    ) -> Result<()> {
        for inversion in &self.inversions {
            inversion.expect_widths(encoders.widths())?;
            let mut added = [TokenVectors::new(), TokenVectors::new()];
            for (n, tokenizer) in tokenizers.iter_mut().enumerate() {
                let vectors = &inversion.vectors[n];
                let ids = tokenizer
                    .add_token(&inversion.token, vectors.len())
                    .context(inversion.file().display())?;
                added[n] = ids.zip(vectors.iter().cloned()).collect();
            }
            encoders.add_tokens(added)?;
        }
        Ok(())
    }
}
