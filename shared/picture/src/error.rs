//! What can be wrong with a picture.

use crate::Format;
use std::io;

/// A result whose error is this crate's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with a picture. Bytes count from the start of the input, from 0.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input cannot be read.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// The input ends inside a picture.
    #[error(
        "byte {byte}: the input ends inside a {format} picture (was the file cut, or did the program that wrote it \
         fail?)"
    )]
    Cut {
        /// Where the input ended.
        byte: u64,
        /// What was being read.
        format: Format,
    },
    /// A file with nothing in it.
    #[error("expected a picture, found an empty file")]
    Empty,
    /// What stands there is no picture.
    #[error("byte {byte}: expected a PNG, JPEG, WebP, PPM (P6) or PGM (P5) picture, found {found}")]
    NotAPicture {
        /// Where it stands.
        byte: u64,
        /// What it looks like.
        found: String,
    },
    /// A picture's own structure is broken.
    #[error("byte {byte}: {format}: expected {expected}, found {found}")]
    Structure {
        /// Where.
        byte: u64,
        /// The format.
        format: Format,
        /// What should stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A file of several pictures, to be shown one after the other.
    #[error(
        "expected one picture, found an animated {0}; take it apart with `ffmpeg -i FILE -f image2pipe -c:v png -`, \
         and read that by the name -"
    )]
    Animated(Format),
    /// More pixels than the limit.
    #[error(
        "expected at most {limit} pixels, found {width} x {height}; raise --max-pixels for a picture as large"
    )]
    TooManyPixels {
        /// The limit.
        limit: u64,
        /// Pixels to a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// More bytes than the limit.
    #[error(
        "a {format} picture: expected at most {limit} bytes, found more; raise --max-frame-bytes"
    )]
    TooManyBytes {
        /// The limit.
        limit: u64,
        /// The format.
        format: Format,
    },
    /// The format's decoder refuses the picture.
    #[error("{format}: {text}")]
    Decode {
        /// The format.
        format: Format,
        /// What its decoder says.
        text: String,
    },
    /// A picture that cannot be brought to a size.
    #[error("size: expected {expected}, found {found}")]
    Size {
        /// What would do.
        expected: String,
        /// The size.
        found: String,
    },
}
