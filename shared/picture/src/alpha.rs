//! What lies behind a transparent picture, and soft edges.

use crate::{Error, Result, Rgb};

/// What becomes of a picture's transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpha {
    /// The picture lies on this colour.
    On([u8; 3]),
    /// It is left out, as Pillow's `convert("RGB")` does. For masks, which are read by how light they are.
    Ignored,
}

impl Alpha {
    /// A colour of this transparency, 255 being none.
    pub(crate) fn apply(self, color: [u8; 3], alpha: u8) -> [u8; 3] {
        match self {
            Self::On(background) => [0, 1, 2].map(|i| mix(alpha, background[i], color[i])),
            Self::Ignored => color,
        }
    }
}

/// `above` where `mask` is 255, `below` where it is 0, rounded as Pillow's `paste` rounds.
fn mix(mask: u8, below: u8, above: u8) -> u8 {
    let mask = u32::from(mask);
    let sum = u32::from(below) * (255 - mask) + u32::from(above) * mask + 128;
    (((sum >> 8) + sum) >> 8) as u8
}

/// `above` on `below` by a mask `[height, width]`: 255 is `above`, 0 is `below`, bit for bit, as Pillow's `paste`.
///
/// # Errors
/// Pictures of two sizes, or a mask of another.
pub fn blend(below: &Rgb, above: &Rgb, mask: &[u8]) -> Result<Rgb> {
    let (width, height) = below.size();
    if above.size() != below.size() || mask.len() != width * height {
        return Err(Error::Size {
            expected: format!("two pictures and a mask of {width} x {height}"),
            found: format!(
                "{} x {}, and a mask of {} pixels",
                above.width(),
                above.height(),
                mask.len()
            ),
        });
    }
    let pairs = below.pixels().iter().zip(above.pixels());
    let mixed = pairs
        .enumerate()
        .map(|(i, (&below, &above))| mix(mask[i / 3], below, above));
    Rgb::new(width, height, mixed.collect())
}
