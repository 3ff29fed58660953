//! All other convolutions, through gathered panels.

use super::window::Window;
use crate::arch::{Compute, PANEL};
use crate::context::Context;
use crate::isa::PLAIN;
use crate::step::MOST;
use crate::value::{Numbers, Panels, Planes};

/// Gathers the windows of a map: the operand of a product with `[out, in * kernel * kernel]` weights.
///
/// # Panics
/// If `x` is not a map of `size`.
pub(super) fn gather(
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
    Panels::build(ctx, channels, positions, compute, |range, mut panel| {
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
        let mut numbers: Numbers = [[0.0; PANEL]; MOST];
        for s in 0..compute.steps(channels) {
            for (i, numbers) in numbers.iter_mut().enumerate().take(per) {
                for (lane, v) in numbers[..lanes].iter_mut().enumerate() {
                    let k = s * per + i;
                    *v = if k < channels { value(k, lane) } else { 0.0 };
                }
            }
            panel.write::<PLAIN>(s, &numbers);
        }
    })
}
