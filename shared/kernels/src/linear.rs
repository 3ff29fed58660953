//! Linear layers: `W x + b` over the channels of every position.

use crate::arch::{Compute, PANEL, kernels};
use crate::context::Context;
use crate::isa::per_isa;
use crate::math::{Activation, activate, activate_inline, gelu};
use crate::memory::with_scratch;
use crate::product::{After, Product, segments, store};
use crate::step::MOST;
use crate::value::{Layout, Numbers, PanelMut, Panels, Planes, QuantaBuffer};
use crate::weight::{LowRank, Matrix, Weights};
use rayon::prelude::*;
use std::ops::Range;

/// Steps widened at a time. Long stretches of a row are read at the rate of memory, and the widened rows of a task
/// still fit the second-level cache beside a panel.
const UNIT: usize = 640;

/// The left operand of a product, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    data: &'a [u32],
    quanta: Option<&'a QuantaBuffer>,
    panel_pitch: Option<usize>,
    step_pitch: usize,
    layout: Layout,
    channels: usize,
    positions: usize,
    compute: Compute,
}

impl<'a> From<&'a Panels> for Left<'a> {
    fn from(x: &'a Panels) -> Self {
        Self {
            data: x.data.as_u32(),
            quanta: x.quanta.as_ref(),
            panel_pitch: Some(x.steps() * PANEL),
            step_pitch: x.layout.step(),
            layout: x.layout,
            channels: x.channels,
            positions: x.positions,
            compute: x.compute,
        }
    }
}

impl<'a> Left<'a> {
    /// `x` as int8, whatever it is. It is made for the first layer that asks, and stays with `x` for others.
    pub fn int8(ctx: &Context, x: &'a Panels) -> Self {
        if x.compute == Compute::Int8 {
            return x.into();
        }
        let int8 = x.int8(ctx);
        Self {
            data: int8.data.as_u32(),
            quanta: Some(&int8.quanta),
            panel_pitch: Some(Compute::Int8.steps(x.channels) * PANEL),
            step_pitch: int8.layout.step(),
            layout: int8.layout,
            channels: x.channels,
            positions: x.positions,
            compute: Compute::Int8,
        }
    }
}

/// float32 needs no packing: a row of a value is a step. Not for a single position, whose rows have no room for a
/// vector.
impl<'a> From<&'a Planes> for Left<'a> {
    fn from(x: &'a Planes) -> Self {
        Self {
            data: x.data.as_u32(),
            quanta: None,
            panel_pitch: None,
            step_pitch: x.pitch,
            layout: Layout::Rows,
            channels: x.channels,
            positions: x.positions,
            compute: Compute::F32,
        }
    }
}

impl<'a> Left<'a> {
    /// What a matrix reads of planes: float32 as it is, or an operand that `room` then holds.
    pub(crate) fn of(
        ctx: &Context,
        planes: &'a Planes,
        compute: Compute,
        room: &'a mut Option<Panels>,
    ) -> Self {
        if compute == Compute::F32 && planes.positions > 1 {
            planes.into()
        } else {
            Self::from(&*room.insert(Panels::pack(ctx, planes, compute)))
        }
    }

