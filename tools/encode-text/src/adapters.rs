//! What is added to a checkpoint's text encoders.

use crate::cache::{Files, digest};
use crate::clip_tokenizer::ClipTokenizer;
use crate::textual_inversion::{EmbeddingArg, TextualInversion};
use turbo_cli::{Context, Result};
use turbo_sdxl::{TextEncoders, TokenVectors};
use turbo_stage::Loras;
use turbo_weights::{LoraSpec, Part};

/// What a record or the flags name. Two that are equal give the same encoders.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Named {
    pub(crate) embeddings: Vec<EmbeddingArg>,
    pub(crate) loras: Vec<LoraSpec>,
}

/// The files that were named, read.
pub(crate) struct Adapters {
    inversions: Vec<TextualInversion>,
    pub(crate) loras: Loras,
}

/// The parts of a checkpoint that make embeddings.
const PARTS: [Part; 2] = [Part::TextEncoder, Part::TextEncoder2];

impl Adapters {
    /// Reads the files.
    ///
    /// # Errors
    /// One is not there, or is something else.
    pub(crate) fn open(named: &Named) -> Result<Self> {
        let inversions = named.embeddings.iter().map(TextualInversion::open);
        Ok(Self {
            inversions: inversions.collect::<Result<_>>()?,
            loras: Loras::open(&named.loras)?,
        })
    }

    /// What numbers depend on beside [`Adapters::files`], for a cache's keys; empty where nothing is added.
    pub(crate) fn identity(&self) -> String {
        let mut identity = String::new();
        if !self.inversions.is_empty() {
            let parts = self.inversions.iter().flat_map(TextualInversion::identity);
            let parts: Vec<_> = parts.collect();
            identity += "; embeddings ";
            identity += &digest::of_parts(parts.iter().map(Vec::as_slice));
        }
        for (_, scale) in self.loras.of_parts(&PARTS) {
            identity += "; lora ";
            identity += &scale.to_string();
        }
        identity
    }

    /// The files whose contents numbers depend on. A LoRA that leaves the text encoders alone is none.
    pub(crate) fn files(&self) -> Files {
        let paths = self.loras.of_parts(&PARTS).map(|(path, _)| path);
        let named = paths.enumerate();
        named
            .map(|(n, path)| (format!("lora {n}"), path.to_owned()))
            .collect()
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
