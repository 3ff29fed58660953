//! Attention without a score matrix: a panel of queries at a time goes over blocks of keys, with a running maximum
//! and sum (online softmax, Milakov and Gimelshein 2018). Scores lie `[key][query]`, so every step of the softmax
//! works on sixteen queries at once.

use crate::arch::{Compute, Kernels, LANES, PANEL, Positions, Tile, TileFn, kernels};
use crate::context::Context;
use crate::isa::per_isa;
use crate::math::exp;
use crate::memory::{Buffer, with_scratch};
use crate::product::offsets;
use crate::step::{MOST, StepWriter};
use crate::value::{Numbers, PanelMut, Panels, Planes, View, panel_range};
use rayon::prelude::*;
use std::ops::Range;

/// Keys in a block at most, a multiple of every kernel's rows and steps.
const KEYS: usize = 192;

/// Keys and values of every head, packed for the product kernels.
#[derive(Debug)]
pub struct KeysValues {
    /// `[head][key][steps of the head's width]`.
    keys: Buffer,
    /// `[head][width][steps of all keys]`.
    values: Buffer,
    heads: usize,
    /// Channels of a head.
    width: usize,
    tokens: usize,
    /// Tokens and width, rounded up to what a tile takes.
    key_rows: usize,
    value_rows: usize,
    compute: Compute,
}

/// Keys that a block is rounded up to: whole tiles of rows for the scores, and whole steps for the values.
fn key_unit(kernels: &Kernels, compute: Compute) -> usize {
    kernels.rows.max(kernels.steps * compute.per_step())
}

impl KeysValues {
    /// Packs keys and values, each `heads` times `width` channels, for products of floats.
    ///
    /// # Panics
    /// If the shapes do not agree, or `compute` is int8.
    pub fn pack(
        ctx: &Context,
        keys: &Planes,
        values: &Planes,
        heads: usize,
        compute: Compute,
    ) -> Self {
        assert!(
            keys.channels == values.channels
                && keys.positions == values.positions
                && keys.channels.is_multiple_of(heads)
        );
        assert!(
            compute != Compute::Int8,
            "attention has no products of int8"
        );
        let (width, tokens, isa) = (keys.channels / heads, keys.positions, ctx.isa);
        let kernels = kernels(isa, compute);
        let steps = compute.steps(width);
        let key_rows = tokens.next_multiple_of(key_unit(&kernels, compute));
        let mut packed_keys = ctx.pool.take(heads * key_rows * steps);
        packed_keys
            .as_u32_mut()
            .par_chunks_mut(key_rows * steps)
            .enumerate()
            .for_each(|(h, out)| {
                let channels = h * width..(h + 1) * width;
                pack_keys(isa, keys.view(channels, 0..tokens), out, compute);
            });
        let steps = compute.steps(key_rows);
        let value_rows = width.next_multiple_of(kernels.rows);
        let mut packed_values = ctx.pool.take(heads * value_rows * steps);
        packed_values
            .as_u32_mut()
            .par_chunks_mut(value_rows * steps)
            .enumerate()
            .for_each(|(h, out)| {
                let channels = h * width..(h + 1) * width;
                pack_values(isa, values.view(channels, 0..tokens), out, steps, compute);
            });
        Self {
            keys: packed_keys,
            values: packed_values,
            heads,
            width,
            tokens,
            key_rows,
            value_rows,
            compute,
        }
    }
}

per_isa! {
/// `[width][token]` to `[token][steps]`, zeros in the rows past the last token.
fn pack_keys(isa, x: View<'_>, out: &mut [u32], compute: Compute) {
    let (per, width) = (compute.per_step(), x.channels);
    let steps = compute.steps(width);
    let zeros = [0f32; PANEL];
    let mut column = [0u32; PANEL];
    out[x.positions * steps..].fill(0);
    for s in 0..steps {
        for start in (0..x.positions).step_by(PANEL) {
            let end = x.positions.min(start + PANEL);
            let mut rows = [&zeros[..end - start]; MOST];
            for i in 0..per.min(width - s * per) {
                rows[i] = &x.row(s * per + i)[start..end];
            }
            let column = &mut column[..end - start];
            StepWriter::<LEVEL>(compute).across(rows, column);
            for (t, step) in column.iter().enumerate() {
                out[(start + t) * steps + s] = *step;
            }
        }
    }
}
}

per_isa! {
/// `[width][token]` to `[width][steps]`, zeros in the rows past the last channel.
fn pack_values(isa, x: View<'_>, out: &mut [u32], steps: usize, compute: Compute) {
    for (c, row) in out.chunks_exact_mut(steps).enumerate() {
        if c < x.channels {
            StepWriter::<LEVEL>(compute).along(x.row(c), row);
        } else {
            row.fill(0);
        }
    }
}
}

