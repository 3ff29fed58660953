//! Weights in the transformed domain.

use super::transform::{IN, Lanes, POINTS, g};
use crate::arch::{LANES, NR};
use crate::context::Context;
use crate::isa::per_isa;
use crate::memory::{Buffer, Disjoint, with_scratch};
use crate::weight::Matrix;
use rayon::prelude::*;
use std::ops::Range;

/// Input channels of a slice, at most.
const SLICE: usize = 128;

/// Weights of every point. Products read a slice of the input channels at a time, so each slice lies together:
/// `[POINTS][slices][rows][channels of a slice]`.
pub(super) struct Weights {
    data: Buffer,
    channels: usize,
    /// Outputs, rounded up to a whole tile.
    pub(super) rows: usize,
    /// Input channels of a slice; the last has what is left.
    pub(super) slice: usize,
}

impl Weights {
    /// Transforms `[outputs, channels * 9]`.
    pub(super) fn transform(ctx: &Context, w: Matrix<'_>, channels: usize) -> Self {
        let rows = w.rows.next_multiple_of(NR);
        let slice = channels.div_ceil(channels.div_ceil(SLICE));
        let slices = channels.div_ceil(slice);
        let mut data = ctx.pool.take(POINTS * slices * rows * slice);
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
                    for (b, values) in values[..channels].chunks(slice).enumerate() {
                        let start = ((p * slices + b) * rows + row) * slice;
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
            slice,
        }
    }

    /// Blocks of input channels.
    pub(super) fn slices(&self) -> usize {
        self.channels.div_ceil(self.slice)
    }

    /// Input channels of slice `slice`.
    pub(super) fn channels(&self, slice: usize) -> Range<usize> {
        slice * self.slice..((slice + 1) * self.slice).min(self.channels)
    }

    /// [`NR`] rows of a point from `row` on, as a tile kernel reads them, [`Self::slice`] elements apart; and the rows
    /// behind them.
    pub(super) fn tile(&self, point: usize, slice: usize, row: usize) -> (&[u32], &[u32]) {
        let start = ((point * self.slices() + slice) * self.rows + row) * self.slice;
        let (tile, rest) = self.data.as_u32()[start..].split_at(NR * self.slice);
        (tile, &rest[..rest.len().min(NR * self.slice)])
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
