//! The blocked product behind linear layers and convolutions.
//!
//! Weights stay in the file: a block of rows is widened into the cache, a stretch of the inner dimension at a time,
//! used against every panel of the task, and forgotten. The left operand is already packed, so a tile kernel reads
//! both sides from cache. Tasks are blocks of output rows (and, for large maps, groups of panels); each is written
//! by one thread, so the result does not depend on their number.

use crate::arch::{Compute, LANES, NR, PANEL, Tile, tiles};
use crate::buffer::with_scratch;
use crate::isa::Isa;
use crate::value::panel_range;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of sums that a task keeps in cache.
const SUMS: usize = 96 * 1024;
/// Rows of weights in a task at most, a multiple of `2 * NR`.
const ROWS: usize = 96;

/// A product of positions with rows of weights.
pub(crate) struct Product<'a> {
    pub isa: Isa,
    pub compute: Compute,
    /// The left operand.
    pub a: &'a [u32],
    /// Elements from one panel to the next; without it positions follow each other.
    pub panel_pitch: Option<usize>,
    /// Positions in all, those between rows of a map included.
    pub positions: usize,
    /// Where each step lies from a panel's start.
    pub offsets: &'a [u32],
    /// Steps widened at a time.
    pub block: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Matrices stacked in the weights, each `rows` high: 2 for a gated layer, else 1.
    pub parts: usize,
}

impl Product<'_> {
    /// Runs it. `fill(row, steps, out, room)` widens steps of a row of the stacked weights; `sink(rows, panel, sums)`
    /// takes finished sums, `[parts][rows rounded up to NR][PANEL]`.
    pub(crate) fn run(
        &self,
        fill: impl Fn(usize, Range<usize>, &mut [u32], &mut [f32]) + Sync,
        sink: impl Fn(Range<usize>, usize, &[f32]) + Sync,
    ) {
        let kernels = tiles(self.isa, self.compute);
        let panels = self.positions.div_ceil(PANEL);
        let steps = self.offsets.len();
        let begin = |panel| {
            self.panel_pitch
                .map_or(panel_range(self.positions, panel).start, |pitch| {
                    panel * pitch
                })
        };
        let farthest = self.offsets.iter().max().map_or(0, |&o| o as usize);
        let end = |panel| {
            let width = panel_range(self.positions, panel).len();
            begin(panel) + farthest + width.next_multiple_of(LANES)
        };
        assert!(
            (0..panels).all(|panel| end(panel) <= self.a.len()),
            "operand too short"
        );
        let threads = rayon::current_num_threads();
        // Enough tasks that threads finish together, few enough that the operand is not streamed too often.
        let even = self.rows.div_ceil(threads * 3).next_multiple_of(2 * NR);
        let block_rows = even.min(ROWS / self.parts);
        let row_blocks = self.rows.div_ceil(block_rows);
        let group = (SUMS / (self.parts * block_rows * PANEL))
            .max(4)
            .min(panels);
        let groups = panels.div_ceil(group);
        let stride = self.block + LANES;
        (0..row_blocks * groups)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let rows = (task % row_blocks) * block_rows
                    ..((task % row_blocks + 1) * block_rows).min(self.rows);
                let first = task / row_blocks * group;
                let last = (first + group).min(panels);
                let padded = rows.len().next_multiple_of(NR);
                let height = self.parts * padded;
                with_scratch(|[w, c, room, _]| {
                    let w = w.u32(height * stride);
                    let c = c.f32((last - first) * height * PANEL);
                    let room = room.f32(self.block * self.compute.per_step());
                    for start in (0..steps).step_by(self.block) {
                        let end = (start + self.block).min(steps);
                        for part in 0..self.parts {
                            for (i, row) in rows.clone().enumerate() {
                                let out = &mut w[(part * padded + i) * stride..][..end - start];
                                fill(part * self.rows + row, start..end, out, room);
                            }
                        }
                        for panel in first..last {
                            let kernel = kernels
                                [panel_range(self.positions, panel).len().div_ceil(LANES) - 1];
                            for r in (0..height).step_by(NR) {
                                let tile = Tile {
                                    steps: end - start,
                                    a: self.a[begin(panel)..].as_ptr(),
                                    offsets: self.offsets[start..].as_ptr(),
                                    w: w[r * stride..].as_ptr(),
                                    w_stride: stride,
                                    c: c[((panel - first) * height + r) * PANEL..][..NR * PANEL]
                                        .as_mut_ptr(),
                                    accumulate: start > 0,
                                };
                                // SAFETY: `a` reaches far enough for every panel by the assertion above, `w` holds `height` rows of
                                // `stride` elements, `c` was sliced to size, and `tiles` checked the instruction set.
                                unsafe { kernel(&tile) };
                            }
                        }
                    }
                    for panel in first..last {
                        sink(
                            rows.clone(),
                            panel,
                            &c[(panel - first) * height * PANEL..][..height * PANEL],
                        );
                    }
                });
            });
    }
}
