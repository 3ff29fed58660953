//! What the network is told of a prompt: a frame's embeddings, row by row.

use turbo_cli::{Error, Result};
use turbo_wire::{Frame, names};

/// A frame's embeddings, as `f32`.
pub(crate) struct Conditions {
    tokens: usize,
    positive: [Vec<f32>; 2],
    negative: Option<[Vec<f32>; 2]>,
    batch: usize,
}

/// One row's embeddings.
#[derive(PartialEq)]
pub(crate) struct Row {
    pub(crate) tokens: usize,
    pub(crate) positive: Embeds,
    pub(crate) negative: Option<Embeds>,
}

/// A prompt's embeddings.
#[derive(PartialEq)]
pub(crate) struct Embeds {
    pub(crate) prompt: Vec<f32>,
    pub(crate) pooled: Vec<f32>,
}

impl Conditions {
    /// Reads a frame; the negative pair only if there is `guidance`, zeros where there is none.
    pub(crate) fn read(frame: &Frame, guidance: bool) -> Result<Self> {
        let read = |name| {
            let values = frame.to_f32(name).ok_or_else(|| {
                Error::new(format_args!("tensor {name:?}: expected f32, f16 or bf16"))
            })?;
            turbo_sdxl::expect_finite(name, &values)?;
            Ok::<_, Error>(values)
        };
        let positive = [
            read(names::PROMPT_EMBEDS)?,
            read(names::POOLED_PROMPT_EMBEDS)?,
        ];
        let negative = if !guidance {
            None
        } else if frame.header.tensor(names::NEGATIVE_PROMPT_EMBEDS).is_some() {
            Some([
                read(names::NEGATIVE_PROMPT_EMBEDS)?,
                read(names::NEGATIVE_POOLED_PROMPT_EMBEDS)?,
            ])
        } else {
            Some([0, 1].map(|i: usize| vec![0.0; positive[i].len()]))
        };
        let tokens = frame
            .header
            .tensor(names::PROMPT_EMBEDS)
            .map_or(0, |tensor| tensor.shape[1]);
        Ok(Self {
            tokens,
            positive,
            negative,
            batch: frame.header.batch(),
        })
    }

    /// One row's part.
    pub(crate) fn row(&self, row: usize) -> Row {
        Row {
            tokens: self.tokens,
            positive: self.embeds(&self.positive, row),
            negative: self
                .negative
                .as_ref()
                .map(|negative| self.embeds(negative, row)),
        }
    }

    fn embeds(&self, [prompt, pooled]: &[Vec<f32>; 2], row: usize) -> Embeds {
        let part = |values: &[f32]| {
            let len = values.len() / self.batch;
            values[row * len..(row + 1) * len].to_vec()
        };
        Embeds {
            prompt: part(prompt),
            pooled: part(pooled),
        }
    }
}
