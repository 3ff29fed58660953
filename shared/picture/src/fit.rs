//! Bringing a picture to a size of other proportions.
//!
//! diffusers: `resize`, `_resize_and_crop` and `_resize_and_fill` in `image_processor.py`.

use crate::resample::{Filter, Side, resize};
use crate::{Error, Result, Rgb};

/// What to do about other proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// The picture is stretched. diffusers' `default`.
    #[default]
    Stretch,
    /// The picture covers the size, and what is too much is cut off on both sides. diffusers' `crop`.
    Cover,
    /// The picture lies within the size, and its outermost rows or columns fill the rest. diffusers' `fill`.
    Contain,
}

impl Fit {
    /// The picture in another size, by Pillow's Lanczos.
    ///
    /// # Errors
    /// No pixel wanted, or a picture so thin that nothing would be left of it.
    pub fn apply(self, picture: &Rgb, width: usize, height: usize) -> Result<Rgb> {
        match self {
            Self::Stretch => stretch(picture, width, height),
            Self::Cover => cover(picture, width, height),
            Self::Contain => contain(picture, width, height),
        }
    }
}

fn stretch(picture: &Rgb, width: usize, height: usize) -> Result<Rgb> {
    if width == 0 || height == 0 {
        return Err(Error::Size {
            expected: "at least one pixel to a side".to_owned(),
            found: format!(
                "{width} x {height} for a picture of {} x {}, which is too thin",
                picture.width(),
                picture.height()
            ),
        });
    }
    let columns = Side::whole(picture.width(), width);
    let rows = Side::whole(picture.height(), height);
    Rgb::new(
        width,
        height,
        resize(picture.pixels(), columns, rows, Filter::Lanczos),
    )
}

/// The picture in a size of its own proportions, and where that lies within `width` and `height`.
fn scaled(picture: &Rgb, width: usize, height: usize, wide: bool) -> Result<(Rgb, isize, isize)> {
    let (own_width, own_height) = picture.size();
    let (scaled_width, scaled_height) = if wide {
        (width, own_height * width / own_width)
    } else {
        (own_width * height / own_height, height)
    };
    let scaled = stretch(picture, scaled_width, scaled_height)?;
    let place = |side: usize, scaled: usize| (side / 2) as isize - (scaled / 2) as isize;
    Ok((
        scaled,
        place(width, scaled_width),
        place(height, scaled_height),
    ))
}

fn cover(picture: &Rgb, width: usize, height: usize) -> Result<Rgb> {
    let (ratio, own) = ratios(picture, width, height);
    let (scaled, x, y) = scaled(picture, width, height, ratio > own)?;
    let mut covered = black(width, height)?;
    covered.paste(&scaled, x, y);
    Ok(covered)
}

fn contain(picture: &Rgb, width: usize, height: usize) -> Result<Rgb> {
    let (ratio, own) = ratios(picture, width, height);
    let (scaled, x, y) = scaled(picture, width, height, ratio < own)?;
    let mut filled = black(width, height)?;
    filled.paste(&scaled, x, y);
    if y > 0 {
        let edge = |at: f64| Side {
            from: scaled.height(),
            part: (at, at),
            to: y as usize,
        };
        let columns = Side::whole(width, width);
        for (at, top) in [(0, 0), (scaled.height(), y + scaled.height() as isize)] {
            let pixels = resize(scaled.pixels(), columns, edge(at as f64), Filter::Bicubic);
            filled.paste(&Rgb::new(width, y as usize, pixels)?, 0, top);
        }
    } else if x > 0 {
        let edge = |at: f64| Side {
            from: scaled.width(),
            part: (at, at),
            to: x as usize,
        };
        let rows = Side::whole(height, height);
        for (at, left) in [(0, 0), (scaled.width(), x + scaled.width() as isize)] {
            let pixels = resize(scaled.pixels(), edge(at as f64), rows, Filter::Bicubic);
            filled.paste(&Rgb::new(x as usize, height, pixels)?, left, 0);
        }
    }
    Ok(filled)
}

/// Width over height of what is wanted, and of the picture.
fn ratios(picture: &Rgb, width: usize, height: usize) -> (f64, f64) {
    (
        width as f64 / height as f64,
        picture.width() as f64 / picture.height() as f64,
    )
}

fn black(width: usize, height: usize) -> Result<Rgb> {
    Rgb::new(width, height, vec![0; width * height * 3])
}
