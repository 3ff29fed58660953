//! Encoding and decoding in overlapping tiles, blended linearly, in diffusers' two ways.
//!
//! [`blended`]: `_tiled_encode`, `_tiled_decode`, `blend_v` and `blend_h` in `models/autoencoders/autoencoder_kl.py`.
//! Tiles overlap by a quarter. Each is blended into the one above, then into the one to the left, both as they are after
//! their own blending, and then gives its first three quarters to the picture.
//!
//! [`overlaid`]: `_tiled_encode` and `_tiled_decode` in `models/autoencoders/autoencoder_tiny.py`. Tiles overlap by an
//! eighth. Each is laid whole over what the picture has so far, under a mask that rises from 0 at the edges it shares.

use crate::Result;

/// Of a tile's side, the part that [`overlaid`] tiles share is one in so many.
const OVERLAID: usize = 8;

/// Values `[channels, height, width]`.
pub(crate) struct Map<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Map<'_> {
    /// A part, of at most `size` rows and columns.
    fn crop(&self, top: usize, left: usize, size: usize) -> Tile {
        let height = size.min(self.height - top);
        let width = size.min(self.width - left);
        let mut values = Vec::with_capacity(self.channels * height * width);
        for row in (0..self.channels).flat_map(|c| (0..height).map(move |y| (c, y))) {
            let start = (row.0 * self.height + top + row.1) * self.width + left;
            values.extend_from_slice(&self.values[start..start + width]);
        }
        Tile {
            values,
            height,
            width,
        }
    }
}

/// A part of a map, with as many channels.
struct Tile {
    values: Vec<f32>,
    height: usize,
    width: usize,
}

/// What `code` makes of `map`, tile by tile: a tile of `side` rows and columns becomes one of `side_out`, in `channels`
/// channels. `code` takes a tile's values, height and width. Only two rows of tiles are held at a time.
pub(crate) fn blended(
    map: &Map<'_>,
    side: usize,
    side_out: usize,
    channels: usize,
    code: impl Fn(&[f32], usize, usize) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let stride = side * 3 / 4;
    let blend = side_out / 4;
    let kept = side_out - blend;
    let scaled = |n: usize| n * side_out / side;
    let (height, width) = (scaled(map.height), scaled(map.width));
    let mut image = vec![0.; channels * height * width];
    let mut above: Vec<Tile> = Vec::new();
    for (i, top) in (0..map.height).step_by(stride).enumerate() {
        let mut row: Vec<Tile> = Vec::new();
        for (j, left) in (0..map.width).step_by(stride).enumerate() {
            let tile = map.crop(top, left, side);
            let mut pixels = Tile {
                values: code(&tile.values, tile.height, tile.width)?,
                height: scaled(tile.height),
                width: scaled(tile.width),
            };
            if let Some(above) = above.get(j) {
                blend_v(above, &mut pixels, blend, channels);
            }
            if let Some(before) = row.last() {
                blend_h(before, &mut pixels, blend, channels);
            }
            let (y, x) = (i * kept, j * kept);
            for c in 0..channels {
                for dy in 0..pixels.height.min(kept) {
                    let n = pixels.width.min(kept);
                    let from = (c * pixels.height + dy) * pixels.width;
                    let to = (c * height + y + dy) * width + x;
                    image[to..to + n].copy_from_slice(&pixels.values[from..from + n]);
                }
            }
            row.push(pixels);
        }
        above = row;
    }
    Ok(image)
}

