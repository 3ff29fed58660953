//! Prompts with weights, and prompts of any length: the syntax that AUTOMATIC1111 and ComfyUI made common.
//!
//! diffusers' SDXL pipelines have neither. A prompt becomes pieces of text with weights ([`pieces`]), the pieces'
//! tokens fill chunks ([`chunks`]), each chunk is encoded as a prompt of its own, and [`Weighting`] applies the
//! weights to what the encoders give. Without brackets, and with a prompt that fits one chunk, all of it is
//! diffusers' result.

mod brackets;
mod chunks;
mod weighting;

pub use brackets::{Piece, pieces};
pub use chunks::{Chunk, Token, chunks};
pub use weighting::{Rows, Weighting};
