//! Values and operands: how numbers lie in memory.
//!
//! Everything is channel by channel, positions (tokens or pixels) side by side, so that every vector instruction
//! works on sixteen positions and every reduction over channels is a plain sum of vectors.

use crate::arch::{Compute, Kernels, LANES, MV, PANEL, kernels};
use crate::buffer::{Buffer, Pool, Shared};
use crate::float::{pair, pairs};
use crate::isa::{Isa, per_isa};
use crate::map::Source;
use arrayvec::ArrayVec;
use rayon::prelude::*;
use std::ops::Range;

/// What every kernel needs: the instruction set and the memory.
#[derive(Clone, Debug)]
pub struct Context {
    /// Which kernels run.
    pub isa: Isa,
    /// Where values come from.
    pub pool: Pool,
}

impl Context {
    /// Kernels for `isa`, with memory of their own.
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            pool: Pool::default(),
        }
    }
}

/// Elements from one row of positions to the next: an odd number of cache lines, so that a walk down the rows does
/// not fall into one set of the cache.
pub(crate) fn pitch(positions: usize) -> usize {
    if positions == 1 {
        1
    } else {
        (positions.div_ceil(LANES) | 1) * LANES
    }
}

/// Floats `[channels, positions]`.
#[derive(Debug)]
pub struct Planes {
    pub(crate) data: Buffer,
    /// Rows.
    pub channels: usize,
    /// Numbers in a row that mean something.
    pub positions: usize,
    /// Elements from row to row.
    pub pitch: usize,
}

impl Planes {
    /// Room for a value; the contents are left over from earlier.
    pub fn take(ctx: &Context, channels: usize, positions: usize) -> Self {
        let pitch = pitch(positions);
        Self {
            data: ctx.pool.take(channels * pitch),
            channels,
            positions,
            pitch,
        }
    }

    /// From `[channels, positions]`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn from_channels(ctx: &Context, data: &[f32], channels: usize, positions: usize) -> Self {
        assert_eq!(data.len(), channels * positions);
        let mut planes = Self::take(ctx, channels, positions);
        for (c, row) in data.chunks_exact(positions).enumerate() {
            planes.row_mut(c).copy_from_slice(row);
        }
        planes
    }

    /// From `[positions, channels]`.
    ///
    /// # Panics
    /// If the length does not fit.
    pub fn from_tokens(ctx: &Context, data: &[f32], positions: usize, channels: usize) -> Self {
        assert_eq!(data.len(), channels * positions);
        let mut planes = Self::take(ctx, channels, positions);
        for c in 0..channels {
            for (p, v) in planes.row_mut(c).iter_mut().enumerate() {
                *v = data[p * channels + c];
            }
        }
        planes
    }

    /// As `[channels, positions]`.
    pub fn to_channels(&self) -> Vec<f32> {
        (0..self.channels)
            .flat_map(|c| self.row(c).iter().copied())
            .collect()
    }

    /// As `[positions, channels]`.
    pub fn to_tokens(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.channels * self.positions];
        for c in 0..self.channels {
            for (p, v) in self.row(c).iter().enumerate() {
                out[p * self.channels + c] = *v;
            }
        }
        out
    }

    /// A copy.
    #[must_use]
    pub fn copy(&self, ctx: &Context) -> Self {
        let mut out = Self::take(ctx, self.channels, self.positions);
        out.for_each_channel(|c, row| row.copy_from_slice(self.row(c)));
        out
    }

    /// Changes every channel: `f(channel, numbers)`.
    pub fn for_each_channel(&mut self, f: impl Fn(usize, &mut [f32]) + Sync) {
        let (pitch, positions) = (self.pitch, self.positions);
        self.data_mut()
            .par_chunks_mut(pitch)
            .enumerate()
            .for_each(|(c, row)| f(c, &mut row[..positions]));
    }

    /// One channel.
    pub fn row(&self, c: usize) -> &[f32] {
        &self.data.as_f32()[c * self.pitch..][..self.positions]
    }

    /// One channel, to write.
    pub fn row_mut(&mut self, c: usize) -> &mut [f32] {
        &mut self.data.as_f32_mut()[c * self.pitch..][..self.positions]
    }

    /// Everything, rows at `pitch`, the gaps between them included.
    pub fn data(&self) -> &[f32] {
        self.data.as_f32()
    }

    /// The same, to write.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data.as_f32_mut()
    }
}

