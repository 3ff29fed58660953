//! 3x3 convolutions of stride 1, by products straight from the padded map.

use crate::context::Context;
use crate::math::Activation;
use crate::memory::Disjoint;
use crate::product::{Product, Target, segments, store};
use crate::value::{Layout, Padded, Planes};
use crate::weight::Matrix;

/// Neighbours of a 3x3 window.
const TAPS: usize = 9;
/// Steps widened at a time, whole windows; see the linear layers' for why so many.
const BLOCK: usize = 64 * TAPS;

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
        out: Disjoint::new(out.data_mut()),
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
