//! The operand of 3x3 convolutions.

use crate::arch::{Compute, LANES, PANEL};
use crate::context::Context;
use crate::isa::per_isa;
use crate::memory::{Buffer, with_scratch};
use crate::step::StepWriter;
use rayon::prelude::*;

/// Left operand of a 3x3 convolution of stride 1: maps with a rim of zeros.
///
/// A row of the map is followed by one zero, which is the right neighbour of its last pixel and the left neighbour
/// of the next row's first; a row of zeros stands above and below. So the nine neighbours of a pixel lie at nine
/// fixed distances, whatever the width, and a run of pixels may go on over the ends of rows (the sums that fall on
/// the zeros between are not used).
///
/// In narrow maps that would be one sum in 17, or in 33. Where whole vectors make a row, these are kept three times
/// instead, moved by a pixel to the right, not at all, and to the left, with no zeros between rows.
#[derive(Debug)]
pub(crate) struct Padded {
    pub(crate) data: Buffer,
    /// Rows of the map.
    pub(crate) height: usize,
    /// Pixels in a row.
    pub(crate) width: usize,
    /// Type of the numbers.
    pub(crate) compute: Compute,
    /// Elements from one step (a channel, or two) to the next.
    pub(crate) pitch: usize,
}

/// Widest map that is kept three times.
const NARROW: usize = 32;

/// Where the neighbours of a pixel of a [`Padded`] lie.
#[derive(Clone, Copy)]
struct Steps {
    /// Elements to the pixel below.
    down: usize,
    /// Elements to the right neighbour: the next element, or the same place of the next of three maps.
    right: usize,
}

impl Steps {
    fn of(height: usize, width: usize) -> Self {
        if width.is_multiple_of(LANES) && width <= NARROW {
            Self {
                down: width,
                right: (height + 2) * width,
            }
        } else {
            Self {
                down: width + 1,
                right: 1,
            }
        }
    }

    fn is_narrow(self) -> bool {
        self.right > 1
    }
}

impl Padded {
    /// Room for an operand; the rim is not yet zero.
    pub(crate) fn take(
        ctx: &Context,
        channels: usize,
        height: usize,
        width: usize,
        compute: Compute,
    ) -> Self {
        let Steps { down, right } = Steps::of(height, width);
        let len = (height * down).next_multiple_of(PANEL) + 2 * down + 2 * right;
        let pitch = (len.div_ceil(LANES) | 1) * LANES;
        let data = ctx.pool.take(compute.steps(channels) * pitch);
        Self {
            data,
            height,
            width,
            compute,
            pitch,
        }
    }

    /// Builds an operand step by step. `fill(channel, out)` writes one channel, row after row without gaps.
    pub(crate) fn build(
        ctx: &Context,
        [channels, height, width]: [usize; 3],
        compute: Compute,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let mut out = Self::take(ctx, channels, height, width, compute);
        let (pitch, isa) = (out.pitch, ctx.isa);
        let size = height * width;
        out.data
            .as_u32_mut()
            .par_chunks_mut(pitch)
            .enumerate()
            .for_each(|(s, plane)| {
                with_scratch(|scratch| {
                    let rows = scratch[0].f32(2 * size);
                    let (low, high) = rows.split_at_mut(size);
                    match compute {
                        Compute::F32 => fill(s, low),
                        Compute::Bf16 => {
                            fill(2 * s, low);
                            if 2 * s + 1 < channels {
                                fill(2 * s + 1, high);
                            } else {
                                high.fill(0.0);
                            }
                        }
                        Compute::Int8 => panic!("3x3 convolutions have no products of int8"),
                    }
                    lay_out(isa, low, high, width, plane, compute);
                });
            });
        out
    }

    fn steps(&self) -> Steps {
        Steps::of(self.height, self.width)
    }

    /// Where the neighbours of the first pixel lie, row after row.
    pub(crate) fn taps(&self) -> [usize; 9] {
        let Steps { down, right } = self.steps();
        std::array::from_fn(|t| t / 3 * down + t % 3 * right)
    }

    /// Width of the rows whose zeros lie in a run of pixels.
    pub(crate) fn gaps(&self) -> Option<usize> {
        (!self.steps().is_narrow()).then_some(self.width)
    }

    /// Positions of the run.
    pub(crate) fn positions(&self) -> usize {
        self.height * self.steps().down
    }
}

per_isa! {
/// One step of a [`Padded`]: the rim and the rows of one channel, or two.
fn lay_out(isa, low: &[f32], high: &[f32], width: usize, plane: &mut [u32], compute: Compute) {
    let height = low.len() / width;
    let steps = Steps::of(height, width);
    let (row, size) = (steps.down, steps.right);
    // The map as it is, between rows of zeros.
    let map = &mut plane[size - 1..];
    map[..=row].fill(0);
    for y in 0..height {
        let (low, high) = (&low[y * width..][..width], &high[y * width..][..width]);
        let dst = &mut map[(y + 1) * row + 1..][..row];
        StepWriter::<LEVEL>(compute).across([low, high, &[], &[]], &mut dst[..width]);
        dst[width..].fill(0);
    }
    map[(height + 1) * row + 1..][..row].fill(0);
    if steps.is_narrow() {
        // Its left neighbours before it, and its right ones behind it.
        plane.copy_within(size..2 * size - 1, 1);
        plane.copy_within(size + 1..2 * size, 2 * size);
        for y in 0..height + 2 {
            plane[y * width] = 0;
            plane[2 * size + (y + 1) * width - 1] = 0;
        }
    }
}
}