/// `softmax(q k^T / sqrt(width)) v` for each head, as the operand of the layer that follows. With `causal`, position i
/// sees keys 0 to i only.
///
/// # Panics
/// If the shapes do not agree.
pub fn attention(ctx: &Context, queries: &Planes, kv: &KeysValues, causal: bool) -> Panels {
    assert_eq!(
        queries.channels,
        kv.heads * kv.width,
        "channels of the queries"
    );
    let (isa, width, compute) = (ctx.isa, kv.width, kv.compute);
    // A head's channels have to start at a step.
    assert!(
        width.is_multiple_of(compute.per_step()),
        "an odd head width has no bfloat16 path"
    );
    let mut out = Panels::take(ctx, queries.channels, queries.positions, compute);
    let steps = compute.steps(width);
    // A head's steps follow each other.
    out.layout = out.layout.for_steps(steps);
    let panels = out.panels();
    let results = out.disjoint();
    let kernels = kernels(isa, compute);
    let tiles = (0..steps.max(compute.steps(KEYS))).step_by(kernels.steps);
    let offsets = offsets(ctx, tiles.len(), tiles.map(|s| s * PANEL));
    (0..kv.heads * panels)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let (index, panel) = (task / panels, task % panels);
            let positions = panel_range(queries.positions, panel);
            let Range { start, end } = positions;
            let channels = index * width..(index + 1) * width;
            let head = Head {
                kv,
                index,
                kernels: &kernels,
                kernel: kernels.tiles[positions.len().div_ceil(LANES) - 1],
                offsets: offsets.as_u32(),
            };
            kernels.prepare_thread();
            // SAFETY: a head's channels begin with a step, and with a group where the layout has groups; one task has this
            // head and panel.
            let result = unsafe { results.channels(panel, channels.clone()) };
            with_scratch(|[q, scores, probabilities, sums]| {
                let q = q.u32(steps * PANEL);
                let scores = scores.f32(KEYS * PANEL);
                let probabilities = probabilities.u32(compute.steps(KEYS) * PANEL);
                let sums = sums.f32(kv.value_rows * PANEL);
                pack_query(isa, queries.view(channels, positions), q, compute);
                let mut state = Softmax::new();
                let seen = if causal {
                    kv.tokens.min(end)
                } else {
                    kv.tokens
                };
                for first in (0..seen).step_by(KEYS) {
                    let block = Block {
                        first,
                        keys: KEYS.min(seen - first),
                        diagonal: causal.then(|| start as isize - first as isize),
                    };
                    let rows = block.keys.next_multiple_of(key_unit(&kernels, compute));
                    let probabilities = &mut probabilities[..compute.steps(rows) * PANEL];
                    head.scores(first, q, &mut scores[..rows * PANEL]);
                    softmax_block(isa, scores, block, &mut state, sums, probabilities, compute);
                    head.values(first, probabilities, sums);
                }
                finish(isa, sums, &state, result);
            });
        });
    out
}

/// A block of keys.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    keys: usize,
    /// Position l sees keys up to `l + diagonal` of this block.
    diagonal: Option<isize>,
}

/// One head, for one panel of queries.
struct Head<'a> {
    kv: &'a KeysValues,
    index: usize,
    kernels: &'a Kernels,
    /// For as many vectors as the panel has.
    kernel: TileFn,
    offsets: &'a [u32],
}

impl Head<'_> {
    /// `scores [keys][PANEL]` of the queries, for as many keys from `first` on.
    fn scores(&self, first: usize, queries: &[u32], scores: &mut [f32]) {
        let steps = self.kv.compute.steps(self.kv.width);
        let keys = &self.kv.keys.as_u32()[(self.index * self.kv.key_rows + first) * steps..];
        self.multiply(steps, queries, keys, steps, scores, false);
    }

    /// Adds the values from token `first` on, weighted by `probabilities [steps of tokens][PANEL]`, to
    /// `sums [width][PANEL]`.
    fn values(&self, first: usize, probabilities: &[u32], sums: &mut [f32]) {
        let pitch = self.kv.compute.steps(self.kv.key_rows);
        let start = self.index * self.kv.value_rows * pitch + self.kv.compute.steps(first);
        let values = &self.kv.values.as_u32()[start..];
        let steps = probabilities.len() / PANEL;
        self.multiply(steps, probabilities, values, pitch, sums, first > 0);
    }

    /// `sums [rows][PANEL]` of `steps` steps of a panel, with rows of weights that lie `pitch` apart.
    fn multiply(
        &self,
        steps: usize,
        panel: &[u32],
        weights: &[u32],
        pitch: usize,
        sums: &mut [f32],
        accumulate: bool,
    ) {
        let panel = &panel[..steps * PANEL];
        let rows = self.kernels.rows;
        for (i, sums) in sums.chunks_exact_mut(rows * PANEL).enumerate() {
            let tile = Tile::new(
                steps,
                Positions::rows(panel, self.offsets),
                &weights[i * rows * pitch..],
                pitch,
                sums,
                accumulate,
            );
            // SAFETY:
            // - `panel` was cut to its steps, and `offsets` are those of the longest panel;
            // - `Tile::new` checked weights and sums;
            // - `kernels` checked the instruction set, and the thread is prepared.
            unsafe { (self.kernel)(&tile) };
        }
    }
}