/// Where so many tiles of steps lie, as a tile kernel asks for it: with one more number behind them.
pub(crate) fn offsets(ctx: &Context, count: usize, at: impl Iterator<Item = usize>) -> Buffer {
    let mut offsets = ctx.pool.take(count + 1);
    let after = std::iter::once(0);
    for (offset, at) in offsets
        .as_u32_mut()
        .iter_mut()
        .zip(at.take(count).chain(after))
    {
        *offset = at as u32;
    }
    offsets
}

/// How the steps of a panel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[steps, PANEL]`.
    Rows,
    /// `[groups of steps, MV, steps of a group, LANES]`: what a tile register takes lies together.
    Tiles,
}

impl Layout {
    /// Steps of a group.
    pub(crate) const GROUP: usize = 16;

    /// The one that suits kernels, for so many steps.
    pub(crate) fn of(kernels: &Kernels, steps: usize) -> Self {
        if kernels.steps == Self::GROUP && steps.is_multiple_of(Self::GROUP) {
            Self::Tiles
        } else {
            Self::Rows
        }
    }

    /// Where the first vector of a step lies.
    #[inline(always)]
    pub(crate) fn at(self, step: usize) -> usize {
        match self {
            Self::Rows => step * PANEL,
            Self::Tiles => step / Self::GROUP * Self::GROUP * PANEL + step % Self::GROUP * LANES,
        }
    }

    /// Elements from one vector of a step to the next.
    #[inline(always)]
    pub(crate) fn vector(self) -> usize {
        match self {
            Self::Rows => LANES,
            Self::Tiles => Self::GROUP * LANES,
        }
    }

    /// Elements from one step of a group to the next.
    pub(crate) fn step(self) -> usize {
        match self {
            Self::Rows => PANEL,
            Self::Tiles => LANES,
        }
    }
}

/// Writes a step of a panel: `low`, or pairs of `low` and `high`.
#[inline(always)]
pub(crate) fn write_step<const LEVEL: u8>(
    compute: Compute,
    low: &[f32; PANEL],
    high: &[f32; PANEL],
    layout: Layout,
    step: usize,
    panel: &mut [u32],
) {
    for v in 0..MV {
        let out = &mut panel[layout.at(step) + v * layout.vector()..][..LANES];
        let (low, high) = (&low[v * LANES..][..LANES], &high[v * LANES..][..LANES]);
        match compute {
            Compute::F32 => {
                for l in 0..LANES {
                    out[l] = low[l].to_bits();
                }
            }
            Compute::Bf16 => pairs::<LEVEL>(low, high, out),
        }
    }
}

/// Left operand of a matrix product: panels of [`PANEL`] positions.
#[derive(Debug)]
pub struct Panels {
    pub(crate) data: Buffer,
    pub(crate) layout: Layout,
    /// Inputs of each position.
    pub channels: usize,
    /// Positions that mean something.
    pub positions: usize,
    /// Type of the numbers.
    pub compute: Compute,
}

impl Panels {
    /// Room for an operand.
    pub fn take(ctx: &Context, channels: usize, positions: usize, compute: Compute) -> Self {
        let steps = compute.steps(channels);
        Self {
            data: ctx.pool.take(positions.div_ceil(PANEL) * steps * PANEL),
            layout: Layout::of(&kernels(ctx.isa, compute), steps),
            channels,
            positions,
            compute,
        }
    }

    /// Steps of the inner dimension.
    pub fn steps(&self) -> usize {
        self.compute.steps(self.channels)
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.positions.div_ceil(PANEL)
    }

