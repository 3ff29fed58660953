//! The left operand of a product.

use super::planes::{Planes, View};
use super::quanta::{Largest, Quanta, QuantaBuffer};
use crate::arch::{Compute, Kernels, LANES, MV, Order, PANEL, kernels};
use crate::context::Context;
use crate::isa::per_isa;
use crate::memory::{Buffer, Disjoint};
use crate::step::{MOST, StepWriter, nearest};
use arrayvec::ArrayVec;
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::OnceLock;

/// How the steps of a panel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[steps, PANEL]`.
    Rows,
    /// `[groups of steps, MV, steps of a group, LANES]`: what a tile register takes lies together.
    Tiles,
    /// `[MV, steps, LANES]`, of a panel of so many steps.
    Vectors(usize),
}

impl Layout {
    /// Steps of a group.
    pub(crate) const GROUP: usize = 16;

    /// The one that suits kernels, for so many steps.
    pub(crate) fn of(kernels: &Kernels, steps: usize) -> Self {
        match kernels.order {
            Order::Rows => Self::Rows,
            Order::Vectors => Self::Vectors(steps),
            Order::Tiles => Self::Tiles.for_steps(steps),
        }
    }

    /// This one, if panels can be written so many steps at a time.
    pub(crate) fn for_steps(self, steps: usize) -> Self {
        match self {
            Self::Tiles if !steps.is_multiple_of(Self::GROUP) => Self::Rows,
            other => other,
        }
    }

    /// Where the first vector of a step lies.
    #[inline(always)]
    pub(crate) fn at(self, step: usize) -> usize {
        match self {
            Self::Rows => step * PANEL,
            Self::Tiles => step / Self::GROUP * Self::GROUP * PANEL + step % Self::GROUP * LANES,
            Self::Vectors(_) => step * LANES,
        }
    }

    /// Elements from one vector of a step to the next.
    #[inline(always)]
    pub(crate) fn vector(self) -> usize {
        match self {
            Self::Rows => LANES,
            Self::Tiles => Self::GROUP * LANES,
            Self::Vectors(steps) => steps * LANES,
        }
    }

    /// Elements from one step of a group to the next.
    pub(crate) fn step(self) -> usize {
        match self {
            Self::Rows => PANEL,
            Self::Tiles | Self::Vectors(_) => LANES,
        }
    }

    /// Parts of a panel, so that some steps of all vectors are one piece of each.
    fn parts(self) -> usize {
        match self {
            Self::Rows | Self::Tiles => 1,
            Self::Vectors(_) => MV,
        }
    }
}

/// Some steps of a panel, in as many pieces as its layout has parts.
type Pieces<'a> = ArrayVec<&'a mut [u32], MV>;

/// The numbers of one step, for every position of a panel.
pub(crate) type Numbers = [[f32; PANEL]; MOST];

/// A panel, or some channels of it, to be written.
///
/// Panels of int8 need to know the largest number of each position first: see [`PanelMut::scale`].
pub(crate) struct PanelMut<'a> {
    pub compute: Compute,
    /// Channels of those steps.
    pub channels: usize,
    layout: Layout,
    pieces: Pieces<'a>,
    /// The panel's, where the numbers become int8.
    quanta: Option<&'a mut Quanta>,
    factors: [f32; PANEL],
}

impl PanelMut<'_> {
    /// Whether the numbers become int8, and [`Self::scale`] has to be called.
    #[inline(always)]
    pub(crate) fn is_quantized(&self) -> bool {
        self.quanta.is_some()
    }

    /// Has the largest number of each position become 127.
    #[inline(always)]
    pub(crate) fn scale(&mut self, largest: &Largest) {
        if let Some(quanta) = &mut self.quanta {
            quanta.sums = [0; PANEL];
            (quanta.scales, self.factors) = largest.scales();
        }
    }

    /// Writes a step.
    #[inline(always)]
    pub(crate) fn write<const LEVEL: u8>(&mut self, step: usize, numbers: &Numbers) {
        let mut scaled: Numbers = [[0.0; PANEL]; MOST];
        let mut numbers = numbers;
        if let Some(quanta) = &mut self.quanta {
            for i in 0..MOST {
                for l in 0..PANEL {
                    scaled[i][l] = numbers[i][l] * self.factors[l];
                    quanta.sums[l] = quanta.sums[l].wrapping_add(nearest(scaled[i][l]));
                }
            }
            numbers = &scaled;
        }
        let first = self.layout.at(step);
        for v in 0..MV {
            let mut lanes: [&[f32]; MOST] = [&[]; MOST];
            for i in 0..MOST {
                lanes[i] = &numbers[i][v * LANES..][..LANES];
            }
            let out = match &mut self.pieces[..] {
                [piece] => &mut piece[first + v * self.layout.vector()..][..LANES],
                pieces => &mut pieces[v][first..][..LANES],
            };
            StepWriter::<LEVEL>(self.compute).across(lanes, out);
        }
    }
}

