//! How a product is cut: into tasks, and a task into units of weights.

use crate::arch::{Kernels, PANEL};
use std::ops::Range;

/// Elements of sums that a task keeps in cache.
const SUMS: usize = 96 * 1024;
/// Rows of weights in a task, a multiple of every kernel's rows.
const ROWS: usize = 96;
/// The same where rows are widened a tile at a time, and few panels leave room for more sums: the longer a task, the
/// more of its weights are on their way before they are needed.
const MOST_ROWS: usize = 320;

/// How a product is cut into tasks.
pub(super) struct Tasks {
    /// Units of rows, a tile's each.
    units: usize,
    unit: usize,
    row_blocks: usize,
    panels: usize,
    groups: usize,
}

impl Tasks {
    /// As many blocks of rows as keep the sums of every panel in cache, and a multiple of the threads, so that they
    /// finish together; where all panels are too many, groups of panels.
    pub(super) fn new(rows: usize, parts: usize, panels: usize, kernels: &Kernels) -> Self {
        let threads = rayon::current_num_threads();
        let unit = kernels.rows;
        let units = rows.div_ceil(unit);
        let rows = if kernels.rows_stay {
            (SUMS / PANEL / panels).clamp(ROWS, MOST_ROWS)
        } else {
            ROWS
        };
        let most = (rows / parts / unit).max(1);
        let row_blocks = units.div_ceil(most).next_multiple_of(threads).min(units);
        let block_rows = units.div_ceil(row_blocks) * unit;
        let group = (SUMS / (parts * block_rows * PANEL)).max(4);
        let groups = panels
            .div_ceil(group)
            .max((2 * threads).div_ceil(row_blocks).min(panels));
        Self {
            units,
            unit,
            row_blocks,
            panels,
            groups,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.row_blocks * self.groups
    }

    /// First and last row, not yet cut to the rows there are, and panels.
    pub(super) fn get(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let part = |n: usize, of: usize, i: usize| i * n / of..(i + 1) * n / of;
        let units = part(self.units, self.row_blocks, task % self.row_blocks);
        let panels = part(self.panels, self.groups, task / self.row_blocks);
        (units.start * self.unit..units.end * self.unit, panels)
    }
}

/// How a task goes about its rows and panels.
pub(super) struct Plan<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) offsets: &'a [u32],
    /// Rows of the result, rounded up to whole tiles, and where the last of them ends that there is.
    pub(super) rows: Range<usize>,
    pub(super) end: usize,
    pub(super) panels: Range<usize>,
    /// Rows of sums: those of every part.
    pub(super) height: usize,
    /// Rows widened together: all of a part before a panel passes them by, or a tile's before all panels pass it by.
    pub(super) share: usize,
    /// Steps of the product, and those widened together.
    pub(super) steps: usize,
    pub(super) block: usize,
    /// Elements from one widened row to the next: an odd number of cache lines, so that rows do not fall into one set.
    pub(super) stride: usize,
    /// Whether tiles widen the rows of the next unit.
    pub(super) widens: bool,
}

impl Plan<'_> {
    /// Shares of rows in the sums.
    pub(super) fn shares(&self) -> usize {
        self.height.div_ceil(self.share)
    }

    pub(super) fn units(&self) -> usize {
        self.steps.div_ceil(self.block) * self.shares()
    }

    /// Unit `i`: every share of the first steps, then of the next.
    pub(super) fn unit(&self, i: usize) -> Unit {
        let (start, top) = (
            i / self.shares() * self.block,
            i % self.shares() * self.share,
        );
        let row = self.rows.start + top % self.rows.len();
        Unit {
            part: top / self.rows.len(),
            top,
            rows: self.used(row..row + self.share),
            steps: start..(start + self.block).min(self.steps),
        }
    }

    /// Those of some rows that there are.
    pub(super) fn used(&self, rows: Range<usize>) -> Range<usize> {
        rows.start.min(self.end)..rows.end.min(self.end)
    }
}

/// What is done while tiles multiply.
pub(super) enum Meanwhile<'a> {
    Nothing,
    /// A unit's rows are asked for.
    Fetch(Unit),
    /// A unit's rows are widened into what is borrowed.
    Widen(Unit, &'a mut [u32]),
}

/// Weights that are widened together.
pub(super) struct Unit {
    pub(super) part: usize,
    /// Where its sums begin, in rows of the task.
    pub(super) top: usize,
    pub(super) rows: Range<usize>,
    pub(super) steps: Range<usize>,
}

impl Unit {
    /// Part `i` of `n` of the rows.
    pub(super) fn share(&self, i: usize, n: usize) -> Range<usize> {
        let (first, count) = (self.rows.start, self.rows.len());
        first + i * count / n..first + (i + 1) * count / n
    }
}
