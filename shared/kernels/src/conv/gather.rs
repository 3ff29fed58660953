//! All other convolutions, through gathered panels.

use crate::arch::{Compute, PANEL};
use crate::context::Context;
use crate::isa::PLAIN;
use crate::step::MOST;
use crate::value::{Numbers, Panels, Planes};

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
