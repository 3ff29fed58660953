//! A picture in memory.

use crate::{Error, Result};

/// A picture of 8 bits each of red, green and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Rgb {
    /// A picture of `pixels` `[height, width, 3]`, row by row from the top left.
    ///
    /// # Errors
    /// No pixel, or another number of bytes.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if width == 0 || height == 0 || expected != Some(pixels.len()) {
            return Err(Error::Size {
                expected: format!("{width} x {height} pixels of 3 bytes, at least one"),
                found: format!("{} bytes", pixels.len()),
            });
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// Pixels to a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// `[height, width]`: how light each pixel is, as Pillow's mode `L` (ITU-R 601-2 with 16 bits of fraction).
    pub fn to_grey(&self) -> Vec<u8> {
        let (pixels, _) = self.pixels.as_chunks::<3>();
        let luma = |[r, g, b]: &[u8; 3]| {
            let sum = u32::from(*r) * 19_595 + u32::from(*g) * 38_470 + u32::from(*b) * 7_471;
            ((sum + 0x8000) >> 16) as u8
        };
        pixels.iter().map(luma).collect()
    }

    /// Puts `other` with its top left at `x`, `y`, which may lie outside; what does not fit is cut off.
    pub(crate) fn paste(&mut self, other: &Self, x: isize, y: isize) {
        let (left, right) = span(x, other.width, self.width);
        let (top, bottom) = span(y, other.height, self.height);
        if left >= right {
            return;
        }
        for row in top..bottom {
            let source =
                ((row as isize - y) as usize * other.width + (left as isize - x) as usize) * 3;
            let target = (row * self.width + left) * 3;
            let len = (right - left) * 3;
            self.pixels[target..target + len].copy_from_slice(&other.pixels[source..source + len]);
        }
    }
}

/// Where `len` places from `start` on lie within `size`.
fn span(start: isize, len: usize, size: usize) -> (usize, usize) {
    let end = (start + len as isize).clamp(0, size as isize);
    (start.clamp(0, size as isize) as usize, end as usize)
}
