//! 3x3 convolutions of large maps, in float32, with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin
//! and Gray 2015, "Fast Algorithms for Convolutional Neural Networks").
//!
//! A map is cut into tiles of 4x4 results. The 6x6 inputs of a tile become 36 numbers, so do the 3x3 weights; a tile
//! costs 36 products a channel instead of 144, and 36 small matrix products do them all. Tiles lie side by side in
//! the vectors, 64 to a panel, as positions do everywhere else.
//!
//! A task is a rectangle of tiles: it reads its pixels, normalises and enlarges them on the way ([`Source`]), and
//! keeps all else in cache until it writes its results. So no map but the result is ever written.

mod input;
mod output;
mod rectangles;
mod strides;
mod task;
mod transform;
mod weights;

use crate::arch::{Compute, NR, PANEL};
use crate::context::Context;
use crate::isa::Isa;
use crate::product::{After, offsets};
use crate::value::{Planes, Source};
use crate::weight::Matrix;
use rayon::prelude::*;
use rectangles::Rectangles;
use std::ops::Range;
use task::Convolution;
use transform::OUT;
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
    let (channels, [height, width]) = (x.planes.channels, x.size);
    let mut output = after.output(ctx, w.rows, height * width);
    let weights = Weights::transform(ctx, w, channels);
    let offsets = offsets(ctx, weights.slice, (0..).map(|s| s * PANEL));
    let rectangles = Rectangles::new(height, width);
    let shares = Shares::new(w.rows, weights.rows, channels, rectangles.count());
    let convolution = Convolution {
        isa: ctx.isa,
        x,
        weights: &weights,
        outputs: w.rows,
        held: shares.held,
        offsets: offsets.as_u32(),
        target: output.target(),
    };
    (0..rectangles.count() * shares.count)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let rectangle = rectangles.get(task / shares.count);
            let outputs = shares.get(task % shares.count);
            if !outputs.is_empty() {
                convolution.task(&rectangle, &outputs);
            }
        });
    output.planes
}

/// The output channels, in shares of a task each.
struct Shares {
    count: usize,
    /// Output channels of a share, and of all: whole tiles of rows.
    rows: usize,
    all: usize,
    /// Output channels whose sums a task holds at a time.
    held: usize,
}

impl Shares {
    /// Two tasks a thread at least, if need be of fewer outputs: their inputs are transformed once more.
    fn new(outputs: usize, all: usize, channels: usize, rectangles: usize) -> Self {
        let count = (2 * rayon::current_num_threads())
            .div_ceil(rectangles)
            .min(outputs.div_ceil(FEWEST));
        let rows = all.div_ceil(count).next_multiple_of(NR);
        // As many as inputs and sums together bear in cache, and where inputs are too many for it anyway, enough to read
        // them seldom.
        let most = (channels / 2).clamp(FEWEST, 256);
        let held = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(NR);
        Self {
            count,
            rows,
            all,
            held,
        }
    }

    /// The output channels of a share; none in the last ones, where rounding up has left them none.
    fn get(&self, share: usize) -> Range<usize> {
        let start = share * self.rows;
        start..(start + self.rows).min(self.all)
    }
}
