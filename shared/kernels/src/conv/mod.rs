//! Convolutions, and which way one takes.

mod direct;
mod gather;
mod residual;
mod winograd;

use crate::arch::Compute;
use crate::context::Context;
use crate::value::{Planes, Source};
use crate::weight::Matrix;
pub use direct::conv3x3;
pub use gather::{Window, gather};
pub use residual::Residual;

impl Source<'_> {
    /// 3x3 convolution of stride 1 with a rim of one: `W * x + b`, into a new map or added to `residual`.
    ///
    /// `w` is `[out, in * 9]`, as a file holds `[out, in, 3, 3]`. Large maps take Winograd's way in float32, whose
    /// result is off by some 1e-6 of its norm; without AMX that is faster than plain products of bfloat16, so those are
    /// formed for small maps only.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn conv3x3(
        &self,
        ctx: &Context,
        w: Matrix<'_>,
        bias: Option<&[f32]>,
        residual: Option<Residual>,
        compute: Compute,
    ) -> Planes {
        self.check();
        assert_eq!(w.cols, self.planes.channels * 9, "inputs of a convolution");
        if winograd::pays(ctx.isa, compute, self.planes.channels, self.size) {
            winograd::conv3x3(ctx, self, w, bias, residual)
        } else {
            let residual = residual.map(|r| r.finish(ctx));
            conv3x3(ctx, &self.padded(ctx, compute), w, bias, residual)
        }
    }
}

/// Whether [`Source::conv3x3`] reads a map of so many channels from its planes: then what is to be done to it is best
/// left to be done on the way.
pub fn reads_planes(ctx: &Context, compute: Compute, channels: usize, size: [usize; 2]) -> bool {
    winograd::pays(ctx.isa, compute, channels, size)
}