    /// The floats that were packed, as far as the type of products kept them.
    pub fn unpack(&self, ctx: &Context) -> Planes {
        let mut out = Planes::take(ctx, self.channels, self.positions);
        let (bits, steps, compute) = (self.data.as_u32(), self.steps(), self.compute);
        out.for_each_channel(|c, row| {
            let at = self.layout.at(c / compute.per_step());
            for p in 0..self.panels() {
                let chunk = &mut row[panel_range(self.positions, p)];
                let panel = &bits[p * steps * PANEL + at..];
                for (v, chunk) in chunk.chunks_mut(LANES).enumerate() {
                    let vector = &panel[v * self.layout.vector()..][..chunk.len()];
                    unpack_row(vector, c, compute, chunk);
                }
            }
        });
        out
    }

    /// Builds an operand panel by panel. `fill(positions, layout, out)` writes one.
    pub(crate) fn build(
        ctx: &Context,
        channels: usize,
        positions: usize,
        compute: Compute,
        fill: impl Fn(Range<usize>, Layout, &mut [u32]) + Sync,
    ) -> Self {
        let mut out = Self::take(ctx, channels, positions, compute);
        let (steps, layout) = (out.steps(), out.layout);
        out.data
            .as_u32_mut()
            .par_chunks_mut(steps * PANEL)
            .enumerate()
            .for_each(|(p, panel)| fill(panel_range(positions, p), layout, panel));
        out
    }

    /// Packs floats.
    pub fn pack(ctx: &Context, x: &Planes, compute: Compute) -> Self {
        let Planes {
            channels,
            positions,
            pitch,
            ..
        } = *x;
        Self::build(ctx, channels, positions, compute, |range, layout, panel| {
            pack_panel(
                ctx.isa,
                x.data(),
                pitch,
                channels,
                range,
                panel,
                layout,
                compute,
            );
        })
    }
}

per_isa! {
/// One panel: the positions of `range` of every row.
fn pack_panel(
    isa, x: &[f32], pitch: usize, channels: usize, range: Range<usize>, panel: &mut [u32], layout: Layout,
    compute: Compute,
) {
    let per = compute.per_step();
    let mut values = [[0f32; PANEL]; 2];
    for s in 0..compute.steps(channels) {
        for i in 0..per {
            let c = s * per + i;
            let row = &mut values[i][..range.len()];
            if c < channels {
                row.copy_from_slice(&x[c * pitch + range.start..][..range.len()]);
            } else {
                row.fill(0.0);
            }
        }
        write_step::<LEVEL>(compute, &values[0], &values[1], layout, s, panel);
    }
}
}

/// Left operand of a 3x3 convolution of stride 1: maps with a rim of zeros.
///
/// A row of the map is followed by one zero, which is the right neighbour of its last pixel and the left neighbour
/// of the next row's first; a row of zeros stands above and below. So the nine neighbours of a pixel lie at nine
/// fixed distances, whatever the width, and a run of pixels may go on over the ends of rows (the sums that fall on
/// the zeros between are not used).
///
/// In narrow maps that would be one sum in 17, or in 33. Where whole vectors make a row, these are kept three times
/// instead, moved by a pixel to the right, not at all, and to the left, with no zeros between rows.
#[derive(Debug)]
pub struct Padded {
    pub(crate) data: Buffer,
    /// Input channels.
    pub channels: usize,
    /// Rows of the map.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Type of the numbers.
    pub compute: Compute,
    /// Elements from one step (a channel, or two) to the next.
    pub(crate) pitch: usize,
}

/// Widest map that is kept three times.
const NARROW: usize = 32;

/// Where the neighbours of a pixel of a [`Padded`] lie.
#[derive(Clone, Copy)]
struct Steps {
    /// Elements to the pixel below.
    down: usize,
    /// Elements to the right neighbour: the next element, or the same place of the next of three maps.
    right: usize,
}

impl Steps {
    fn of(height: usize, width: usize) -> Self {
        if width.is_multiple_of(LANES) && width <= NARROW {
            Self {
                down: width,
                right: (height + 2) * width,
            }
        } else {
            Self {
                down: width + 1,
                right: 1,
            }
        }
    }

    fn is_narrow(self) -> bool {
        self.right > 1
    }
}

