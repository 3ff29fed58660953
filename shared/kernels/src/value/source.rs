//! Maps: read by convolutions with what is still to be done to them, nearest neighbours.

use super::padded::Padded;
use super::panels::{Numbers, PanelMut, Panels};
use super::planes::{Planes, View};
use super::quanta::Largest;
use super::window::Window;
use crate::arch::{Compute, PANEL};
use crate::context::Context;
use crate::isa::{Isa, per_isa};
use crate::math::{Activation, activate_inline};
use crate::memory::{Buffer, Near, prefetch};
use crate::step::MOST;

/// A map as a convolution is to read it: planes, and what is still to be done to their numbers on the way. So large
/// maps need not be written, only to be read once.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The numbers as they are.
    pub planes: &'a Planes,
    /// Height and width of the planes.
    pub from: [usize; 2],
    /// Height and width of the map: its pixels are the nearest of `planes`.
    pub size: [usize; 2],
    /// What normalises the numbers.
    pub norm: Option<&'a GroupNorm>,
    /// What is applied to the numbers last.
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
    pub(crate) fn check(&self) {
        let [height, width] = self.from;
        assert_eq!(self.planes.positions, height * width, "size of a map");
    }

    /// Whether the planes are the map.
    pub(crate) fn is_finished(&self) -> bool {
        self.from == self.size && self.norm.is_none() && self.activation == Activation::Identity
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
    pub(crate) fn padded(&self, ctx: &Context, window: Window, compute: Compute) -> Padded {
        let channels = self.planes.channels;
        let finished = self.is_finished().then_some(self.planes);
        let fill = |c: usize, out: &mut [f32]| self.channel(ctx.isa, c, out);
        Padded::build(ctx, channels, self.size, window, compute, finished, fill)
    }

    fn channel(&self, isa: Isa, c: usize, out: &mut [f32]) {
        for (y, row) in out.chunks_exact_mut(self.size[1]).enumerate() {
            self.row(isa, c, y, 0, row);
        }
        let (scale, shift) = self.scale(c);
        finish(isa, scale, shift, self.activation, out);
    }

    fn scale(&self, c: usize) -> (f32, f32) {
        self.norm.map_or((1.0, 0.0), |norm| norm.channel(c))
    }

    /// A region of channel `c`, row after row. What lies outside the map is zero.
    pub(crate) fn region(&self, isa: Isa, c: usize, region: Region, out: &mut [f32]) {
        let Region { top, left, width } = region;
        let inside = |y: usize| (1..=self.size[0]).contains(&y);
        // Columns of the region that lie in the map.
        let begin = usize::from(left == 0);
        let end = width.min(self.size[1] + 1 - left);
        let repeats =
            |y: usize| inside(y) && inside(y - 1) && self.row_of(y - 1) == self.row_of(y - 2);
        for i in 0..out.len() / width {
            let (done, rest) = out.split_at_mut(i * width);
            let (line, y) = (&mut rest[..width], top + i);
            if i > 0 && repeats(y) {
                line.copy_from_slice(&done[(i - 1) * width..]);
            } else if inside(y) {
                line[..begin].fill(0.0);
                line[end..].fill(0.0);
                self.row(isa, c, y - 1, left + begin - 1, &mut line[begin..end]);
            } else {
                line.fill(0.0);
            }
        }
        if self.norm.is_none() && self.activation == Activation::Identity {
            return;
        }
        // All of it at once, in whole vectors; then the zeros again.
        let (scale, shift) = self.scale(c);
        finish(isa, scale, shift, self.activation, out);
        for (i, line) in out.chunks_exact_mut(width).enumerate() {
            if inside(top + i) {
                line[..begin].fill(0.0);
                line[end..].fill(0.0);
            } else {
                line.fill(0.0);
            }
        }
    }

    /// Asks for row `row` of a region. A task reads a short piece of each of many rows, which the processor does not
    /// foresee.
    pub(crate) fn prefetch(&self, c: usize, region: Region, row: usize) {
        let (y, [height, width]) = (region.top + row, self.size);
        if c < self.planes.channels && (1..=height).contains(&y) {
            let column = |x: usize| x * self.from[1] / width;
            let start = column(region.left.saturating_sub(1));
            let end = column((region.left + region.width).min(width));
            let row = &self.planes.row(c)[self.row_of(y - 1) * self.from[1]..];
            prefetch(&row[start..end], Near::First);
        }
    }

    /// The row of the planes that row `y` shows.
    fn row_of(&self, y: usize) -> usize {
        y * self.from[0] / self.size[0]
    }

    /// Pixels of row `y` from column `left` on, as they are in the planes.
    fn row(&self, isa: Isa, c: usize, y: usize, left: usize, out: &mut [f32]) {
        let (from, width) = (self.from[1], self.size[1]);
        let line = &self.planes.row(c)[self.row_of(y) * from..][..from];
        if from == width {
            out.copy_from_slice(&line[left..left + out.len()]);
        } else if width == 2 * from {
            let (odd, out) = out.split_at_mut(left % 2);
            odd.fill(line[left / 2]);
            double(isa, &line[left.div_ceil(2)..], out);
        } else {
            for (i, o) in out.iter_mut().enumerate() {
                *o = line[(left + i) * from / width];
            }
        }
    }
}

