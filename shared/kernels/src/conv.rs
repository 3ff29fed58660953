//! Convolutions by products: 3x3 of stride 1 straight from the padded map, all others through gathered panels.

use crate::arch::{Compute, PANEL};
use crate::buffer::Shared;
use crate::float::Matrix;
use crate::isa::PLAIN;
use crate::math::Activation;
use crate::product::Product;
use crate::value::{Context, Layout, Padded, Panels, Planes, Target, segments, store, write_step};

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
    let taps: [usize; TAPS] = x.taps();
    let product = Product {
        ctx,
        compute: x.compute,
        a: x.data.as_u32(),
        panel_pitch: None,
        positions: x.positions(),
        pitch: x.pitch,
        layout: Layout::Rows,
        taps: &taps,
        weights: w,
        parts: 1,
        block: BLOCK,
    };
    product.run(|rows, panel, sums| {
        let runs = segments(panel, pixels, x.gaps());
        store(ctx.isa, sums, rows.len(), rows.start, &runs, target);
    });
    out
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
    Panels::build(ctx, channels, positions, compute, |range, layout, panel| {
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
        let per = compute.per_step();
        let mut values = [[0f32; PANEL]; 2];
        for s in 0..compute.steps(channels) {
            for (i, values) in values.iter_mut().enumerate().take(per) {
                for (lane, v) in values[..lanes].iter_mut().enumerate() {
                    let k = s * per + i;
                    *v = if k < channels { value(k, lane) } else { 0.0 };
                }
            }
            write_step::<PLAIN>(compute, &values[0], &values[1], layout, s, panel);
        }
    })
}