/// Left operand of a matrix product: panels of [`PANEL`] positions.
#[derive(Debug)]
pub struct Panels {
    pub(crate) data: Buffer,
    /// The quanta of each panel, where the numbers are int8.
    pub(crate) quanta: Option<QuantaBuffer>,
    /// These numbers as int8. The first layer that asks has them made.
    int8: OnceLock<Int8>,
    pub(crate) layout: Layout,
    /// Inputs of each position.
    pub channels: usize,
    /// Positions that mean something.
    pub positions: usize,
    /// Type of the numbers.
    pub compute: Compute,
}

/// The numbers of floats as int8.
#[derive(Debug)]
pub(crate) struct Int8 {
    pub(crate) data: Buffer,
    pub(crate) quanta: QuantaBuffer,
    pub(crate) layout: Layout,
}

impl Panels {
    /// Room for an operand.
    pub fn take(ctx: &Context, channels: usize, positions: usize, compute: Compute) -> Self {
        let steps = compute.steps(channels);
        Self {
            data: ctx.pool.take(positions.div_ceil(PANEL) * steps * PANEL),
            quanta: (compute == Compute::Int8)
                .then(|| QuantaBuffer::take(ctx, positions.div_ceil(PANEL))),
            int8: OnceLock::new(),
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
                    if let Some(quanta) = &self.quanta {
                        let scales = &quanta.panel(p).scales[v * LANES..];
                        chunk.iter_mut().zip(scales).for_each(|(x, s)| *x *= s);
                    }
                }
            }
        });
        out
    }

    /// Builds an operand panel by panel. `fill(positions, panel)` writes one.
    pub(crate) fn build(
        ctx: &Context,
        channels: usize,
        positions: usize,
        compute: Compute,
        fill: impl Fn(Range<usize>, PanelMut<'_>) + Sync,
    ) -> Self {
        let mut out = Self::take(ctx, channels, positions, compute);
        let (steps, layout) = (out.steps(), out.layout);
        let quanta = out.quanta.as_mut().map(QuantaBuffer::disjoint);
        out.data
            .as_u32_mut()
            .par_chunks_mut(steps * PANEL)
            .enumerate()
            .for_each(|(p, steps)| {
                let panel = PanelMut {
                    compute,
                    channels,
                    layout,
                    pieces: steps
                        .chunks_exact_mut(steps.len() / layout.parts())
                        .collect(),
                    // SAFETY: each panel is one thread's.
                    quanta: quanta.as_ref().map(|quanta| unsafe { quanta.panel(p) }),
                    factors: [0.0; PANEL],
                };
                fill(panel_range(positions, p), panel);
            });
        out
    }

    /// Converts the numbers for products of another type. int8 gives each position a scale of its own.
    #[must_use]
    pub fn convert(&self, ctx: &Context, compute: Compute) -> Self {
        let (channels, positions) = (self.channels, self.positions);
        let size = self.steps() * PANEL;
        Self::build(ctx, channels, positions, compute, |range, panel| {
            let p = self.index(&range);
            let from = PanelRef {
                compute: self.compute,
                layout: self.layout,
                steps: &self.data.as_u32()[p * size..][..size],
                scales: self.quanta.as_ref().map(|quanta| &quanta.panel(p).scales),
            };
            convert_panel(ctx.isa, from, panel);
        })
    }

    /// These numbers as int8, made once.
    pub(crate) fn int8(&self, ctx: &Context) -> &Int8 {
        self.int8.get_or_init(|| {
            let int8 = self.convert(ctx, Compute::Int8);
            Int8 {
                data: int8.data,
                quanta: int8.quanta.expect("panels of int8 have quanta"),
                layout: int8.layout,
            }
        })
    }

    /// The panel that has these positions.
    fn index(&self, range: &Range<usize>) -> usize {
        (0..self.panels())
            .find(|p| panel_range(self.positions, *p).start == range.start)
            .expect("a panel's positions")
    }

    /// To be written by several threads. Not for int8, whose scales need all channels of a position.
    pub(crate) fn disjoint(&mut self) -> DisjointPanels<'_> {
        assert!(self.quanta.is_none(), "int8 is written panel by panel");
        DisjointPanels {
            compute: self.compute,
            layout: self.layout,
            steps: self.steps(),
            data: Disjoint::new(self.data.as_u32_mut()),
            borrowed: PhantomData,
        }
    }

    /// Packs floats.
    pub fn pack(ctx: &Context, x: &Planes, compute: Compute) -> Self {
        let (channels, positions) = (x.channels, x.positions);
        Self::build(ctx, channels, positions, compute, |range, panel| {
            pack_panel(ctx.isa, x.view(0..channels, range), panel);
        })
    }
}