/// A part of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    /// First row and column, counted from the zeros around the map.
    pub top: usize,
    pub left: usize,
    /// Columns.
    pub width: usize,
}

per_isa! {
/// `activation(x * scale + shift)`.
fn finish(isa, scale: f32, shift: f32, activation: Activation, x: &mut [f32]) {
    for v in &mut *x {
        *v = *v * scale + shift;
    }
    activate_inline::<LEVEL>(x, activation);
}
}

per_isa! {
/// Each number twice.
fn double(isa, x: &[f32], out: &mut [f32]) {
    let whole = out.len() / 2;
    let x = &x[..out.len().div_ceil(2)];
    for (pair, v) in out.chunks_exact_mut(2).zip(x) {
        pair[0] = *v;
        pair[1] = *v;
    }
    if let [v] = x[whole..] {
        out[2 * whole] = v;
    }
}
}

/// What group norm does to a channel: `x * scale + shift`.
#[derive(Debug)]
pub struct GroupNorm {
    /// `[channels]`.
    pub(crate) scale: Buffer,
    pub(crate) shift: Buffer,
}

impl GroupNorm {
    /// Normalises into the operand of a linear layer.
    pub fn panels(&self, ctx: &Context, x: &Planes, compute: Compute) -> Panels {
        let (channels, positions) = (x.channels, x.positions);
        Panels::build(ctx, channels, positions, compute, |range, panel| {
            let x = x.view(0..channels, range);
            scale_panel(ctx.isa, x, self.scale.as_f32(), self.shift.as_f32(), panel);
        })
    }

    /// Scale and shift of channel `c`.
    pub(crate) fn channel(&self, c: usize) -> (f32, f32) {
        (self.scale.as_f32()[c], self.shift.as_f32()[c])
    }
}

per_isa! {
fn scale_panel(isa, x: View<'_>, scale: &[f32], shift: &[f32], panel: PanelMut<'_>) {
    let mut panel = panel;
    let per = panel.compute.per_step();
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    if panel.is_quantized() {
        let mut largest = Largest::NONE;
        for c in 0..x.channels {
            scale_row(x.row(c), scale[c], shift[c], &mut numbers[0]);
            largest.see(&numbers[0][..x.positions]);
        }
        panel.scale(&largest);
    }
    for s in 0..panel.compute.steps(x.channels) {
        for i in 0..per {
            let c = s * per + i;
            if c < x.channels {
                scale_row(x.row(c), scale[c], shift[c], &mut numbers[i]);
            } else {
                numbers[i].fill(0.0);
            }
        }
        panel.write::<LEVEL>(s, &numbers);
    }
}
}

#[inline(always)]
fn scale_row(row: &[f32], scale: f32, shift: f32, out: &mut [f32; PANEL]) {
    for (number, v) in out.iter_mut().zip(row) {
        *number = *v * scale + shift;
    }
}