    fn product(&self, ctx: &'a Context, weights: Matrix<'a>, parts: usize) -> Product<'a> {
        assert_eq!(self.channels, weights.cols, "inputs of a linear layer");
        Product {
            ctx,
            compute: self.compute,
            a: self.data,
            quanta: self.quanta,
            panel_pitch: self.panel_pitch,
            positions: self.positions,
            pitch: self.step_pitch,
            layout: self.layout,
            taps: &[0],
            weights,
            parts,
            unit: UNIT,
            more: &[],
        }
    }

    /// Room for a result of so many rows, in the type in which tasks write an operand for products of `compute`. int8 has
    /// a scale for each position, over all of its channels, and a task has some of these only: so that is made of floats
    /// once all are there.
    fn operand(&self, ctx: &Context, rows: usize, compute: Compute) -> Panels {
        let written = match compute {
            Compute::Int8 if ctx.isa.prefers_bf16() => Compute::Bf16,
            Compute::Int8 => Compute::F32,
            other => other,
        };
        let mut out = Panels::take(ctx, rows, self.positions, written);
        // The rows of a tile are whole steps.
        let rows = kernels(ctx.isa, self.compute).rows;
        out.layout = out.layout.for_steps(rows / written.per_step());
        out
    }

    /// Runs a product, and those of what is added to its weights, which are of floats. `sink` as [`Product::run`]'s.
    fn run(
        &self,
        ctx: &Context,
        weights: Weights<'_>,
        parts: usize,
        sink: impl Fn(Range<usize>, usize, &[f32]) + Sync,
    ) {
        let lowered: Vec<_> = weights
            .low_rank
            .iter()
            .map(|low| lower(ctx, self, low))
            .collect();
        let pairs = lowered.iter().zip(weights.low_rank);
        let more: Vec<_> = pairs
            .map(|(x, low)| Left::from(x).product(ctx, low.up, parts))
            .collect();
        let product = Product {
            more: &more,
            ..self.product(ctx, weights.matrix, parts)
        };
        product.run(sink);
    }
}

/// `scale * down x`, which `up` reads.
fn lower(ctx: &Context, x: &Left<'_>, low: &LowRank<'_>) -> Panels {
    let mut lowered = linear(ctx, *x, low.down, After::default());
    lowered.scale(low.scale);
    Panels::pack(ctx, &lowered, x.compute)
}

/// A linear layer: `activation(W x + bias + residual)`.
///
/// # Panics
/// If the shapes do not agree, here and below.
pub fn linear<'a, 'w>(
    ctx: &Context,
    x: impl Into<Left<'a>>,
    w: impl Into<Weights<'w>>,
    after: After<'_>,
) -> Planes {
    let (x, w) = (x.into(), w.into());
    let mut output = after.output(ctx, w.matrix.rows, x.positions);
    let target = output.target();
    x.run(ctx, w, 1, |rows, panel, sums| {
        let runs = segments(panel, x.positions, None);
        store(ctx.isa, sums, rows.len(), rows.start, &runs, target);
    });
    output.planes
}

/// `activation(W x + b)` as the operand of the next layer, for products of type `compute`.
pub fn linear_panels<'a, 'w>(
    ctx: &Context,
    x: impl Into<Left<'a>>,
    w: impl Into<Weights<'w>>,
    bias: Option<&[f32]>,
    activation: Activation,
    compute: Compute,
) -> Panels {
    let (x, w) = (x.into(), w.into());
    check_bias(w, bias);
    let mut out = x.operand(ctx, w.matrix.rows, compute);
    let panels = out.disjoint();
    x.run(ctx, w, 1, |rows, panel, sums| {
        let bias = bias.map(|b| &b[rows.clone()]);
        // SAFETY: rows of a task are whole tiles, so they are whole steps, and whole groups of steps where the layout has
        // groups; no other thread writes these rows of this panel.
        let out = unsafe { panels.channels(panel, rows) };
        store_panel(ctx.isa, sums, bias, activation, out);
    });
    converted(ctx, out, compute)
}

/// GEGLU: with `(value, gate)` the halves of `W x + b`, `value * gelu(gate)`, as the operand of the next layer, for
/// products of type `compute`.
pub fn linear_geglu<'a, 'w>(
    ctx: &Context,
    x: impl Into<Left<'a>>,
    w: impl Into<Weights<'w>>,
    bias: Option<&[f32]>,
    compute: Compute,
) -> Panels {
    let (x, w) = (x.into(), w.into());
    check_bias(w, bias);
    let half = w.matrix.rows / 2;
    let mut out = x.operand(ctx, half, compute);
    let panels = out.disjoint();
    x.run(ctx, w, 2, |rows, panel, sums| {
        let bias = bias.map(|b| (&b[rows.clone()], &b[half + rows.start..][..rows.len()]));
        // SAFETY: as in `linear_panels`.
        let out = unsafe { panels.channels(panel, rows) };
        store_geglu(ctx.isa, sums, bias, out);
    });
    converted(ctx, out, compute)
}

fn converted(ctx: &Context, panels: Panels, compute: Compute) -> Panels {
    if panels.compute == compute {
        panels
    } else {
        panels.convert(ctx, compute)
    }
}

