//! The blocked product behind linear layers and convolutions.
//!
//! Weights stay in the file: a block of rows is widened into the cache, a stretch of the inner dimension at a time,
//! used against every panel of the task, and forgotten. The other operand is packed already, or staged panel by panel
//! when its turn comes, so a tile kernel reads both sides from cache. Tasks are blocks of output rows (and, for large
//! maps, groups of panels); each is written by one thread, so the result does not depend on their number.

use crate::arch::{Compute, Kernels, LANES, PANEL, Tile, kernels};
use crate::buffer::with_scratch;
use crate::float::{Matrix, to_steps};
use crate::isa::Isa;
use crate::value::panel_range;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of sums that a task keeps in cache.
const SUMS: usize = 96 * 1024;
/// Rows of weights in a task at most, a multiple of every kernel's rows.
const ROWS: usize = 96;
/// Steps that a panel stays in the first-level cache for, while all rows of the task pass by.
const STRETCH: usize = 640;

/// The operand with the positions.
pub(crate) enum Operand<'a> {
    /// As it lies.
    Lying {
        data: &'a [u32],
        /// Elements from one panel to the next; without it positions follow each other.
        panel_pitch: Option<usize>,
        /// Elements from one step to the next.
        step_pitch: usize,
    },
    /// Made when it is needed: `stage(panel, steps, out)` writes `[steps, PANEL]`.
    Staged(&'a (dyn Fn(usize, Range<usize>, &mut [u32]) + Sync)),
}

/// A product of positions with rows of weights.
pub(crate) struct Product<'a> {
    pub isa: Isa,
    pub compute: Compute,
    pub operand: Operand<'a>,
    /// Positions in all, those between rows of a map included.
    pub positions: usize,
    /// The other operand, where the file has it.
    pub weights: Matrix<'a>,
    /// Matrices stacked in the weights: 2 for a gated layer, else 1.
    pub parts: usize,
    /// Steps widened at a time at most.
    pub block: usize,
    /// Steps that must not be parted: those of a window.
    pub window: usize,
}

