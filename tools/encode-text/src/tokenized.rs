//! A text's ids, in as many chunks as it needs.

use crate::clip_tokenizer::ClipTokenizer;
use crate::embeddings::{CutOff, Text};
use crate::weighted::{Chunk, chunks};
use turbo_cli::{Error, Result};

/// The most chunks of a text: 19,200 tokens, of which the embeddings take 160 MB.
const MAX_CHUNKS: usize = 256;

/// What one encoder is given at once.
pub(crate) struct Input {
    /// As many ids as the encoder takes, start and end of text and padding included.
    pub(crate) ids: Vec<u32>,
    /// A weight for each id behind the start of text; none where brackets have no meaning.
    pub(crate) weights: Vec<f32>,
}

/// A text, ready for both encoders.
pub(crate) struct Tokenized {
    /// One at least. Both encoders have equally many.
    pub(crate) chunks: Vec<[Input; 2]>,
    /// What of the texts found no place; nothing where they may be of any length.
    pub(crate) cut_off: CutOff,
}

impl Tokenized {
    /// Tokenizes a text.
    ///
    /// # Errors
    /// The text cannot be tokenized, or is far too long.
    pub(crate) fn of(text: &Text, tokenizers: &[ClipTokenizer; 2]) -> Result<Self> {
        let [first, second] = tokenizers;
        if text.weighting.is_none() {
            let (first, second) = (first.encode(&text.first)?, second.encode(&text.second)?);
            let bytes = |end: &Option<String>| end.as_ref().map_or(0, String::len);
            let cut_off = [&first.truncated, &second.truncated].map(bytes);
            let [first, second] = [first.ids, second.ids].map(|ids| Input {
                ids,
                weights: Vec::new(),
            });
            return Ok(Self {
                chunks: vec![[first, second]],
                cut_off,
            });
        }
        let mut first = inputs(&text.first, first)?;
        let mut second = inputs(&text.second, second)?;
        // Both encoders get equally many chunks: empty ones fill up.
        let count = first.len().max(second.len());
        let empty = |tokenizer: &ClipTokenizer| input(&Chunk::default(), tokenizer);
        first.resize_with(count, || empty(&tokenizers[0]));
        second.resize_with(count, || empty(&tokenizers[1]));
        let pairs = first.into_iter().zip(second);
        Ok(Self {
            chunks: pairs.map(|(first, second)| [first, second]).collect(),
            cut_off: [0, 0],
        })
    }
}

fn inputs(text: &str, tokenizer: &ClipTokenizer) -> Result<Vec<Input>> {
    let chunks = chunks(text, tokenizer.room(), |text| tokenizer.tokens(text))?;
    if chunks.len() > MAX_CHUNKS {
        return Err(Error::new(format_args!(
            "expected a prompt of up to {MAX_CHUNKS} chunks of {} tokens, found {}",
            tokenizer.room(),
            chunks.len()
        )));
    }
    Ok(chunks.iter().map(|chunk| input(chunk, tokenizer)).collect())
}

fn input(chunk: &Chunk, tokenizer: &ClipTokenizer) -> Input {
    Input {
        ids: tokenizer.framed(&chunk.ids),
        weights: chunk.weights.clone(),
    }
}
