//! What the encoders make of a text.

use crate::weighted::{Piece, Weighting, pieces};
use turbo_cli::Result;
use turbo_wire::{Frame, Header, Metadata, names};

/// What the encoders are told: a text for each of them, how many of their last layers to leave out, and whether
/// brackets have a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) first: String,
    pub(crate) second: String,
    pub(crate) clip_skip: usize,
    /// None: as diffusers, brackets are text and what is too long is cut.
    pub(crate) weighting: Option<Weighting>,
}

/// How many bytes at the end of each of the two texts found no place.
pub(crate) type CutOff = [usize; 2];

impl Text {
    /// No text at all.
    pub(crate) fn empty(clip_skip: usize) -> Self {
        Self {
            first: String::new(),
            second: String::new(),
            clip_skip,
            weighting: None,
        }
    }

    /// Whether it has brackets or `BREAK` that [`Weighting`] would give a meaning, and has not.
    pub(crate) fn has_idle_brackets(&self) -> bool {
        let has = |text| {
            #[allow(
                clippy::float_cmp,
                reason = "1 is what text without brackets has, exactly"
            )]
            let plain =
                |piece: &Piece| matches!(piece, Piece::Text { weight, .. } if *weight == 1.0);
            !pieces(text).iter().all(plain)
        };
        self.weighting.is_none() && (has(&self.first) || has(&self.second))
    }

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
    /// Fills up to `tokens` tokens, by appending those of an empty text.
    pub(crate) fn filled(&self, empty: &Self, tokens: usize) -> Self {
        let mut filled = self.clone();
        while filled.shape.tokens < tokens && empty.shape.tokens > 0 {
            filled.prompt_embeds.extend(&empty.prompt_embeds);
            filled.shape.tokens += empty.shape.tokens;
        }
        filled
    }

    /// `prompt_embeds` as numbers.
    pub(crate) fn prompt_embeds(&self) -> Vec<f32> {
        let values = self.prompt_embeds.as_chunks::<4>().0.iter();
        values.map(|bytes| f32::from_le_bytes(*bytes)).collect()
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