/// How a product is cut into tasks.
struct Tasks {
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
    fn new(rows: usize, parts: usize, panels: usize, unit: usize) -> Self {
        let threads = rayon::current_num_threads();
        let units = rows.div_ceil(unit);
        let most = (ROWS / parts / unit).max(1);
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

    fn count(&self) -> usize {
        self.row_blocks * self.groups
    }

    /// First and last row, not yet cut to the rows there are, and panels.
    fn get(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let part = |n: usize, of: usize, i: usize| i * n / of..(i + 1) * n / of;
        let units = part(self.units, self.row_blocks, task % self.row_blocks);
        let panels = part(self.panels, self.groups, task / self.row_blocks);
        (units.start * self.unit..units.end * self.unit, panels)
    }
}

impl Product<'_> {
    /// Runs it. `sink(rows, panel, sums)` takes finished sums, `[parts][rows of the task][PANEL]`, and the rows that
    /// mean something.
    pub(crate) fn run(&self, sink: impl Fn(Range<usize>, usize, &[f32]) + Sync) {
        let kernels = kernels(self.isa, self.compute);
        let panels = self.positions.div_ceil(PANEL);
        if let Operand::Lying { data, .. } = self.operand {
            let end = |panel| {
                let width = panel_range(self.positions, panel).len();
                let (start, step_pitch) = self.lying_at(panel);
                start + self.steps().saturating_sub(1) * step_pitch + width.next_multiple_of(LANES)
            };
            assert!(
                (0..panels).all(|panel| end(panel) <= data.len()),
                "operand too short"
            );
        }
        let tasks = Tasks::new(self.rows(), self.parts, panels, kernels.rows);
        (0..tasks.count())
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let (rows, panels) = tasks.get(task);
                self.task(&kernels, rows, panels, &sink);
            });
    }

    /// Rows of the result.
    fn rows(&self) -> usize {
        self.weights.rows / self.parts
    }

    /// Steps of the inner dimension.
    fn steps(&self) -> usize {
        self.compute.steps(self.weights.cols)
    }

    /// Where a panel begins in an operand as it lies, and its step pitch.
    fn lying_at(&self, panel: usize) -> (usize, usize) {
        match self.operand {
            Operand::Lying {
                panel_pitch,
                step_pitch,
                ..
            } => (
                panel_pitch.map_or_else(
                    || panel_range(self.positions, panel).start,
                    |pitch| panel * pitch,
                ),
                step_pitch,
            ),
            Operand::Staged(_) => unreachable!("a staged operand lies nowhere"),
        }
    }

    /// Steps of a block: whole windows, and whole tiles where a block holds that many.
    fn block(&self, kernels: &Kernels) -> usize {
        let most = self.block.min(kernels.block);
        let both = self.window * kernels.steps;
        let unit = if both <= most { both } else { self.window };
        (most / unit * unit).max(unit)
    }

    /// Widens rows of a task, `first..`, as far as they exist.
    fn widen(
        &self,
        rows: Range<usize>,
        part: usize,
        steps: &Range<usize>,
        stride: usize,
        out: &mut [u32],
    ) {
        let w = self.weights;
        let per = self.compute.per_step();
        for (row, out) in rows.zip(out.chunks_mut(stride)) {
            let row = part * self.rows() + row;
            let bytes = w.part(row, steps.start * per, (steps.end * per).min(w.cols));
            to_steps(
                self.isa,
                self.compute,
                w.float,
                bytes,
                &mut out[..steps.len()],
            );
        }
    }

    fn task(
        &self,
        kernels: &Kernels,
        rows: Range<usize>,
        panels: Range<usize>,
        sink: &impl Fn(Range<usize>, usize, &[f32]),
    ) {
        kernels.prepare_thread();
        let (padded, first) = (rows.len(), panels.start);
        let used = rows.start..rows.end.min(self.rows());
        let height = self.parts * padded;
        let block = self.block(kernels);
        // An odd number of cache lines, so that rows do not fall into one set.
        let stride = (block.div_ceil(LANES) | 1) * LANES;
        // Either all rows are widened before a panel passes them by, or a tile's before all panels pass it by.
        let share = if kernels.rows_stay {
            kernels.rows
        } else {
            padded
        };
        with_scratch(|[w, c, staged, _]| {
            let w = w.u32(share * stride);
            let c = c.f32(panels.len() * height * PANEL);
            let staged = match self.operand {
                Operand::Lying { .. } => &mut [],
                Operand::Staged(_) => staged.u32(panels.len() * block * PANEL),
            };
            for start in (0..self.steps()).step_by(block) {
                let steps = start..(start + block).min(self.steps());
                if let Operand::Staged(stage) = self.operand {
                    let each = staged.chunks_exact_mut(block * PANEL);
                    for (panel, out) in panels.clone().zip(each) {
                        stage(panel, steps.clone(), &mut out[..steps.len() * PANEL]);
                    }
                }
                for top in (0..height).step_by(share) {
                    let (part, row) = (top / padded, rows.start + top % padded);
                    self.widen(row..(row + share).min(used.end), part, &steps, stride, w);
                    for panel in panels.clone() {
                        let width = panel_range(self.positions, panel).len();
                        let kernel = kernels.tiles[width.div_ceil(LANES) - 1];
                        let (a, a_stride) = match self.operand {
                            Operand::Lying { data, .. } => {
                                let (at, pitch) = self.lying_at(panel);
                                (&data[at + start * pitch..], pitch)
                            }
                            Operand::Staged(_) => {
                                (&staged[(panel - first) * block * PANEL..], PANEL)
                            }
                        };
                        let c = &mut c[((panel - first) * height + top) * PANEL..][..share * PANEL];
                        for r in (0..share).step_by(kernels.rows) {
                            let tile = Tile {
                                steps: steps.len(),
                                a: a.as_ptr(),
                                a_stride,
                                w: w[r * stride..].as_ptr(),
                                w_stride: stride,
                                c: c[r * PANEL..][..kernels.rows * PANEL].as_mut_ptr(),
                                accumulate: start > 0,
                            };
                            // SAFETY: `a` reaches far enough for every panel, by the assertion in `run` or as it was
                            // staged; `w` holds `share` rows of `stride` elements and `c` as many of a panel, both
                            // whole tiles of rows; `kernels` checked the instruction set and the thread is prepared.
                            unsafe { kernel(&tile) };
                        }
                    }
                }
            }
            for panel in panels.clone() {
                let c = &c[(panel - first) * height * PANEL..][..height * PANEL];
                sink(used.clone(), panel, c);
            }
        });
    }
}