impl Padded {
    /// Room for an operand; the rim is not yet zero.
    pub(crate) fn take(
        ctx: &Context,
        channels: usize,
        height: usize,
        width: usize,
        compute: Compute,
    ) -> Self {
        let Steps { down, right } = Steps::of(height, width);
        let len = (height * down).next_multiple_of(PANEL) + 2 * down + 2 * right;
        let pitch = (len.div_ceil(LANES) | 1) * LANES;
        let data = ctx.pool.take(compute.steps(channels) * pitch);
        Self {
            data,
            channels,
            height,
            width,
            compute,
            pitch,
        }
    }

    /// Builds an operand step by step. `fill(channel, out)` writes one channel, row after row without gaps.
    pub(crate) fn build(
        ctx: &Context,
        [channels, height, width]: [usize; 3],
        compute: Compute,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let mut out = Self::take(ctx, channels, height, width, compute);
        let (pitch, isa) = (out.pitch, ctx.isa);
        let size = height * width;
        out.data
            .as_u32_mut()
            .par_chunks_mut(pitch)
            .enumerate()
            .for_each(|(s, plane)| {
                crate::buffer::with_scratch(|scratch| {
                    let rows = scratch[0].f32(2 * size);
                    let (low, high) = rows.split_at_mut(size);
                    match compute {
                        Compute::F32 => fill(s, low),
                        Compute::Bf16 => {
                            fill(2 * s, low);
                            if 2 * s + 1 < channels {
                                fill(2 * s + 1, high);
                            } else {
                                high.fill(0.0);
                            }
                        }
                    }
                    lay_out(isa, low, high, width, plane, compute);
                });
            });
        out
    }

    fn steps(&self) -> Steps {
        Steps::of(self.height, self.width)
    }

    /// Where the neighbours of the first pixel lie, row after row.
    pub(crate) fn taps(&self) -> [usize; 9] {
        let Steps { down, right } = self.steps();
        std::array::from_fn(|t| t / 3 * down + t % 3 * right)
    }

    /// Width of the rows whose zeros lie in a run of pixels.
    pub(crate) fn gaps(&self) -> Option<usize> {
        (!self.steps().is_narrow()).then_some(self.width)
    }

    /// Positions of the run.
    pub(crate) fn positions(&self) -> usize {
        self.height * self.steps().down
    }

    /// Packs floats.
    ///
    /// # Panics
    /// If `x` is not a map of that size.
    pub fn pack(ctx: &Context, x: &Planes, height: usize, width: usize, compute: Compute) -> Self {
        assert_eq!(x.positions, height * width);
        Self::build(ctx, [x.channels, height, width], compute, |c, out| {
            out.copy_from_slice(x.row(c));
        })
    }

    /// Packs floats, each pixel drawn from its nearest: source = floor(destination * in / out).
    ///
    /// # Panics
    /// If `x` is not a map of the size `from`.
    pub fn pack_upsampled(
        ctx: &Context,
        x: &Planes,
        from: [usize; 2],
        to: [usize; 2],
        compute: Compute,
    ) -> Self {
        Source::upsampled(x, from, to).padded(ctx, compute)
    }

    /// The floats that were packed, as far as the type of products kept them.
    pub fn unpack(&self, ctx: &Context) -> Planes {
        let mut out = Planes::take(ctx, self.channels, self.height * self.width);
        let (bits, compute) = (self.data.as_u32(), self.compute);
        let Steps { down, right } = self.steps();
        out.for_each_channel(|c, channel| {
            for (y, line) in channel.chunks_exact_mut(self.width).enumerate() {
                let start = c / compute.per_step() * self.pitch + right + (y + 1) * down;
                unpack_row(&bits[start..][..self.width], c, compute, line);
            }
        });
        out
    }
}

/// Channel `c` out of the step that holds it.
fn unpack_row(step: &[u32], c: usize, compute: Compute, out: &mut [f32]) {
    for (o, bits) in out.iter_mut().zip(step) {
        *o = f32::from_bits(match compute {
            Compute::F32 => *bits,
            Compute::Bf16 if c.is_multiple_of(2) => bits << 16,
            Compute::Bf16 => bits & 0xffff_0000,
        });
    }
}

