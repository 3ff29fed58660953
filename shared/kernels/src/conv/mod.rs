//! Convolutions, and which way one takes.

mod direct;
mod gather;
mod window;
mod winograd;

use crate::arch::Compute;
use crate::context::Context;
use crate::linear::{Left, linear};
use crate::product::After;
use crate::value::Planes;
use crate::value::{Panels, Source};
use crate::weight::Matrix;
pub use window::Window;

/// A convolution: `activation(W * x + b + residual)`.
///
/// `w` is `[out, in * kernel * kernel]`, as a file holds `[out, in, kernel, kernel]`. A 3x3 convolution of stride 1 with
/// a rim of one takes Winograd's way where that pays; its result is off by some 1e-6 of its norm.
///
/// # Panics
/// If the shapes do not agree.
pub fn conv2d(
    ctx: &Context,
    x: &Source<'_>,
    w: Matrix<'_>,
    window: Window,
    after: After<'_>,
    compute: Compute,
) -> Planes {
    x.check();
    let channels = x.planes.channels;
    let inputs = channels * window.kernel * window.kernel;
    assert_eq!(w.cols, inputs, "inputs of a convolution");
    if window == Window::same(3) {
        return if winograd::pays(ctx.isa, compute, channels, x.size) {
            winograd::conv3x3(ctx, x, w, after)
        } else {
            direct::conv3x3(ctx, &x.padded(ctx, compute), w, after)
        };
    }
    let finished;
    let planes = if x.is_finished() {
        x.planes
    } else {
        finished = x.planes(ctx);
        &finished
    };
    if window != Window::same(1) {
        let panels = gather::gather(ctx, planes, x.size, window, compute);
        linear(ctx, &panels, w, after)
    } else if compute == Compute::F32 && planes.positions > 1 {
        linear(ctx, Left::from(planes), w, after)
    } else {
        linear(ctx, &Panels::pack(ctx, planes, compute), w, after)
    }
}