/// Panels that several threads write, each its own steps.
pub(crate) struct DisjointPanels<'a> {
    compute: Compute,
    layout: Layout,
    steps: usize,
    data: Disjoint<u32>,
    borrowed: PhantomData<&'a mut Panels>,
}

impl<'a> DisjointPanels<'a> {
    /// The steps that hold some channels of a panel.
    ///
    /// # Safety
    /// - The channels begin with a step, and where the layout has groups of steps, with a group.
    /// - No other thread holds any of these steps.
    pub(crate) unsafe fn channels(&self, panel: usize, channels: Range<usize>) -> PanelMut<'a> {
        let (compute, layout) = (self.compute, self.layout);
        let first = channels.start / compute.per_step();
        let count = compute.steps(channels.len());
        // In a panel of several parts a step has a part of its elements in each.
        let parts = layout.parts();
        let (part, step) = (self.steps * PANEL / parts, PANEL / parts);
        let pieces = (0..parts).map(|p| {
            let start = panel * self.steps * PANEL + p * part + first * step;
            // SAFETY: by the caller's word, and the panels are borrowed for `'a`.
            unsafe { self.data.range(start, count * step) }
        });
        PanelMut {
            compute,
            channels: channels.len(),
            layout,
            pieces: pieces.collect(),
            quanta: None,
            factors: [0.0; PANEL],
        }
    }
}

per_isa! {
fn pack_panel(isa, x: View<'_>, panel: PanelMut<'_>) {
    let mut panel = panel;
    let per = panel.compute.per_step();
    if panel.is_quantized() {
        let mut largest = Largest::NONE;
        for c in 0..x.channels {
            largest.see(x.row(c));
        }
        panel.scale(&largest);
    }
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    for s in 0..panel.compute.steps(x.channels) {
        for i in 0..per {
            let (c, row) = (s * per + i, &mut numbers[i][..x.positions]);
            if c < x.channels {
                row.copy_from_slice(x.row(c));
            } else {
                row.fill(0.0);
            }
        }
        panel.write::<LEVEL>(s, &numbers);
    }
}
}

/// A panel, to be read.
struct PanelRef<'a> {
    compute: Compute,
    layout: Layout,
    steps: &'a [u32],
    scales: Option<&'a [f32; PANEL]>,
}

impl PanelRef<'_> {
    /// Channel `c` of every position.
    #[inline(always)]
    fn read(&self, c: usize, out: &mut [f32; PANEL]) {
        let first = self.layout.at(c / self.compute.per_step());
        for v in 0..MV {
            let lanes = &self.steps[first + v * self.layout.vector()..][..LANES];
            unpack_row(lanes, c, self.compute, &mut out[v * LANES..][..LANES]);
        }
        if let Some(scales) = self.scales {
            for l in 0..PANEL {
                out[l] *= scales[l];
            }
        }
    }
}

per_isa! {
fn convert_panel(isa, from: PanelRef<'_>, panel: PanelMut<'_>) {
    let mut panel = panel;
    let (per, channels) = (panel.compute.per_step(), panel.channels);
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    if panel.is_quantized() {
        let mut largest = Largest::NONE;
        for c in 0..channels {
            from.read(c, &mut numbers[0]);
            largest.see(&numbers[0]);
        }
        panel.scale(&largest);
    }
    for s in 0..panel.compute.steps(channels) {
        for i in 0..per {
            let c = s * per + i;
            if c < channels {
                from.read(c, &mut numbers[i]);
            } else {
                numbers[i].fill(0.0);
            }
        }
        panel.write::<LEVEL>(s, &numbers);
    }
}
}

/// Channel `c` out of the step that holds it.
///
/// int8 without its scale.
#[inline(always)]
pub(super) fn unpack_row(step: &[u32], c: usize, compute: Compute, out: &mut [f32]) {
    for (o, bits) in out.iter_mut().zip(step) {
        *o = match compute {
            Compute::F32 => f32::from_bits(*bits),
            Compute::Bf16 if c.is_multiple_of(2) => f32::from_bits(bits << 16),
            Compute::Bf16 => f32::from_bits(bits & 0xffff_0000),
            Compute::Int8 => f32::from((bits >> (8 * (c % 4))) as u8 as i8),
        };
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