/// The largest score that each position has met, and the sum of what its keys weigh beside that one.
struct Softmax {
    max: [f32; PANEL],
    total: [f32; PANEL],
}

impl Softmax {
    fn new() -> Self {
        Self {
            max: [f32::NEG_INFINITY; PANEL],
            total: [0.0; PANEL],
        }
    }
}

per_isa! {
/// Queries, scaled by `1 / sqrt(width)`, as `[steps][PANEL]`.
fn pack_query(isa, x: View<'_>, out: &mut [u32], compute: Compute) {
    let per = compute.per_step();
    let scale = 1.0 / (x.channels as f32).sqrt();
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    for (s, out) in out.chunks_exact_mut(PANEL).enumerate() {
        for i in 0..per {
            for (number, v) in numbers[i].iter_mut().zip(x.row(s * per + i)) {
                *number = *v * scale;
            }
        }
        write_rows::<LEVEL>(compute, &numbers, out);
    }
}
}

/// A step of a panel whose steps lie in rows.
#[inline(always)]
fn write_rows<const LEVEL: u8>(compute: Compute, numbers: &Numbers, out: &mut [u32]) {
    let mut rows: [&[f32]; MOST] = [&[]; MOST];
    for i in 0..MOST {
        rows[i] = &numbers[i];
    }
    StepWriter::<LEVEL>(compute).across(rows, &mut out[..PANEL]);
}

per_isa! {
/// One block of scores becomes weights of the values; what was summed before is brought to the new maximum.
fn softmax_block(
    isa, scores: &mut [f32], block: Block, state: &mut Softmax, sums: &mut [f32], out: &mut [u32], compute: Compute,
) {
    let mut max = state.max;
    for (j, row) in scores.chunks_exact_mut(PANEL).take(block.keys).enumerate() {
        let row: &mut [f32; PANEL] = row.try_into().expect("a row of a panel");
        if let Some(diagonal) = block.diagonal {
            for (l, v) in row.iter_mut().enumerate() {
                if j as isize > l as isize + diagonal {
                    *v = f32::NEG_INFINITY;
                }
            }
        }
        for l in 0..PANEL {
            max[l] = if row[l] > max[l] { row[l] } else { max[l] };
        }
    }
    // A position that has seen no key yet (only past the end of the queries) keeps a finite maximum.
    for m in &mut max {
        *m = if *m < -1e30 { -1e30 } else { *m };
    }
    // Once the largest score was met, nothing has to shrink.
    let larger = max.iter().zip(&state.max).any(|(new, old)| new > old);
    if block.first > 0 && larger {
        let mut shrink = [0f32; PANEL];
        for l in 0..PANEL {
            shrink[l] = exp::<LEVEL>(state.max[l] - max[l]);
            state.total[l] *= shrink[l];
        }
        for row in sums.chunks_exact_mut(PANEL) {
            for l in 0..PANEL {
                row[l] *= shrink[l];
            }
        }
    }
    state.max = max;
    let per = compute.per_step();
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    for (s, out) in out.chunks_exact_mut(PANEL).enumerate() {
        for i in 0..per {
            let j = s * per + i;
            if j >= block.keys {
                numbers[i].fill(0.0);
            } else {
                let row: &[f32; PANEL] = scores[j * PANEL..][..PANEL].try_into().expect("a row of a panel");
                for l in 0..PANEL {
                    // `exp` does not reach zero, which a hidden key needs.
                    let e = exp::<LEVEL>(row[l] - max[l]);
                    numbers[i][l] = if row[l] == f32::NEG_INFINITY { 0.0 } else { e };
                    state.total[l] += numbers[i][l];
                }
            }
        }
        write_rows::<LEVEL>(compute, &numbers, out);
    }
}
}

per_isa! {
/// Sums `[width][PANEL]`, divided by what the keys weigh together, as channels of the result.
fn finish(isa, sums: &[f32], state: &Softmax, out: PanelMut<'_>) {
    let mut out = out;
    let mut inverse = [0f32; PANEL];
    for l in 0..PANEL {
        inverse[l] = 1.0 / state.total[l];
    }
    let per = out.compute.per_step();
    let mut numbers: Numbers = [[0.0; PANEL]; MOST];
    for s in 0..out.channels / per {
        for i in 0..per {
            let row = &sums[(s * per + i) * PANEL..][..PANEL];
            for l in 0..PANEL {
                numbers[i][l] = row[l] * inverse[l];
            }
        }
        out.write::<LEVEL>(s, &numbers);
    }
}
}
