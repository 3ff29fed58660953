//! What the encoders make of a text.

use turbo_cli::Result;
use turbo_sdxl::TextEmbeddings;
use turbo_wire::{Frame, Header, Metadata, f32_bytes, names};

/// What the encoders are told: a text for each of them, and how many of their last layers to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) first: String,
    pub(crate) second: String,
    pub(crate) clip_skip: usize,
}

/// How many bytes at the end of each of the two texts found no place.
pub(crate) type CutOff = [usize; 2];

impl Text {
    /// The ends of the texts that found no place, each once.
    pub(crate) fn ends(&self, cut_off: CutOff) -> Vec<&str> {
        let end = |text: &'_ str, bytes: usize| text.len().checked_sub(bytes);
        let first = end(&self.first, cut_off[0]).and_then(|at| self.first.get(at..));
        let second = end(&self.second, cut_off[1]).and_then(|at| self.second.get(at..));
        let mut ends: Vec<&str> = [first, second].into_iter().flatten().collect();
        ends.retain(|end| !end.is_empty());
        ends.dedup();
        ends
    }
}

/// Sizes of the tensors for one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Tokens, padding included.
    pub(crate) tokens: usize,
    /// Values in a row of `prompt_embeds`.
    pub(crate) width: usize,
    /// Values in `pooled_prompt_embeds`.
    pub(crate) pooled_width: usize,
}

impl Shape {
    /// The header of a frame of one row.
    pub(crate) fn header(self, negative: bool, metadata: Metadata) -> Result<Header> {
        Ok(Header::text_embeddings(
            1,
            self.tokens,
            self.width,
            self.pooled_width,
            negative,
            metadata,
        )?)
    }
}

/// A text's embeddings, as the bytes of a frame's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Embeddings {
    pub(crate) shape: Shape,
    pub(crate) prompt_embeds: Vec<u8>,
    pub(crate) pooled_prompt_embeds: Vec<u8>,
    pub(crate) cut_off: CutOff,
}

impl Embeddings {
    /// What the encoders gave.
    pub(crate) fn new(of: &TextEmbeddings, shape: Shape, cut_off: CutOff) -> Self {
        Self {
            shape,
            prompt_embeds: f32_bytes(&of.prompt_embeds),
            pooled_prompt_embeds: f32_bytes(&of.pooled_prompt_embeds),
            cut_off,
        }
    }

    /// What a frame of one row holds; none if it has more rows or other types.
    pub(crate) fn of_frame(frame: &Frame, cut_off: CutOff) -> Option<Self> {
        let size = |name, axis: usize| Some(*frame.header.tensor(name)?.shape.get(axis)?);
        let embeddings = Self {
            shape: Shape {
                tokens: size(names::PROMPT_EMBEDS, 1)?,
                width: size(names::PROMPT_EMBEDS, 2)?,
                pooled_width: size(names::POOLED_PROMPT_EMBEDS, 1)?,
            },
            prompt_embeds: frame.bytes(names::PROMPT_EMBEDS)?.to_owned(),
            pooled_prompt_embeds: frame.bytes(names::POOLED_PROMPT_EMBEDS)?.to_owned(),
            cut_off,
        };
        let expected = embeddings.shape.header(false, Metadata::new()).ok()?;
        (frame.header.tensors() == expected.tensors()).then_some(embeddings)
    }
}
