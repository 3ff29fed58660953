//! How one thread does a task: a rectangle of tiles, and some of the output channels.

use super::blocks::Block;
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
    /// Where the input channels of a block lie, from the block's first on.
    pub(super) offsets: &'a [u32],
    pub(super) target: Target<'a>,
}

impl Convolution<'_> {
    /// Computes `outputs`, whole tiles of rows, of the tiles of `block`.
    pub(super) fn task(&self, block: &Block, outputs: &Range<usize>) {
        let inputs_layout = input::Layout::new(self.x.planes.channels);
        let sums_layout = output::Layout::new(self.held);
        let kernels = kernels(self.isa, Compute::F32);
        let kernel = kernels.tiles[block.tiles().div_ceil(LANES) - 1];
        kernels.prepare_thread();
        with_scratch(|[inputs, sums, room, _]| {
            let inputs = inputs.u32(inputs_layout.len());
            let sums = sums.f32(sums_layout.len());
            let out = as_floats_mut(inputs);
            input::transform(self.isa, self.x, block, inputs_layout, out, room);
            for first in outputs.clone().step_by(self.held) {
                let rows = first..outputs.end.min(first + self.held);
                self.multiply(
                    kernel,
                    &rows,
                    (&*inputs, inputs_layout),
                    (&mut *sums, sums_layout),
                );
                self.store(block, &rows, (&*sums, sums_layout), room);
            }
        });
    }

    /// Sums of `rows`, `[POINTS][rows][PANEL]`: for each point, block by block of the input channels.
    fn multiply(
        &self,
        kernel: TileFn,
        rows: &Range<usize>,
        (inputs, inputs_layout): (&[u32], input::Layout),
        (sums, sums_layout): (&mut [f32], output::Layout),
    ) {
        let blocks = self.weights.blocks();
        let products = POINTS * blocks;
        let operand = |i: usize| {
            let channels = self.weights.channels(i % blocks);
            let start = inputs_layout.at(i / blocks, channels.start);
            &inputs[start..][..channels.len() * PANEL]
        };
        for i in 0..products {
            let (point, block) = (i / blocks, i % blocks);
            let (positions, next) = (operand(i), operand((i + 1).min(products - 1)));
            let mut next = next.chunks((next.len() * NR).div_ceil(rows.len()));
            let steps = self.weights.channels(block).len();
            for row in rows.clone().step_by(NR) {
                let (weights, behind) = self.weights.tile(point, block, row);
                let at = sums_layout.at(point, row - rows.start);
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
                        self.weights.block,
                        &mut sums[at..][..NR * PANEL],
                        block > 0,
                    )
                };
                // SAFETY:
                // - `positions` was cut to its steps, and `offsets` has a block's;
                // - `Tile::new` checked weights and sums, which are a tile of rows;
                // - `kernels` checked the instruction set, and `task` prepared the thread.
                unsafe { kernel(&tile) };
            }
        }
    }

    /// Writes the results of `rows` to the map.
    fn store(
        &self,
        block: &Block,
        rows: &Range<usize>,
        (sums, layout): (&[f32], output::Layout),
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
            unsafe { output::transform(self.isa, sums, layout, row, block, place, room) };
        }
    }
}