per_isa! {
/// One step of a [`Padded`]: the rim and the rows of one channel, or two.
fn lay_out(isa, low: &[f32], high: &[f32], width: usize, plane: &mut [u32], compute: Compute) {
    let height = low.len() / width;
    let steps = Steps::of(height, width);
    let (row, size) = (steps.down, steps.right);
    // The map as it is, between rows of zeros.
    let map = &mut plane[size - 1..];
    map[..=row].fill(0);
    for y in 0..height {
        let (low, high) = (&low[y * width..][..width], &high[y * width..][..width]);
        let dst = &mut map[(y + 1) * row + 1..][..row];
        match compute {
            Compute::F32 => {
                for (d, s) in dst.iter_mut().zip(low) {
                    *d = s.to_bits();
                }
            }
            Compute::Bf16 => {
                let whole = width / LANES * LANES;
                for at in (0..whole).step_by(LANES) {
                    pairs::<LEVEL>(&low[at..], &high[at..], &mut dst[at..at + LANES]);
                }
                for at in whole..width {
                    dst[at] = pair(low[at], high[at]);
                }
            }
        }
        dst[width..].fill(0);
    }
    map[(height + 1) * row + 1..][..row].fill(0);
    if steps.is_narrow() {
        // Its left neighbours before it, and its right ones behind it.
        plane.copy_within(size..2 * size - 1, 1);
        plane.copy_within(size + 1..2 * size, 2 * size);
        for y in 0..height + 2 {
            plane[y * width] = 0;
            plane[2 * size + (y + 1) * width - 1] = 0;
        }
    }
}
}

/// Positions of panel `panel`. Vectors are spread evenly over the panels, since a tile kernel of one vector waits for
/// its own sums.
pub(crate) fn panel_range(positions: usize, panel: usize) -> Range<usize> {
    let vectors = positions.div_ceil(LANES);
    let panels = vectors.div_ceil(MV);
    let (each, more) = (vectors / panels, vectors % panels);
    let start = |p: usize| (p * each + p.min(more)) * LANES;
    start(panel)..start(panel + 1).min(positions)
}

/// Where a run of positions of a panel goes in a row of the result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub from: usize,
    pub to: usize,
    pub len: usize,
}

/// Segments of panel `panel`: one for tokens; for a map of `width`, one a row, without the zeros between rows.
pub(crate) fn segments(
    panel: usize,
    positions: usize,
    width: Option<usize>,
) -> ArrayVec<Segment, PANEL> {
    let mut out = ArrayVec::new();
    match width {
        None => {
            let Range { start, end } = panel_range(positions, panel);
            out.push(Segment {
                from: 0,
                to: start,
                len: end - start,
            });
        }
        Some(width) => {
            let row = width + 1;
            let Range { start, end } = panel_range(positions / width * row, panel);
            let mut at = start;
            while at < end {
                let (y, x) = (at / row, at % row);
                let len = (width - x).min(end - at);
                if len > 0 {
                    out.push(Segment {
                        from: at - start,
                        to: y * width + x,
                        len,
                    });
                }
                at += len.max(1);
                if at % row == width {
                    at += 1;
                }
            }
        }
    }
    out
}

/// A destination that panels are stored to.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub out: Shared<f32>,
    pub pitch: usize,
    pub bias: Option<&'a [f32]>,
    pub add: bool,
    pub activation: crate::math::Activation,
}

per_isa! {
/// Stores `rows` rows of sums, `[rows][PANEL]`, as channels `first..` of a result: bias, activation, residual.
pub(crate) fn store(isa, c: &[f32], rows: usize, first: usize, segments: &[Segment], target: Target<'_>) {
    for r in 0..rows {
        let bias = target.bias.map_or(0.0, |b| b[first + r]);
        for s in segments {
            let sums = &c[r * PANEL + s.from..][..s.len];
            // SAFETY: every panel and row is stored by one thread only, and the result outlives the product.
            let out = unsafe { target.out.range((first + r) * target.pitch + s.to, s.len) };
            if target.add {
                for (o, v) in out.iter_mut().zip(sums) {
                    *o += *v + bias;
                }
            } else {
                for (o, v) in out.iter_mut().zip(sums) {
                    *o = *v + bias;
                }
                crate::math::activate_inline::<LEVEL>(out, target.activation);
            }
        }
    }
}
}
