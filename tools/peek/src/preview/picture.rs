//! Pictures in memory, and what of a frame is one.

use turbo_cli::{Error, Result};
use turbo_wire::names::{self, LATENT_CHANNELS};
use turbo_wire::{Dtype, Frame, Kind};

use crate::number::numbers;

/// Red, green and blue for each of SDXL's four latent channels, and what is added: 0 to 255. From the guide to callbacks
/// of diffusers (`latents_to_rgb`), which has them from
/// <https://huggingface.co/blog/TimothyAlexisVass/explaining-the-sdxl-latent-space>.
const WEIGHTS: [[f32; LATENT_CHANNELS]; 3] = [
    [60.0, -60.0, 25.0, -70.0],
    [60.0, -5.0, 15.0, -50.0],
    [60.0, 10.0, -5.0, -35.0],
];
const BIASES: [f32; 3] = [150.0, 140.0, 130.0];

/// A picture of at least one pixel, RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// The rows of a tensor, one after the other: by default that of the frame's kind. None where the frame has no
    /// such tensor or it is no picture. Each is made when it is asked for, as there may be a great many small ones.
    pub(crate) fn all<'a>(
        frame: &'a Frame,
        tensor: Option<&'a str>,
    ) -> Box<dyn Iterator<Item = Self> + 'a> {
        let none = Box::new(std::iter::empty());
        let name = match (tensor, frame.header.kind()) {
            (Some(name), _) => name,
            (None, Kind::Latents) => names::LATENTS,
            (None, Kind::Image) => names::IMAGE,
            (None, Kind::TextEmbeddings) => return none,
        };
        let Some((spec, bytes)) = frame.tensors().find(|(spec, _)| spec.name == name) else {
            return none;
        };
        match (&spec.shape[..], spec.dtype) {
            (
                &[_, LATENT_CHANNELS, height, width],
                dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16),
            ) if height > 0 && width > 0 => {
                let values = LATENT_CHANNELS * height * width;
                let rows = bytes.chunks_exact(values * dtype.bitsize() / 8);
                Box::new(rows.map(move |row| {
                    let values = numbers(dtype, row).into_iter().flatten();
                    let values: Vec<f32> = values.map(|value| value.to_f64() as f32).collect();
                    Self::of_latents(&values, height, width)
                }))
            }
            (&[_, height, width, 3], Dtype::U8) if height > 0 && width > 0 => {
                let (pixels, _) = bytes.as_chunks::<3>();
                let rows = pixels.chunks_exact(height * width);
                Box::new(rows.map(move |pixels| Self {
                    width,
                    height,
                    pixels: pixels.to_vec(),
                }))
            }
            _ => none,
        }
    }

    /// Latents `[4, height, width]`, a pixel each. What is no number becomes black.
    fn of_latents(latents: &[f32], height: usize, width: usize) -> Self {
        let plane = height * width;
        let channel = |at: usize, weights: &[f32; LATENT_CHANNELS], bias: f32| {
            let weighted = weights.iter().enumerate();
            let sum: f32 = weighted.map(|(c, w)| w * latents[c * plane + at]).sum();
            // Saturates, and cuts off what is behind the point, as torch's `clamp(0, 255).byte()` does.
            (sum + bias) as u8
        };
        let pixel = |at| [0, 1, 2].map(|i| channel(at, &WEIGHTS[i], BIASES[i]));
        Self {
            width,
            height,
            pixels: (0..plane).map(pixel).collect(),
        }
    }

    /// At most so wide and high, with its proportions: means of what falls together.
    pub(crate) fn shrunk(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        if self.width <= width && self.height <= height {
            return self.clone();
        }
        // The narrower side decides: compare the ratios without dividing.
        let (width, height) = if self.width * height >= self.height * width {
            (width, (self.height * width / self.width).max(1))
        } else {
            ((self.width * height / self.height).max(1), height)
        };
        let span = |at: usize, from: usize, to: usize| {
            let begin = at * from / to;
            begin..((at + 1) * from / to).max(begin + 1)
        };
        let mean = |x: usize, y: usize| {
            let (columns, rows) = (span(x, self.width, width), span(y, self.height, height));
            let count = columns.len() * rows.len();
            let mut sum = [0_usize; 3];
            for y in rows {
                for pixel in &self.pixels[y * self.width..][columns.clone()] {
                    sum.iter_mut()
                        .zip(pixel)
                        .for_each(|(sum, &value)| *sum += usize::from(value));
                }
            }
            sum.map(|sum| ((sum + count / 2) / count) as u8)
        };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self {
            width,
            height,
            pixels: pixels.map(|(x, y)| mean(x, y)).collect(),
        }
    }

    /// Enlarged by a whole factor, as far as the longer side stays within `side`: each pixel becomes a square.
    pub(crate) fn enlarged(&self, side: usize) -> Self {
        let factor = (side / self.width.max(self.height)).max(1);
        let (width, height) = (self.width * factor, self.height * factor);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x / factor, y / factor)));
        Self {
            width,
            height,
            pixels: pixels
                .map(|(x, y)| self.pixels[y * self.width + x])
                .collect(),
        }
    }

    /// The bytes of a PNG file.
    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        let side = |side: usize| {
            u32::try_from(side).map_err(|_| {
                Error::new(format_args!(
                    "expected at most {} pixels a side, found {side}",
                    u32::MAX
                ))
            })
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Picture {
        let pixel = |i: usize| [i as u8, (i * 3) as u8, 255 - i as u8];
        Picture {
            width,
            height,
            pixels: (0..width * height).map(pixel).collect(),
        }
    }

    #[test]
    fn latents_are_mapped_and_clamped() {
        // Two pixels: [0, 0, 0, 0] and [1, -1, 0.5, 2.01].
        let latents = [0.0, 1.0, 0.0, -1.0, 0.0, 0.5, 0.0, 2.01];
        let seen = Picture::of_latents(&latents, 1, 2);
        assert_eq!(seen.pixels[0], [150, 140, 130]);
        // 60 + 60 + 12.5 - 140.7 + 150; 60 + 5 + 7.5 - 100.5 + 140; 60 - 10 - 2.5 - 70.35 + 130, cut off.
        assert_eq!(seen.pixels[1], [141, 112, 107]);
        let wild = Picture::of_latents(
            &[
                9.0,
                -9.0,
                f32::NAN,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
            ],
            1,
            3,
        );
        assert_eq!(wild.pixels, [[255; 3], [0; 3], [0; 3]]);
    }

    #[test]
    fn shrinking_takes_means_and_keeps_proportions() {
        let picture = picture(8, 4);
        assert_eq!(picture.shrunk(8, 4), picture);
        assert_eq!(picture.shrunk(100, 100), picture);
        let half = picture.shrunk(4, 100);
        assert_eq!((half.width, half.height), (4, 2));
        // Pixels 0, 1, 8 and 9: means 4.5, 13.5 and 250.5, halves up.
        assert_eq!(half.pixels[0], [5, 14, 251]);
        let low = picture.shrunk(100, 1);
        assert_eq!((low.width, low.height), (2, 1));
        let thin = picture.shrunk(1, 1);
        assert_eq!(thin.pixels.len(), 1);
        let odd = super::Picture {
            width: 7,
            height: 5,
            pixels: picture.pixels[..32]
                .iter()
                .chain(&picture.pixels[..3])
                .copied()
                .collect(),
        };
        assert_eq!(
            odd.shrunk(3, 3).pixels.len(),
            odd.shrunk(3, 3).width * odd.shrunk(3, 3).height
        );
    }

    #[test]
    fn enlarging_makes_squares() {
        let small = picture(2, 1);
        let large = small.enlarged(7);
        assert_eq!((large.width, large.height), (6, 3));
        assert_eq!(large.pixels[2], small.pixels[0]);
        assert_eq!(large.pixels[3], small.pixels[1]);
        assert_eq!(large.pixels[17], small.pixels[1]);
        assert_eq!(small.enlarged(1), small);
    }
}
