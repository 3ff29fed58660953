//! Pictures back to back, as ffmpeg's `image2pipe` writes them.

use crate::format::describe;
use crate::split::Cursor;
use crate::{Alpha, Error, Format, Limits, Result, Rgb, decode};
use std::io::BufRead;

/// A picture as it was written.
#[derive(Clone, Debug)]
pub struct Encoded {
    format: Format,
    bytes: Vec<u8>,
    start: u64,
}

impl Encoded {
    /// The picture's format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The byte of the input at which it begins.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Decodes it, the right way up (by its EXIF orientation). Channels of 16 bits keep their upper 8.
    ///
    /// # Errors
    /// A damaged picture, an animated one, or more pixels than the limit.
    pub fn decode(&self, alpha: Alpha, limits: &Limits) -> Result<Rgb> {
        decode::decode(self.format, &self.bytes, alpha, limits)
    }
}

/// The only picture of a file; what lies behind it does not count.
///
/// # Errors
/// There is none, or it cannot be read or decoded.
pub fn read(input: impl BufRead, alpha: Alpha, limits: &Limits) -> Result<Rgb> {
    let encoded = Pictures::new(input, *limits).next()?;
    encoded.ok_or(Error::Empty)?.decode(alpha, limits)
}

/// Cuts an input into the pictures that lie in it, one behind the other.
///
/// Each format says itself where a picture ends, and nothing is read beyond it: on a pipe, a picture is there as soon
/// as its last byte is. Memory grows with the bytes that come, never with a number that stands in them.
#[derive(Debug)]
pub struct Pictures<R> {
    cursor: Cursor<R>,
    limits: Limits,
    raw: Option<Format>,
}

impl<R: BufRead> Pictures<R> {
    /// Pictures of any format that is read, also mixed.
    pub fn new(input: R, limits: Limits) -> Self {
        Self {
            cursor: Cursor::new(input, limits),
            limits,
            raw: None,
        }
    }

    /// Pictures that are bare pixels, `[height, width, 3]` each.
    pub fn raw(input: R, limits: Limits, width: usize, height: usize) -> Self {
        Self {
            raw: Some(Format::Raw { width, height }),
            ..Self::new(input, limits)
        }
    }

    /// The next picture; none at the end of the input. After an error the rest cannot be read: where the next picture
    /// begins is not known.
    ///
    /// # Errors
    /// The input fails, ends inside a picture, or is none.
    #[allow(
        clippy::should_implement_trait,
        reason = "it is fallible, and ends at its first error"
    )]
    pub fn next(&mut self) -> Result<Option<Encoded>> {
        let cursor = &mut self.cursor;
        let start = cursor.position();
        let format = if let Some(raw) = self.raw {
            if cursor.is_at_end()? {
                return Ok(None);
            }
            raw
        } else {
            let magic = cursor.peek(2)?;
            if magic.is_empty() {
                return Ok(None);
            }
            let found = <[u8; 2]>::try_from(magic).ok().and_then(Format::of);
            let Some(format) = found else {
                let found = describe(cursor.peek(16)?);
                return Err(Error::NotAPicture { byte: start, found });
            };
            format
        };
        cursor.begin(format);
        match format {
            Format::Png => cursor.png()?,
            Format::Jpeg => cursor.jpeg()?,
            Format::WebP => cursor.webp()?,
            Format::Pnm => cursor.pnm()?,
            Format::Raw { width, height } => {
                self.limits.check(width as u64, height as u64)?;
                cursor.take(width as u64 * height as u64 * 3)?;
            }
        }
        Ok(Some(Encoded {
            format,
            bytes: cursor.end(),
            start,
        }))
    }
}
