//! How a product is cut: into tasks, and the weights of a task into units.

use super::operands::Product;
use crate::arch::{Kernels, LANES, PANEL};
use std::ops::Range;

/// Elements of sums that a task keeps in cache.
const SUMS: usize = 96 * 1024;
/// Elements of the operand that a task keeps in cache, where rows stay near.
const OPERAND: usize = 160 * 1024;
/// Rows of weights in a task, a multiple of every kernel's rows.
const ROWS: usize = 96;
/// Rows of weights in a task where rows are widened a tile at a time, and few panels leave room for more sums. The longer
/// a task, the more of its weights are on their way before they are needed.
const MOST_ROWS: usize = 320;

/// How a product is cut into tasks.
pub(super) struct Tasks {
    /// Rows of a tile, and how many tiles there are below each other.
    tile_rows: usize,
    tiles: usize,
    bands: usize,
    panels: usize,
    spans: usize,
}

impl Tasks {
    /// As many bands of rows as keep the sums of every panel in cache, and a multiple of the threads, so that they
    /// finish together; where all panels are too many, spans of panels.
    pub(super) fn new(rows: usize, parts: usize, panels: usize, kernels: &Kernels) -> Self {
        let threads = rayon::current_num_threads();
        let tile_rows = kernels.rows;
        let tiles = rows.div_ceil(tile_rows);
        let rows = if kernels.rows_stay {
            (SUMS / PANEL / panels).clamp(ROWS, MOST_ROWS)
        } else {
            ROWS
        };
        let most = (rows / parts / tile_rows).max(1);
        let bands = tiles.div_ceil(most).next_multiple_of(threads).min(tiles);
        let band_rows = tiles.div_ceil(bands) * tile_rows;
        let span = (SUMS / (parts * band_rows * PANEL)).max(4);
        let spans = panels
            .div_ceil(span)
            .max((2 * threads).div_ceil(bands).min(panels));
        Self {
            tile_rows,
            tiles,
            bands,
            panels,
            spans,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.bands * self.spans
    }

    /// The rows of a task, not yet cut to the rows there are, and its panels.
    pub(super) fn get(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let share = |n: usize, of: usize, i: usize| i * n / of..(i + 1) * n / of;
        let tiles = share(self.tiles, self.bands, task % self.bands);
        let panels = share(self.panels, self.spans, task / self.bands);
        (
            tiles.start * self.tile_rows..tiles.end * self.tile_rows,
            panels,
        )
    }
}

/// How a task goes about its rows and panels.
pub(super) struct Plan<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) offsets: &'a [u32],
    /// Rows of the result, rounded up to whole tiles, and where the last of them ends that there is.
    pub(super) rows: Range<usize>,
    end: usize,
    pub(super) panels: Range<usize>,
    /// Rows of sums: those of every part.
    pub(super) height: usize,
    /// Steps of the product.
    steps: usize,
    /// Rows of a unit: all of a part, which stay while a panel passes by, or a tile's, which all panels pass by.
    pub(super) unit_rows: usize,
    /// Steps of a unit.
    pub(super) unit_steps: usize,
    /// Elements from one widened row to the next: an odd number of cache lines, so that rows do not fall into one set.
    pub(super) stride: usize,
    /// Whether tiles widen the rows of the next unit.
    pub(super) widens: bool,
    /// Whether sums are there already.
    pub(super) adds: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        product: &Product<'_>,
        kernels: &'a Kernels,
        offsets: &'a [u32],
        (rows, panels): (Range<usize>, Range<usize>),
    ) -> Self {
        let taps = product.taps.len();
        let unit_steps = unit_steps(product.unit, taps, kernels, panels.len());
        Self {
            kernels,
            offsets,
            height: product.parts * rows.len(),
            steps: product.channel_steps() * taps,
            unit_rows: if kernels.rows_stay {
                kernels.rows
            } else {
                rows.len()
            },
            unit_steps,
            stride: (unit_steps.div_ceil(LANES) | 1) * LANES,
            widens: kernels.widens && taps == 1 && product.weights.is_f16(),
            adds: false,
            end: product.rows(),
            rows,
            panels,
        }
    }

    /// This plan, for products that are added to the sums that are there.
    pub(super) fn added(self) -> Self {
        Self { adds: true, ..self }
    }

    /// Units below each other.
    fn units_down(&self) -> usize {
        self.height.div_ceil(self.unit_rows)
    }

    /// Number of units.
    pub(super) fn units(&self) -> usize {
        self.steps.div_ceil(self.unit_steps) * self.units_down()
    }

    /// Unit `i`: all rows of the first steps, then of the next.
    pub(super) fn unit(&self, i: usize) -> Unit {
        let start = i / self.units_down() * self.unit_steps;
        let top = i % self.units_down() * self.unit_rows;
        let row = self.rows.start + top % self.rows.len();
        Unit {
            part: top / self.rows.len(),
            top,
            rows: self.used(row..row + self.unit_rows),
            steps: start..(start + self.unit_steps).min(self.steps),
        }
    }

    /// Cuts rows to those that the result has.
    pub(super) fn used(&self, rows: Range<usize>) -> Range<usize> {
        rows.start.min(self.end)..rows.end.min(self.end)
    }
}

/// Steps of a unit, `most` or less: whole windows of whole tiles. Where a tile's rows stay, fewer for many panels, so that
/// these stay in the second-level cache until the last rows of the task have seen them.
fn unit_steps(most: usize, taps: usize, kernels: &Kernels, panels: usize) -> usize {
    let whole = taps * kernels.steps;
    let most = if kernels.rows_stay {
        (OPERAND / PANEL / panels * taps).min(most)
    } else {
        most
    };
    (most / whole * whole).max(whole)
}

/// Weights that are widened together.
pub(super) struct Unit {
    pub(super) part: usize,
    /// Where its sums begin, in rows of the task.
    pub(super) top: usize,
    /// Rows of the part, and steps of each.
    pub(super) rows: Range<usize>,
    pub(super) steps: Range<usize>,
}

impl Unit {
    /// No rows.
    pub(super) const EMPTY: Self = Self {
        part: 0,
        top: 0,
        rows: 0..0,
        steps: 0..0,
    };

    /// Share `i` of `n` of the rows.
    pub(super) fn share(&self, i: usize, n: usize) -> Range<usize> {
        let (first, count) = (self.rows.start, self.rows.len());
        first + i * count / n..first + (i + 1) * count / n
    }
}
