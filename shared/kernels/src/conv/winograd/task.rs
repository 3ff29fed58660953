//! How one thread does a task: a rectangle of tiles, and some of the output channels.

use super::rectangles::Rectangle;
use super::strides::Strides;
use super::transform::POINTS;
use super::weights::Weights;
use super::{input, output};
use crate::arch::{Compute, Fetch, LANES, NR, PANEL, Positions, Tile, TileFn, kernels};
use crate::isa::Isa;
use crate::memory::{Scratch, as_floats_mut, with_scratch};
use crate::product::Target;
use crate::value::Source;
use std::ops::Range;

/// A convolution, as its tasks see it.
pub(super) struct Convolution<'a> {
    pub(super) isa: Isa,
    pub(super) x: &'a Source<'a>,
    pub(super) weights: &'a Weights,
    /// Output channels that there are; the weights have rows for whole tiles of them.
    pub(super) outputs: usize,
    /// Output channels whose sums a task holds at a time.
    pub(super) held: usize,
    /// Where the input channels of a slice lie, counted from its first.
    pub(super) offsets: &'a [u32],
    pub(super) target: Target<'a>,
}

impl Convolution<'_> {
    /// Computes `outputs`, whole tiles of rows, of the tiles of `rectangle`.
    pub(super) fn task(&self, rectangle: &Rectangle, outputs: &Range<usize>) {
        let inputs_strides = Strides::new(self.x.planes.channels);
        let sums_strides = Strides::new(self.held);
        let kernels = kernels(self.isa, Compute::F32);
        let kernel = kernels.tiles[rectangle.tiles().div_ceil(LANES) - 1];
        kernels.prepare_thread();
        with_scratch(|[inputs, sums, room, _]| {
            let inputs = inputs.u32(inputs_strides.len());
            let sums = sums.f32(sums_strides.len());
            let out = as_floats_mut(inputs);
            input::transform(self.isa, self.x, rectangle, inputs_strides, out, room);
            for first in outputs.clone().step_by(self.held) {
                let rows = first..outputs.end.min(first + self.held);
                self.multiply(
                    kernel,
                    &rows,
                    (&*inputs, inputs_strides),
                    (&mut *sums, sums_strides),
                );
                self.store(rectangle, &rows, (&*sums, sums_strides), room);
            }
        });
    }

    /// Sums of `rows`, `[POINTS][rows][PANEL]`: for each point, slice by slice of the input channels.
    fn multiply(
        &self,
        kernel: TileFn,
        rows: &Range<usize>,
        (inputs, inputs_strides): (&[u32], Strides),
        (sums, sums_strides): (&mut [f32], Strides),
    ) {
        let slices = self.weights.slices();
        let products = POINTS * slices;
        let operand = |i: usize| {
            let channels = self.weights.channels(i % slices);
            let start = inputs_strides.at(i / slices, channels.start);
            &inputs[start..][..channels.len() * PANEL]
        };
        for i in 0..products {
            let (point, slice) = (i / slices, i % slices);
            let (positions, next) = (operand(i), operand((i + 1).min(products - 1)));
            let mut next = next.chunks((next.len() * NR).div_ceil(rows.len()));
            let steps = self.weights.channels(slice).len();
            for row in rows.clone().step_by(NR) {
                let (weights, behind) = self.weights.tile(point, slice, row);
                let at = sums_strides.at(point, row - rows.start);
                let tile = Tile {
                    // A tile asks for what comes next: pieces of a few kilobytes are too short for the processor to
                    // foresee.
                    fetch: [
                        Fetch::new(behind, steps),
                        Fetch::new(next.next().unwrap_or_default(), steps),
                    ],
                    ..Tile::new(
                        steps,
                        Positions::rows(positions, self.offsets),
                        weights,
                        self.weights.slice,
                        &mut sums[at..][..NR * PANEL],
                        slice > 0,
                    )
                };
                // SAFETY:
                // - `positions` was cut to its steps, and `offsets` has a slice's;
                // - `Tile::new` checked weights and sums, which are a tile of rows;
                // - `kernels` checked the instruction set, and `task` prepared the thread.
                unsafe { kernel(&tile) };
            }
        }
    }

    /// Writes the results of `rows` to the map.
    fn store(
        &self,
        rectangle: &Rectangle,
        rows: &Range<usize>,
        (sums, strides): (&[f32], Strides),
        room: &mut Scratch,
    ) {
        for channel in rows.start..rows.end.min(self.outputs) {
            let place = output::Place {
                target: self.target,
                channel,
                size: self.x.size,
            };
            let row = channel - rows.start;
            // SAFETY: one task alone has these tiles of this channel.
            unsafe { output::transform(self.isa, sums, strides, row, rectangle, place, room) };
        }
    }
}
