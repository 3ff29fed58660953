//! Frames of safetensors on a byte stream: the format the tools speak.
//!
//! A stream is zero or more frames back to back; each is a whole safetensors file. [`protocol`] is
//! the specification. [`FrameReader`] and [`FrameWriter`] work on any [`Read`](std::io::Read) and
//! [`Write`](std::io::Write); what they give out has been checked, and what they refuse they refuse
//! with the frame's index and the byte.
//!
//! ```
//! use turbo_wire::{FrameReader, FrameWriter, Header, Kind, Limits, Metadata, f32_bytes, keys};
//!
//! # fn main() -> turbo_wire::Result<()> {
//! let metadata = Metadata::from([(keys::PROMPT.to_owned(), "a red fox".to_owned())]);
//! let header = Header::latents(1, 8, 8, metadata)?;
//!
//! let mut pipe = Vec::new();
//! let mut writer = FrameWriter::new(&mut pipe);
//! writer.write_header(&header)?; // the next program starts to load its model
//! let latents = f32_bytes(&[0.5; 4 * 8 * 8]); // meanwhile this one computes
//! writer.write_body(&[("latents", &latents)])?;
//!
//! let mut reader = FrameReader::new(pipe.as_slice(), Limits::default()).expect(Kind::Latents);
//! while let Some(frame) = reader.next_frame()? {
//!     assert_eq!(frame.header.get(keys::PROMPT), Some("a red fox"));
//!     assert_eq!(frame.to_f32("latents"), Some(vec![0.5; 4 * 8 * 8]));
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod checks;
mod error;
mod frame;
mod header;
mod json;
pub mod keys;
mod kind;
mod limits;
pub mod metadata;
mod picture;
mod quote;
mod read;
pub mod rows;
pub mod settings;
mod tensors;
mod write;

/// The names of the tensors that the kinds define, and what their shapes are made of.
pub mod names {
    pub use crate::kind::{
        IMAGE, LATENT_CHANNELS, LATENT_SCALE, LATENTS, NEGATIVE_POOLED_PROMPT_EMBEDS,
        NEGATIVE_PROMPT_EMBEDS, POOLED_PROMPT_EMBEDS, PROMPT_EMBEDS,
    };
    pub use crate::picture::{
        IMAGE_LOGVAR, IMAGE_MEAN, MASK, MASKED_IMAGE_LOGVAR, MASKED_IMAGE_MEAN,
    };
}

#[doc = include_str!("../PROTOCOL.md")]
pub mod protocol {}

pub use safetensors::Dtype;

pub use error::Error;
pub use frame::{Frame, f32_bytes};
pub use header::Header;
pub use keys::Metadata;
pub use kind::Kind;
pub use limits::Limits;
pub use read::FrameReader;
pub use tensors::TensorSpec;
pub use write::FrameWriter;

/// The version of the protocol that this crate writes. It reads this and `1.N`.
pub const VERSION: &str = "1";

/// A result whose error is this crate's.
pub type Result<T, E = Error> = std::result::Result<T, E>;
