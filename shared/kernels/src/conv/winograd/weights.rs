//! Weights in the transformed domain.

use super::transform::{IN, Lanes, POINTS, g};
use crate::arch::{LANES, NR};
use crate::context::Context;
use crate::isa::per_isa;
use crate::memory::{Buffer, Disjoint, with_scratch};
use crate::weight::Matrix;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels multiplied at a time, at most.
const BLOCK: usize = 128;

/// Weights of every point, in blocks of input channels that lie in the order in which products read them:
/// `[POINTS][blocks][rows][block]`.
pub(super) struct Weights {
    data: Buffer,
    channels: usize,
    /// Outputs, rounded up to a whole tile.
    pub(super) rows: usize,
    /// Input channels of a block; the last has what is left.
    pub(super) block: usize,
}

impl Weights {
    /// Transforms `[outputs, channels * 9]`.
    pub(super) fn transform(ctx: &Context, w: Matrix<'_>, channels: usize) -> Self {
        let rows = w.rows.next_multiple_of(NR);
        let block = channels.div_ceil(channels.div_ceil(BLOCK));
        let blocks = channels.div_ceil(block);
        let mut data = ctx.pool.take(POINTS * blocks * rows * block);
        let shared = Disjoint::new(data.as_f32_mut());
        let pitch = channels.next_multiple_of(LANES);
        (0..rows).into_par_iter().for_each(|row| {
            with_scratch(|[file, taps, points, _]| {
                let points = points.f32(POINTS * pitch);
                if row < w.rows {
                    let (file, taps) = (file.f32(w.cols), taps.f32(9 * pitch));
                    w.widen(ctx.isa, row, 0..w.cols, file);
                    transform_row(ctx.isa, file, taps, points);
                } else {
                    points.fill(0.0);
                }
                for (p, values) in points.chunks_exact(pitch).enumerate() {
                    for (b, values) in values[..channels].chunks(block).enumerate() {
                        let start = ((p * blocks + b) * rows + row) * block;
                        // SAFETY: each row is written by one thread, while `data` is borrowed.
                        unsafe { shared.range(start, values.len()) }.copy_from_slice(values);
                    }
                }
            });
        });
        Self {
            data,
            channels,
            rows,
            block,
        }
    }

    /// Blocks of input channels.
    pub(super) fn blocks(&self) -> usize {
        self.channels.div_ceil(self.block)
    }

    /// Input channels of block `block`.
    pub(super) fn channels(&self, block: usize) -> Range<usize> {
        block * self.block..((block + 1) * self.block).min(self.channels)
    }

    /// [`NR`] rows of a point from `row` on, as a tile kernel reads them, [`Self::block`] elements apart; and the rows
    /// behind them.
    pub(super) fn tile(&self, point: usize, block: usize, row: usize) -> (&[u32], &[u32]) {
        let start = ((point * self.blocks() + block) * self.rows + row) * self.block;
        let (tile, rest) = self.data.as_u32()[start..].split_at(NR * self.block);
        (tile, &rest[..rest.len().min(NR * self.block)])
    }
}

per_isa! {
/// `[channels][9]` to `[POINTS][channels rounded up to whole vectors]`, by way of `[9][..]`.
fn transform_row(isa, file: &[f32], taps: &mut [f32], points: &mut [f32]) {
    let pitch = taps.len() / 9;
    for (c, window) in file.chunks_exact(9).enumerate() {
        for t in 0..9 {
            taps[t * pitch + c] = window[t];
        }
    }
    for c in (0..pitch).step_by(LANES) {
        let mut half = [[Lanes::ZERO; 3]; IN];
        for j in 0..3 {
            let mut column = [Lanes::ZERO; 3];
            for i in 0..3 {
                column[i] = Lanes::load(&taps[(i * 3 + j) * pitch + c..]);
            }
            let column = g(column);
            for i in 0..IN {
                half[i][j] = column[i];
            }
        }
        for i in 0..IN {
            let row = g(half[i]);
            for j in 0..IN {
                row[j].store(&mut points[(i * IN + j) * pitch + c..]);
            }
        }
    }
}
}
