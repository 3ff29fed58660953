//! 3x3 convolutions, by products straight from the padded map.

use crate::context::Context;
use crate::product::{After, Product, segments, store};
use crate::value::{Layout, Padded, Planes};
use crate::weight::Matrix;

/// Neighbours of a 3x3 window.
const TAPS: usize = 9;
/// Steps widened at a time, whole windows; see the linear layers' for why so many.
const UNIT: usize = 64 * TAPS;

/// 3x3 convolution.
///
/// # Panics
/// If the shapes do not agree.
pub(super) fn conv3x3(ctx: &Context, x: &Padded, w: Matrix<'_>, after: After<'_>) -> Planes {
    let pixels = x.pixels;
    let mut output = after.output(ctx, w.rows, pixels);
    let target = output.target();
    let taps: [usize; TAPS] = x.taps();
    let product = Product {
        ctx,
        compute: x.compute,
        a: x.data.as_u32(),
        quanta: None,
        panel_pitch: None,
        positions: x.positions(),
        pitch: x.pitch,
        layout: Layout::Rows,
        taps: &taps,
        weights: w,
        parts: 1,
        unit: UNIT,
        more: &[],
    };
    product.run(|rows, panel, sums| {
        let runs = segments(panel, pixels, x.gaps());
        store(ctx.isa, sums, rows.len(), rows.start, &runs, target);
    });
    output.planes
}
