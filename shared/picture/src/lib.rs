//! Pictures in: PNG, JPEG, WebP, PPM, PGM and bare pixels, from files or back to back on a pipe, in the sizes and
//! with the masks that an autoencoder wants.
//!
//! ```
//! use turbo_picture::{Alpha, Fit, Limits, Pictures, mask, size};
//!
//! # fn main() -> turbo_picture::Result<()> {
//! # let photo: &[u8] = b"P6\n# 16 x 9\n16 9\n255\n".as_slice();
//! # let photo = [photo, &[200; 16 * 9 * 3]].concat();
//! let limits = Limits::default();
//! let mut pictures = Pictures::new(&photo[..], limits);
//! while let Some(encoded) = pictures.next()? {
//!     let picture = encoded.decode(Alpha::On([255; 3]), &limits)?;
//!     let (width, height) = size::target(picture.size(), None, None)?;
//!     assert_eq!((width, height), (16, 8));
//!     let prepared = Fit::Stretch.apply(&picture, width, height)?;
//!     assert_eq!(prepared.pixels().len(), 16 * 8 * 3);
//!     let repaint = mask::binarize(&prepared);
//!     assert_eq!(mask::to_latents(&repaint, width, height), [1.0; 2]);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Where a rule is needed it is that of Pillow, which diffusers reads pictures with: two systems that resize the same
//! photo differently do not draw the same picture.

#![forbid(unsafe_code)]

mod alpha;
mod color;
mod decode;
mod error;
mod fit;
mod format;
mod limits;
pub mod mask;
mod pictures;
mod pnm;
mod resample;
mod rgb;
pub mod size;
mod split;

pub use alpha::{Alpha, blend};
pub use color::Color;
pub use error::{Error, Result};
pub use fit::Fit;
pub use format::Format;
pub use limits::Limits;
pub use pictures::{Encoded, Pictures, read};
pub use rgb::Rgb;
