//! 3x3 convolutions of large maps, in float32, with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin
//! and Gray 2015, "Fast Algorithms for Convolutional Neural Networks").
//!
//! A map is cut into tiles of 4x4 results. The 6x6 inputs of a tile become 36 numbers, so do the 3x3 weights; a tile
//! costs 36 products a channel instead of 144, and 36 small matrix products do them all. Tiles lie side by side in
//! the vectors, 64 to a panel, as positions do everywhere else.
//!
//! A task is a rectangle of tiles: it reads its pixels, normalises and enlarges them on the way ([`Source`]), and
//! keeps all else in cache until it writes its results. So no map but the result is ever written.

mod blocks;
mod input;
mod output;
mod transform;
mod weights;

use crate::arch::{Aside, Compute, Fetch, LANES, NR, PANEL, Tile, kernels};
use crate::context::Context;
use crate::isa::Isa;
use crate::memory::with_scratch;
use crate::product::{After, offsets};
use crate::value::{Planes, Source};
use crate::weight::Matrix;
use blocks::Blocks;
use rayon::prelude::*;
use transform::{OUT, POINTS};
use weights::Weights;

/// Output channels that are worth transforming inputs for.
const FEWEST: usize = 48;

/// Whether the savings outweigh the transforms, where products would be of type `compute`: a quarter of the products of
/// float32 takes less time than all of them in bfloat16, unless there is AMX, but not as much less.
pub(crate) fn pays(isa: Isa, compute: Compute, channels: usize, size: [usize; 2]) -> bool {
    let tiles = size[0].div_ceil(OUT) * size[1].div_ceil(OUT);
    channels >= 32
        && match compute {
            Compute::F32 => tiles >= 48,
            Compute::Bf16 => tiles >= 192 && !isa.prefers_bf16_convolutions(),
            Compute::Int8 => false,
        }
}

/// A 3x3 convolution of stride 1 with a rim of one. float32.
///
/// # Panics
/// If the residual has another shape.
pub(super) fn conv3x3(ctx: &Context, x: &Source<'_>, w: Matrix<'_>, after: After<'_>) -> Planes {
    let isa = ctx.isa;
    let (channels, outputs) = (x.planes.channels, w.rows);
    let [height, width] = x.size;
    let mut output = after.output(ctx, outputs, height * width);
    let target = output.target();
    let weights = Weights::transform(ctx, w, channels);

    let blocks = Blocks::new(height, width);
    // Two tasks a thread at least, if need be of fewer outputs: their inputs are transformed once more.
    let split = (2 * rayon::current_num_threads())
        .div_ceil(blocks.count())
        .min(outputs.div_ceil(FEWEST));
    let share = weights.rows.div_ceil(split).next_multiple_of(NR);
    // Outputs whose sums are held at a time: as many as inputs and sums together bear in cache, and where inputs are too
    // many for it anyway, enough to read them seldom.
    let most_rows = (channels / 2).clamp(FEWEST, 256);
    let height_of_sums = share
        .div_ceil(share.div_ceil(most_rows))
        .next_multiple_of(NR);

    let kernels = kernels(isa, Compute::F32).tiles;
    let offsets = offsets(ctx, weights.block, (0..).map(|s| s * PANEL));
    let offsets = offsets.as_u32();
    let inputs_layout = input::Layout::new(channels);
    let sums_layout = output::Layout::new(height_of_sums);
    (0..blocks.count() * split)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let block = blocks.get(task / split);
            let part = task % split * share..(task % split * share + share).min(weights.rows);
            if part.is_empty() {
                return; // shares are rounded up
            }
            let kernel = kernels[block.tiles().div_ceil(LANES) - 1];
            with_scratch(|[inputs, sums, room, _]| {
                let inputs = inputs.f32(inputs_layout.len());
                let sums = sums.f32(sums_layout.len());
                input::transform(isa, x, &block, inputs_layout, inputs, room);
                for row in part.clone().step_by(height_of_sums) {
                    let rows = height_of_sums.min(part.end - row);
                    // For each point, block by block of the input channels.
                    let blocks = weights.blocks();
                    let products = POINTS * blocks;
                    let operand = |i: usize| {
                        let steps = weights.steps(i % blocks);
                        let start = inputs_layout.at(i / blocks, steps.start);
                        &inputs[start..][..steps.len() * PANEL]
                    };
                    for i in 0..products {
                        let (point, b) = (i / blocks, i % blocks);
                        let (a, next) = (operand(i), operand((i + 1).min(products - 1)));
                        let mut next = next.chunks((next.len() * NR).div_ceil(rows));
                        for r in (0..rows).step_by(NR) {
                            // What comes next is fetched meanwhile: pieces of a few kilobytes are too short for the
                            // processor to foresee.
                            let (w, behind) = weights.tile(point, b, row + r);
                            let steps = weights.steps(b).len();
                            let c = sums_layout.at(point, r);
                            let tile = Tile {
                                steps,
                                a: a.as_ptr().cast(),
                                offsets: offsets.as_ptr(),
                                a_stride: PANEL,
                                a_vector: LANES,
                                aside: [Aside::NONE; 2],
                                fetch: [
                                    Fetch::new(behind, steps),
                                    Fetch::new(next.next().unwrap_or_default(), steps),
                                ],
                                w: w.as_ptr().cast(),
                                w_stride: weights.block,
                                c: sums[c..][..NR * PANEL].as_mut_ptr(),
                                accumulate: b > 0,
                            };
                            // SAFETY: `a` and `c` were cut to what the tile reads and writes, `offsets` has a block's
                            // steps, and `weights.tile` has `NR` rows of a block.
                            unsafe { kernel(&tile) };
                        }
                    }
                    for r in 0..rows.min(outputs.saturating_sub(row)) {
                        let place = output::Place {
                            target,
                            channel: row + r,
                            size: x.size,
                        };
                        // SAFETY: a task alone holds its tiles of its channels.
                        unsafe {
                            output::transform(isa, sums, sums_layout, r, &block, place, room);
                        };
                    }
                }
            });
        });
    output.planes
}
