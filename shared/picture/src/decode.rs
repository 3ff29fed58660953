//! A picture's bytes to pixels, by the `image` crate.

use crate::{Alpha, Error, Format, Limits, Result, Rgb, pnm};
use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, RgbImage};
use std::io;

pub(crate) fn decode(format: Format, bytes: &[u8], alpha: Alpha, limits: &Limits) -> Result<Rgb> {
    let refused = |error: ImageError| Error::Decode {
        format,
        text: error.to_string(),
    };
    let input = io::Cursor::new(bytes);
    match format {
        Format::Raw { width, height } => Rgb::new(width, height, bytes.to_vec()),
        Format::Pnm => pnm::decode(bytes, limits),
        Format::Png => {
            let (width, height) = png_size(bytes);
            limits.check(width, height)?;
            let decoder = PngDecoder::with_limits(input, of_image(limits)).map_err(refused)?;
            if decoder.is_apng().map_err(refused)? {
                return Err(Error::Animated(format));
            }
            pixels(decoder, alpha, limits, refused)
        }
        Format::Jpeg => pixels(
            JpegDecoder::new(input).map_err(refused)?,
            alpha,
            limits,
            refused,
        ),
        Format::WebP => {
            let decoder = WebPDecoder::new(input).map_err(refused)?;
            if decoder.has_animation() {
                return Err(Error::Animated(format));
            }
            pixels(decoder, alpha, limits, refused)
        }
    }
}

/// Width and height as a PNG's first chunk has them; zeros where there is none, which the decoder refuses.
fn png_size(bytes: &[u8]) -> (u64, u64) {
    let side = |at: usize| {
        let bytes = bytes
            .get(at..at + 4)
            .and_then(|b| <[u8; 4]>::try_from(b).ok());
        u64::from(bytes.map_or(0, u32::from_be_bytes))
    };
    (side(16), side(20))
}

/// The limits in the decoders' words: as many bytes as pixels of 16 bits and four channels take, and again for what
/// a decoder holds beside them.
fn of_image(limits: &Limits) -> image::Limits {
    let mut decoder = image::Limits::no_limits();
    decoder.max_alloc = Some(limits.pixels.saturating_mul(16).saturating_add(1 << 20));
    decoder
}

fn pixels(
    mut decoder: impl ImageDecoder,
    alpha: Alpha,
    limits: &Limits,
    refused: impl Fn(ImageError) -> Error,
) -> Result<Rgb> {
    let (width, height) = decoder.dimensions();
    limits.check(width.into(), height.into())?;
    decoder.set_limits(of_image(limits)).map_err(&refused)?;
    // A picture without a readable orientation is one that stands upright, to Pillow too.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let mut values = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut values).map_err(&refused)?;
    let rgb = to_rgb(color, values, alpha).ok_or_else(|| {
        let text = format!("colours of the type {color:?} are not supported");
        refused(ImageError::IoError(io::Error::other(text)))
    })?;
    let (width, height, rgb) = if orientation == Orientation::NoTransforms {
        (width, height, rgb)
    } else {
        let upright = RgbImage::from_raw(width, height, rgb).map(|picture| {
            let mut picture = DynamicImage::ImageRgb8(picture);
            picture.apply_orientation(orientation);
            picture.into_rgb8()
        });
        upright.map_or((0, 0, Vec::new()), |picture| {
            (picture.width(), picture.height(), picture.into_raw())
        })
    };
    Rgb::new(width as usize, height as usize, rgb)
}

/// Channels as `color` says, 16-bit ones in the machine's order, as red, green and blue.
fn to_rgb(color: ColorType, values: Vec<u8>, alpha: Alpha) -> Option<Vec<u8>> {
    let values = match color {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => values,
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            let (pairs, _) = values.as_chunks::<2>();
            pairs
                .iter()
                .map(|&pair| (u16::from_ne_bytes(pair) >> 8) as u8)
                .collect()
        }
        _ => return None,
    };
    Some(match color.channel_count() {
        1 => values.iter().flat_map(|&grey| [grey; 3]).collect(),
        2 => {
            let (pairs, _) = values.as_chunks::<2>();
            pairs
                .iter()
                .flat_map(|&[grey, a]| alpha.apply([grey; 3], a))
                .collect()
        }
        3 => values,
        _ => {
            let (fours, _) = values.as_chunks::<4>();
            fours
                .iter()
                .flat_map(|&[r, g, b, a]| alpha.apply([r, g, b], a))
                .collect()
        }
    })
}