/// What `code` makes of `map`, as [`blended`] does it, but in `AutoencoderTiny`'s way. Only one tile is held at a time.
pub(crate) fn overlaid(
    map: &Map<'_>,
    side: usize,
    side_out: usize,
    channels: usize,
    code: impl Fn(&[f32], usize, usize) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let stride = side - side / OVERLAID;
    let scaled = |n: usize| n * side_out / side;
    // Weight of a tile's row or column: 1 behind the part that it shares with the tile before, if there is one.
    let last_shared = (side_out / OVERLAID - 1) as f32;
    let weight = |start: usize, i: usize| match start {
        0 => 1.,
        _ => (i as f32 / last_shared).min(1.),
    };
    let (height, width) = (scaled(map.height), scaled(map.width));
    let mut image = vec![0.; channels * height * width];
    for top in (0..map.height).step_by(stride) {
        for left in (0..map.width).step_by(stride) {
            let tile = map.crop(top, left, side);
            let pixels = code(&tile.values, tile.height, tile.width)?;
            let (rows, columns) = (scaled(tile.height), scaled(tile.width));
            for (i, line) in pixels.chunks_exact(columns).enumerate() {
                let (channel, y) = (i / rows, i % rows);
                let to = (channel * height + scaled(top) + y) * width + scaled(left);
                let row = weight(top, y);
                for (x, (old, new)) in image[to..].iter_mut().zip(line).enumerate() {
                    let weight = row * weight(left, x);
                    *old = weight * new + (1. - weight) * *old;
                }
            }
        }
    }
    Ok(image)
}

/// Blends the end of `above` into the beginning of `tile`.
fn blend_v(above: &Tile, tile: &mut Tile, extent: usize, channels: usize) {
    let extent = extent.min(above.height).min(tile.height);
    for c in 0..channels {
        for y in 0..extent {
            let from = (c * above.height + above.height - extent + y) * above.width;
            let to = (c * tile.height + y) * tile.width;
            let weight = y as f32 / extent as f32;
            for x in 0..tile.width {
                let new = &mut tile.values[to + x];
                *new = above.values[from + x] * (1. - weight) + *new * weight;
            }
        }
    }
}

/// Blends the end of `before` into the beginning of `tile`.
fn blend_h(before: &Tile, tile: &mut Tile, extent: usize, channels: usize) {
    let extent = extent.min(before.width).min(tile.width);
    for row in 0..channels * tile.height {
        let from = row * before.width + before.width - extent;
        let to = row * tile.width;
        for x in 0..extent {
            let weight = x as f32 / extent as f32;
            let new = &mut tile.values[to + x];
            *new = before.values[from + x] * (1. - weight) + *new * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: numpy in f64, by diffusers' statements, for a decoder whose pixels depend on their whole tile.
    #[test]
    fn tiles_are_blended_as_diffusers_blends_them() {
        let (height, width) = (7, 10);
        let values: Vec<f32> = (0..70).map(|i| (i * 37 % 19) as f32).collect();
        let latents = Map {
            values: &values,
            channels: 1,
            height,
            width,
        };
        // Two channels: nearest neighbour plus half the tile's mean, and the same negated.
        let decoder = |z: &[f32], height: usize, width: usize| {
            let mean = z.iter().sum::<f32>() / z.len() as f32;
            let pixel = |i: usize| z[i / (4 * width) / 4 * width + i % (4 * width) / 4];
            let plane = (0..16 * height * width).map(|i| pixel(i) + 0.5 * mean);
            Ok(plane.clone().chain(plane.map(|x| -x)).collect())
        };
        let image = blended(&latents, 4, 16, 2, decoder).unwrap();
        assert_eq!(image.len(), 2 * 28 * 40);
        let sum: f64 = image[..28 * 40].iter().map(|&x| f64::from(x)).sum();
        assert!((sum - 15_745.291).abs() < 0.01, "{sum}");
        for (y, x, expected) in [
            (0, 0, 5.406_25),
            (0, 13, 21.179_688),
            (13, 0, 13.367_188),
            (12, 12, 10.406_25),
            (13, 14, 10.009_766),
            (15, 37, 22.354_004),
            (14, 25, 6.131_836),
            (24, 24, 13.75),
            (25, 38, 11.408_203),
            (27, 39, 11.085_449),
        ] {
            let found = [image[y * 40 + x], -image[(28 + y) * 40 + x]];
            assert!(
                found.iter().all(|f| (f - expected).abs() < 1e-4),
                "{y} {x}: {found:?}"
            );
        }
    }
}
