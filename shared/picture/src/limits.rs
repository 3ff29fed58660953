//! How large a picture may be.

use crate::{Error, Format, Result};

/// How large a picture may be. A few kilobytes can decode to gigabytes: sizes are checked before anything is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels of a picture.
    pub pixels: u64,
    /// Most bytes of a picture as it is written.
    pub bytes: u64,
}

impl Default for Limits {
    /// 178,956,970 pixels, beyond which Pillow takes a file for a decompression bomb, and a gibibyte.
    fn default() -> Self {
        Self {
            pixels: 178_956_970,
            bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Refuses a size.
    pub(crate) fn check(&self, width: u64, height: u64) -> Result<()> {
        if width.saturating_mul(height) <= self.pixels {
            return Ok(());
        }
        Err(Error::TooManyPixels {
            limit: self.pixels,
            width,
            height,
        })
    }

    /// Refuses a picture that has come to `bytes` already.
    pub(crate) fn check_bytes(&self, bytes: u64, format: Format) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        Err(Error::TooManyBytes {
            limit: self.bytes,
            format,
        })
    }
}
