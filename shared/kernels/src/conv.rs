//! Convolutions by products: 3x3 of stride 1 straight from the padded map, all others through gathered panels.

use crate::arch::{Compute, PANEL};
use crate::buffer::Shared;
use crate::float::{Matrix, as_f32_mut, as_u32_mut, pair, to_steps};
use crate::math::Activation;
use crate::product::Product;
use crate::value::{Context, Padded, Panels, Planes, Target, segments, store};
use std::ops::Range;

/// Neighbours of a 3x3 window.
const TAPS: usize = 9;
/// Steps widened at a time, whole windows; see the linear layers' for why so many.
const BLOCK: usize = 64 * TAPS;

/// Size and movement of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side of the square.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros above, below, left and right.
    pub padding: [usize; 4],
}

impl Window {
    /// Size of the result for an input of `height` and `width`.
    pub fn output(&self, height: usize, width: usize) -> [usize; 2] {
        let [top, bottom, left, right] = self.padding;
        [
            (height + top + bottom - self.kernel) / self.stride + 1,
            (width + left + right - self.kernel) / self.stride + 1,
        ]
    }
}

/// 3x3 convolution of stride 1 with a rim of one: `W * x + b`, into a new map or added to `residual`.
///
/// `w` is `[out, in * 9]`, as a file holds `[out, in, 3, 3]`. [`Source::conv3x3`](crate::Source::conv3x3) knows a faster
/// way for large maps in float32.
///
/// # Panics
/// If the shapes do not agree.
pub fn conv3x3(
    ctx: &Context,
    x: &Padded,
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    residual: Option<Planes>,
) -> Planes {
    assert_eq!(w.cols, x.channels * TAPS, "inputs of a convolution");
    let pixels = x.height * x.width;
    let add = residual.is_some();
    let mut out = residual.unwrap_or_else(|| Planes::take(ctx, w.rows, pixels));
    assert_eq!(
        (out.channels, out.positions),
        (w.rows, pixels),
        "result of a convolution"
    );
    let pitch = out.pitch;
    let target = Target {
        out: Shared::new(out.data_mut()),
        pitch,
        bias,
        add,
        activation: Activation::Identity,
    };
    let row = x.width + 1;
    let offsets: Vec<u32> = (0..x.compute.steps(x.channels))
        .flat_map(|s| (0..TAPS).map(move |t| (s * x.pitch + t / 3 * row + t % 3) as u32))
        .collect();
    let product = Product {
        isa: ctx.isa,
        compute: x.compute,
        a: x.data.as_u32(),
        panel_pitch: None,
        positions: x.height * row,
        offsets: &offsets,
        block: BLOCK,
        rows: w.rows,
        parts: 1,
    };
    product.run(
        |row, steps, out, room| fill(ctx, w, x.compute, row, steps, out, room),
        |rows, panel, sums| {
            let mut runs = Vec::with_capacity(PANEL);
            segments(panel, pixels, Some(x.width), &mut runs);
            store(ctx.isa, sums, rows.len(), rows.start, &runs, target);
        },
    );
    out
}

/// Widens whole windows of a row of `w`, `[in][taps]` in the file, `[step][tap]` in the product.
fn fill(
    ctx: &Context,
    w: Matrix<'_>,
    compute: Compute,
    row: usize,
    steps: Range<usize>,
    out: &mut [u32],
    room: &mut [f32],
) {
    debug_assert!(steps.start.is_multiple_of(TAPS) && steps.end.is_multiple_of(TAPS));
    let per = compute.per_step();
    let bytes = w.part(row, steps.start * per, (steps.end * per).min(w.cols));
    match compute {
        Compute::F32 => to_steps(ctx.isa, compute, w.float, bytes, out),
        Compute::Bf16 => {
            // Pairs of neighbours in the file, that is, the row as bfloat16; then the pairs that the product needs.
            let row = as_u32_mut(room);
            let row = &mut row[..Compute::Bf16.steps(bytes.len() / w.float.size())];
            to_steps(ctx.isa, compute, w.float, bytes, row);
            crate::arch::interleave(row, bytes.len() / w.float.size(), TAPS, out);
        }
    }
}

/// Gathers the windows of a map: the operand of a product with `[out, in * kernel * kernel]` weights.
///
/// # Panics
/// If `x` is not a map of `size`.
pub fn gather(
    ctx: &Context,
    x: &Planes,
    size: [usize; 2],
    window: Window,
    compute: Compute,
) -> Panels {
    let [height, width] = size;
    assert_eq!(x.positions, height * width);
    let [out_height, out_width] = window.output(height, width);
    let taps = window.kernel * window.kernel;
    let [top, _, left, _] = window.padding;
    let (channels, positions) = (x.channels * taps, out_height * out_width);
    Panels::build(ctx, channels, positions, compute, |range, panel| {
        let lanes = range.len();
        let value = |k: usize, lane: usize| -> f32 {
            let (c, tap) = (k / taps, k % taps);
            let at = range.start + lane;
            let y = (at / out_width * window.stride + tap / window.kernel).wrapping_sub(top);
            let x_ = (at % out_width * window.stride + tap % window.kernel).wrapping_sub(left);
            if y < height && x_ < width {
                x.row(c)[y * width + x_]
            } else {
                0.0
            }
        };
        for (s, step) in panel.chunks_exact_mut(PANEL).enumerate() {
            match compute {
                Compute::F32 => {
                    for (lane, d) in as_f32_mut(step)[..lanes].iter_mut().enumerate() {
                        *d = value(s, lane);
                    }
                }
                Compute::Bf16 => {
                    for (lane, d) in step[..lanes].iter_mut().enumerate() {
                        let high = if 2 * s + 1 < channels {
                            value(2 * s + 1, lane)
                        } else {
                            0.0
                        };
                        *d = pair(value(2 * s, lane), high);
                    }
                }
            }
        }
    })
}