fn check_bias(w: Weights<'_>, bias: Option<&[f32]>) {
    let fits = bias.is_none_or(|b| b.len() == w.matrix.rows);
    assert!(fits, "bias of a linear layer");
}

per_isa! {
/// Sums `[rows][PANEL]` as channels of a panel.
fn store_panel(isa, sums: &[f32], bias: Option<&[f32]>, act: Activation, out: PanelMut<'_>) {
    let mut out = out;
    let (per, rows) = (out.compute.per_step(), out.channels);
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    for s in 0..out.compute.steps(rows) {
        for i in 0..per {
            let r = s * per + i;
            if r == rows {
                numbers[i].fill(0.0);
                break;
            }
            let b = bias.map_or(0.0, |b| b[r]);
            for (v, c) in numbers[i].iter_mut().zip(&sums[r * PANEL..][..PANEL]) {
                *v = *c + b;
            }
            activate_inline::<LEVEL>(&mut numbers[i], act);
        }
        out.write::<LEVEL>(s, &numbers);
    }
}
}

per_isa! {
/// Sums `[value, gate][rows of the task][PANEL]` as channels of a panel.
fn store_geglu(isa, sums: &[f32], bias: Option<(&[f32], &[f32])>, out: PanelMut<'_>) {
    let mut out = out;
    let (per, rows) = (out.compute.per_step(), out.channels);
    let gates = &sums[sums.len() / 2..];
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    for s in 0..out.compute.steps(rows) {
        for i in 0..per {
            let r = s * per + i;
            if r == rows {
                numbers[i].fill(0.0);
                break;
            }
            let (bv, bg) = bias.map_or((0.0, 0.0), |(v, g)| (v[r], g[r]));
            let value = &sums[r * PANEL..][..PANEL];
            let gate = &gates[r * PANEL..][..PANEL];
            for ((o, v), g) in numbers[i].iter_mut().zip(value).zip(gate) {
                *o = (*v + bv) * gelu::<LEVEL>(*g + bg);
            }
        }
        out.write::<LEVEL>(s, &numbers);
    }
}
}

per_isa! {
fn dot(isa, a: &[f32], b: &[f32]) -> f32 {
    // Sixteen running sums, so that the additions do not wait for each other.
    let mut sums = [0f32; 16];
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for l in 0..16 {
            sums[l] += a[l] * b[l];
        }
    }
    let rest = a.len() / 16 * 16;
    let tail: f32 = a[rest..].iter().zip(&b[rest..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + tail
}
}

/// `activation(W x + b)` for one position: as fast as the weights can be read. Products are float32.
///
/// # Panics
/// If the shapes do not agree.
pub fn linear_vector<'w>(
    ctx: &Context,
    x: &[f32],
    w: impl Into<Weights<'w>>,
    bias: Option<&[f32]>,
    activation: Activation,
) -> Planes {
    let Weights { matrix, low_rank } = w.into();
    assert_eq!(x.len(), matrix.cols, "inputs of a linear layer");
    let lower = |low: &LowRank<'_>| {
        let mut lowered = linear_vector(ctx, x, low.down, None, Activation::Identity);
        lowered.scale(low.scale);
        lowered
    };
    let lowered: Vec<_> = low_rank.iter().map(lower).collect();
    let mut out = Planes::take(ctx, matrix.rows, 1);
    let chunks = out.data_mut().par_chunks_mut(64);
    chunks.enumerate().for_each(|(i, chunk)| {
        with_scratch(|[room, ..]| {
            for (j, o) in chunk.iter_mut().enumerate() {
                let r = i * 64 + j;
                let mut product = |x: &[f32], w: Matrix<'_>| {
                    let row = room.f32(w.cols);
                    w.widen(ctx.isa, r, 0..w.cols, row);
                    dot(ctx.isa, x, row)
                };
                *o = product(x, matrix) + bias.map_or(0.0, |b| b[r]);
                for (x, low) in lowered.iter().zip(low_rank) {
                    *o += product(x.data(), low.up);
                }
            }
        });
        activate(ctx.isa, chunk, activation);
    });
    out
}
