//! How a map is cut: into rectangles of tiles, each a panel.

use super::transform::OUT;
use crate::arch::{LANES, PANEL};

/// Tiles of a map, in rectangles of the same size, the last of a row or column smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectangles {
    /// Tiles of the map.
    down: usize,
    across: usize,
    /// Tiles of a rectangle.
    height: usize,
    width: usize,
}

/// A rectangle of tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectangle {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Rectangles {
    /// Rectangles of at most [`PANEL`] tiles that cost little: the more pixels lie around them, the more are read more
    /// than once; the narrower they are, the more pieces of rows are read; and a vector holds [`LANES`] tiles even where
    /// fewer are left.
    pub(super) fn new(height: usize, width: usize) -> Self {
        let (down, across) = (height.div_ceil(OUT), width.div_ceil(OUT));
        let cost = |&(h, w): &(usize, usize)| {
            // In cache lines: a piece takes as long as some more of it would, products as long as many.
            let pieces = h * OUT + 2;
            let lines = pieces * ((w * OUT).div_ceil(LANES) + 8);
            let products = 50 * (h * w).div_ceil(LANES);
            down.div_ceil(h) * across.div_ceil(w) * (lines + products)
        };
        let (height, width) = (1..=across.min(PANEL))
            .map(|w| ((PANEL / w).min(down), w))
            .min_by_key(cost)
            .expect("a map has a tile at least");
        Self {
            down,
            across,
            height,
            width,
        }
    }

    /// Number of rectangles.
    pub(super) fn count(&self) -> usize {
        self.down.div_ceil(self.height) * self.across.div_ceil(self.width)
    }

    /// Rectangle `index`.
    pub(super) fn get(&self, index: usize) -> Rectangle {
        let columns = self.across.div_ceil(self.width);
        let (top, left) = (index / columns * self.height, index % columns * self.width);
        Rectangle {
            top,
            left,
            height: self.height.min(self.down - top),
            width: self.width.min(self.across - left),
        }
    }
}

impl Rectangle {
    /// Tiles: lanes of the panel that they fill, row after row.
    pub(super) fn tiles(&self) -> usize {
        self.height * self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_lies_in_one_rectangle() {
        for (height, width) in [(1, 1), (64, 64), (72, 72), (30, 201), (512, 512), (5, 3000)] {
            let rectangles = Rectangles::new(height, width);
            let across = width.div_ceil(OUT);
            let mut seen = vec![0; height.div_ceil(OUT) * across];
            for i in 0..rectangles.count() {
                let rectangle = rectangles.get(i);
                assert!((1..=PANEL).contains(&rectangle.tiles()));
                for t in 0..rectangle.tiles() {
                    let (y, x) = (
                        rectangle.top + t / rectangle.width,
                        rectangle.left + t % rectangle.width,
                    );
                    seen[y * across + x] += 1;
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{height}x{width}");
        }
    }
}
