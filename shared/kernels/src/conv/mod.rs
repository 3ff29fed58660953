//! Convolutions, and which way one takes.

mod direct;
mod winograd;

use crate::arch::Compute;
use crate::context::Context;
use crate::linear::{Left, linear};
use crate::product::After;
use crate::value::{Planes, Source, Window};
use crate::weight::{Matrix, Weights};

/// A convolution: `activation(W * x + bias + residual)`.
///
/// The weights are `[out, in * kernel * kernel]`, as a file holds `[out, in, kernel, kernel]`; of what is added to them
/// `down` is such a convolution, and `up` one of a single pixel. A 3x3 convolution of stride 1 with a rim of one takes
/// Winograd's way where that pays; its result is off by some 1e-6 of its norm.
///
/// # Panics
/// If the shapes do not agree, or the window is none of those that SDXL's networks have: of 1x1; of 3x3 and stride 1 with
/// a rim of one; of 3x3 and stride 2 with a rim of at most one.
pub fn conv2d<'w>(
    ctx: &Context,
    x: &Source<'_>,
    w: impl Into<Weights<'w>>,
    window: Window,
    mut after: After<'_>,
    compute: Compute,
) -> Planes {
    x.check();
    let Weights { matrix, low_rank } = w.into();
    for low in low_rank {
        let mut lowered = plain(ctx, x, low.down, window, After::default(), compute);
        lowered.scale(low.scale);
        let room = &mut None;
        let added = After {
            residual: after.residual.take(),
            ..After::default()
        };
        let sum = linear(ctx, Left::of(ctx, &lowered, compute, room), low.up, added);
        after.residual = Some(sum);
    }
    plain(ctx, x, matrix, window, after, compute)
}

/// A convolution by one matrix.
fn plain(
    ctx: &Context,
    x: &Source<'_>,
    w: Matrix<'_>,
    window: Window,
    after: After<'_>,
    compute: Compute,
) -> Planes {
    let channels = x.planes.channels;
    let inputs = channels * window.kernel * window.kernel;
    assert_eq!(w.cols, inputs, "inputs of a convolution");
    if window == Window::same(1) {
        let finished;
        let planes = if x.is_finished() {
            x.planes
        } else {
            finished = x.planes(ctx);
            &finished
        };
        linear(ctx, Left::of(ctx, planes, compute, &mut None), w, after)
    } else if window == Window::same(3) && winograd::pays(ctx.isa, compute, channels, x.size) {
        winograd::conv3x3(ctx, x, w, after)
    } else {
        direct::conv3x3(ctx, &x.padded(ctx, window, compute), w, after)
    }
}
