//! How a map is cut: into rectangles of tiles, one a task.

use super::transform::OUT;
use crate::arch::{LANES, PANEL};

/// Tiles of a map, in rectangles of the same size, the last of a row or column smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Tiles of the map.
    down: usize,
    across: usize,
    /// Tiles of a rectangle.
    height: usize,
    width: usize,
}

/// A rectangle of tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Tiles side by side that lie side by side in a panel, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Row and column in the block.
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) len: usize,
    pub(super) panel: usize,
    pub(super) lane: usize,
}

impl Blocks {
    /// Rectangles of at most `limit` tiles, chosen for little waste: pixels around a rectangle are read once more than
    /// those within, and a vector holds [`LANES`] tiles even where fewer are left.
    pub(super) fn new(height: usize, width: usize, limit: usize) -> Self {
        let (down, across) = (height.div_ceil(OUT), width.div_ceil(OUT));
        let cost = |&(h, w): &(usize, usize)| {
            let rim = |n: usize| 1.0 + 0.5 / n as f64;
            let vectors = (h * w).div_ceil(LANES) * down.div_ceil(h) * across.div_ceil(w);
            // Reading is about a tenth of the work.
            vectors as f64 * (1.0 + 0.1 * rim(h) * rim(w))
        };
        let (height, width) = (1..=across.min(limit))
            .map(|w| ((limit / w).min(down), w))
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
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
    pub(super) fn get(&self, index: usize) -> Block {
        let columns = self.across.div_ceil(self.width);
        let (top, left) = (index / columns * self.height, index % columns * self.width);
        Block {
            top,
            left,
            height: self.height.min(self.down - top),
            width: self.width.min(self.across - left),
        }
    }

    /// Tiles of the largest.
    pub(super) fn largest(&self) -> usize {
        self.height * self.width
    }
}

impl Block {
    /// Tiles.
    pub(super) fn tiles(&self) -> usize {
        self.height * self.width
    }

    /// Tiles of panel `panel`.
    pub(super) fn lanes(&self, panel: usize) -> usize {
        PANEL.min(self.tiles() - panel * PANEL)
    }

    /// The runs of one row of tiles.
    pub(super) fn runs(&self, y: usize) -> impl Iterator<Item = Run> {
        let width = self.width;
        let mut x = 0;
        std::iter::from_fn(move || {
            if x == width {
                return None;
            }
            let index = y * width + x;
            let lane = index % PANEL;
            let run = Run {
                y,
                x,
                len: (width - x).min(PANEL - lane),
                panel: index / PANEL,
                lane,
            };
            x += run.len;
            Some(run)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_lies_in_one_lane() {
        for (height, width, limit) in [
            (1, 1, 64),
            (64, 64, 128),
            (72, 72, 64),
            (30, 201, 128),
            (512, 512, 128),
        ] {
            let blocks = Blocks::new(height, width, limit);
            let across = width.div_ceil(OUT);
            let mut seen = vec![0; height.div_ceil(OUT) * across];
            for i in 0..blocks.count() {
                let block = blocks.get(i);
                assert!(block.tiles() <= blocks.largest() && blocks.largest() <= limit);
                let mut lanes = vec![0; block.tiles()];
                for run in (0..block.height).flat_map(|y| block.runs(y)) {
                    assert!(run.lane + run.len <= block.lanes(run.panel));
                    for t in 0..run.len {
                        lanes[run.panel * PANEL + run.lane + t] += 1;
                        seen[(block.top + run.y) * across + block.left + run.x + t] += 1;
                    }
                }
                assert!(lanes.iter().all(|&n| n == 1));
            }
            assert!(seen.iter().all(|&n| n == 1), "{height}x{width}");
        }
    }
}
