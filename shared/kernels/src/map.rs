//! Maps: read by convolutions with what is still to be done to them, nearest neighbours, joined channels.

use crate::arch::Compute;
use crate::buffer::Scratch;
use crate::conv::conv3x3;
use crate::float::Matrix;
use crate::isa::{Isa, per_isa};
use crate::math::{Activation, activate_inline};
use crate::norm::GroupNorm;
use crate::value::{Context, Padded, Planes};
use crate::winograd;

/// A map as a convolution is to read it: planes, and what is still to be done to their numbers on the way. So large
/// maps need not be written, only to be read once.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What is there.
    pub planes: &'a Planes,
    /// Its height and width.
    pub from: [usize; 2],
    /// Height and width of the map: its pixels are the nearest of `planes`.
    pub size: [usize; 2],
    /// Normalises.
    pub norm: Option<&'a GroupNorm>,
    /// Applied last.
    pub activation: Activation,
}

impl<'a> Source<'a> {
    /// Planes as they are.
    pub fn plain(planes: &'a Planes, size: [usize; 2]) -> Self {
        Self::upsampled(planes, size, size)
    }

    /// Each pixel drawn from its nearest: source = floor(destination * in / out).
    pub fn upsampled(planes: &'a Planes, from: [usize; 2], size: [usize; 2]) -> Self {
        Self {
            planes,
            from,
            size,
            norm: None,
            activation: Activation::Identity,
        }
    }
}

impl Source<'_> {
    /// 3x3 convolution of stride 1 with a rim of one: `W * x + b`, into a new map or added to `residual`.
    ///
    /// `w` is `[out, in * 9]`, as a file holds `[out, in, 3, 3]`. Large maps in float32 take Winograd's way, whose
    /// result is off by some 1e-6 of its norm.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn conv3x3(
        &self,
        ctx: &Context,
        w: Matrix<'_>,
        bias: Option<&[f32]>,
        residual: Option<Planes>,
        compute: Compute,
    ) -> Planes {
        self.check();
        assert_eq!(w.cols, self.planes.channels * 9, "inputs of a convolution");
        if compute == Compute::F32 && winograd::pays(self.planes.channels, self.size) {
            winograd::conv3x3(ctx, self, w, bias, residual)
        } else {
            conv3x3(ctx, &self.padded(ctx, compute), w, bias, residual)
        }
    }

    fn check(&self) {
        let [height, width] = self.from;
        assert_eq!(self.planes.positions, height * width, "size of a map");
    }

    /// The map as a value.
    ///
    /// # Panics
    /// If the planes are no map of that size.
    pub fn planes(&self, ctx: &Context) -> Planes {
        self.check();
        let [height, width] = self.size;
        let mut out = Planes::take(ctx, self.planes.channels, height * width);
        out.for_each_channel(|c, channel| self.channel(ctx.isa, c, channel));
        out
    }

    /// The map as the operand of a 3x3 convolution by plain products.
    ///
    /// # Panics
    /// If the planes are no map of that size.
    pub fn padded(&self, ctx: &Context, compute: Compute) -> Padded {
        self.check();
        let [height, width] = self.size;
        let shape = [self.planes.channels, height, width];
        Padded::build(ctx, shape, compute, |c, out| self.channel(ctx.isa, c, out))
    }

    fn channel(&self, isa: Isa, c: usize, out: &mut [f32]) {
        if self.from == self.size {
            let (scale, shift) = self.scale(c);
            finish(isa, self.planes.row(c), scale, shift, self.activation, out);
            return;
        }
        let room = &mut Scratch::default();
        for (y, row) in out.chunks_exact_mut(self.size[1]).enumerate() {
            self.row(isa, c, y, 0, row, room);
        }
    }

    fn scale(&self, c: usize) -> (f32, f32) {
        self.norm.map_or((1.0, 0.0), |norm| norm.channel(c))
    }

    /// Whether row `y` is the row before it once more, both counted from the zeros above the map.
    pub(crate) fn repeats(&self, y: usize) -> bool {
        let [height, _] = self.size;
        let source = |y: usize| (y - 1) * self.from[0] / height;
        y > height + 1 || (y >= 2 && y <= height && source(y) == source(y - 1))
    }

    /// Pixels of row `y` from column `left` on, both counted from the zeros around the map: the first row and column
    /// are zeros, so is what lies behind the last.
    pub(crate) fn line(
        &self,
        isa: Isa,
        c: usize,
        y: usize,
        left: usize,
        out: &mut [f32],
        room: &mut Scratch,
    ) {
        let [height, width] = self.size;
        if y == 0 || y > height {
            out.fill(0.0);
            return;
        }
        let before = usize::from(left == 0);
        let end = out.len().min(width + 1 - left);
        out[..before].fill(0.0);
        out[end..].fill(0.0);
        self.row(isa, c, y - 1, left + before - 1, &mut out[before..end], room);
    }

    /// Pixels of row `y` from column `left` on.
    fn row(&self, isa: Isa, c: usize, y: usize, left: usize, out: &mut [f32], room: &mut Scratch) {
        let ([from_height, from_width], [height, width]) = (self.from, self.size);
        let line = &self.planes.row(c)[y * from_height / height * from_width..][..from_width];
        let (scale, shift) = self.scale(c);
        if from_width == width {
            let line = &line[left..][..out.len()];
            finish(isa, line, scale, shift, self.activation, out);
            return;
        }
        let source = |x: usize| x * from_width / width;
        let first = source(left);
        let line = &line[first..=source(left + out.len() - 1)];
        let near = room.f32(line.len());
        finish(isa, line, scale, shift, self.activation, near);
        if width == 2 * from_width {
            let (odd, out) = out.split_at_mut(left % 2);
            odd.fill(near[0]);
            double(isa, &near[odd.len()..], out);
        } else {
            for (i, o) in out.iter_mut().enumerate() {
                *o = near[source(left + i) - first];
            }
        }
    }
}

per_isa! {
/// `activation(x * scale + shift)`.
pub(crate) fn finish(isa, x: &[f32], scale: f32, shift: f32, activation: Activation, out: &mut [f32]) {
    for (o, v) in out.iter_mut().zip(x) {
        *o = *v * scale + shift;
    }
    activate_inline(out, activation);
}
}

per_isa! {
/// Each number twice.
fn double(isa, x: &[f32], out: &mut [f32]) {
    let mut pairs = out.chunks_exact_mut(2);
    for (pair, v) in (&mut pairs).zip(x) {
        pair[0] = *v;
        pair[1] = *v;
    }
    if let [last] = pairs.into_remainder() {
        *last = x[x.len() - 1];
    }
}
}

/// Nearest neighbour to an explicit size.
///
/// # Panics
/// If `x` is not a map of the size `from`.
pub fn upsample_nearest(ctx: &Context, x: &Planes, from: [usize; 2], to: [usize; 2]) -> Planes {
    Source::upsampled(x, from, to).planes(ctx)
}

/// `a`'s channels, then `b`'s.
///
/// # Panics
/// If they differ in positions.
pub fn concat(ctx: &Context, a: &Planes, b: &Planes) -> Planes {
    assert_eq!(a.positions, b.positions);
    let mut out = Planes::take(ctx, a.channels + b.channels, a.positions);
    out.for_each_channel(|c, row| {
        row.copy_from_slice(if c < a.channels {
            a.row(c)
        } else {
            b.row(c - a.channels)
        });
    });
    out
}
