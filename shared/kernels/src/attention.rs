//! Attention without a score matrix: a panel of queries at a time goes over blocks of keys, with a running maximum
//! and sum (online softmax, Milakov and Gimelshein 2018). Scores lie `[key][query]`, so every step of the softmax
//! works on sixteen queries at once.

use crate::arch::{Aside, Compute, Fetch, Kernels, LANES, PANEL, Tile, kernels};
use crate::context::Context;
use crate::isa::per_isa;
use crate::math::exp;
use crate::memory::{Buffer, Shared, with_scratch};
use crate::product::offsets;
use crate::value::{Layout, Panels, Planes, panel_range, write_step};
use crate::weight::{pair, pairs};
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
    /// Packs keys and values, each `heads` times `width` channels.
    ///
    /// # Panics
    /// If the shapes do not agree.
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
        let (width, tokens, isa) = (keys.channels / heads, keys.positions, ctx.isa);
        let kernels = kernels(isa, compute);
        let steps = compute.steps(width);
        let rows = tokens.next_multiple_of(key_unit(&kernels, compute));
        let mut packed_keys = ctx.pool.take(heads * rows * steps);
        packed_keys
            .as_u32_mut()
            .par_chunks_mut(rows * steps)
            .enumerate()
            .for_each(|(h, out)| {
                pack_keys(
                    isa,
                    &keys.data()[h * width * keys.pitch..],
                    keys.pitch,
                    tokens,
                    width,
                    out,
                    compute,
                );
            });
        let steps = compute.steps(rows);
        let value_rows = width.next_multiple_of(kernels.rows);
        let mut packed_values = ctx.pool.take(heads * value_rows * steps);
        packed_values
            .as_u32_mut()
            .par_chunks_mut(value_rows * steps)
            .enumerate()
            .for_each(|(h, out)| {
                for (i, row) in out.chunks_exact_mut(steps).enumerate() {
                    if i < width {
                        pack_row(isa, values.row(h * width + i), row, compute);
                    } else {
                        row.fill(0);
                    }
                }
            });
        Self {
            keys: packed_keys,
            values: packed_values,
            heads,
            width,
            tokens,
            key_rows: rows,
            value_rows,
            compute,
        }
    }
}

per_isa! {
/// `[width][token]` to `[token][width]`, zeros in the rows past the last token.
fn pack_keys(isa, x: &[f32], pitch: usize, tokens: usize, width: usize, out: &mut [u32], compute: Compute) {
    let per = compute.per_step();
    let steps = compute.steps(width);
    out[tokens * steps..].fill(0);
    for s in 0..steps {
        let low = &x[s * per * pitch..][..tokens];
        match compute {
            Compute::F32 => {
                for t in 0..tokens {
                    out[t * steps + s] = low[t].to_bits();
                }
            }
            Compute::Bf16 => {
                if s * per + 1 < width {
                    let high = &x[(s * per + 1) * pitch..][..tokens];
                    for t in 0..tokens {
                        out[t * steps + s] = pair(low[t], high[t]);
                    }
                } else {
                    for t in 0..tokens {
                        out[t * steps + s] = pair(low[t], 0.0);
                    }
                }
            }
        }
    }
}
}

per_isa! {
fn pack_row(isa, x: &[f32], out: &mut [u32], compute: Compute) {
    let used = compute.steps(x.len());
    match compute {
        Compute::F32 => {
            for (d, s) in out.iter_mut().zip(x) {
                *d = s.to_bits();
            }
        }
        Compute::Bf16 => {
            for (d, s) in out.iter_mut().zip(x.chunks_exact(2)) {
                *d = pair(s[0], s[1]);
            }
            if x.len() % 2 == 1 {
                out[used - 1] = pair(x[x.len() - 1], 0.0);
            }
        }
    }
    out[used..].fill(0);
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
    let compute = kv.compute;
    // A head's channels have to start at a step.
    assert!(
        kv.width.is_multiple_of(compute.per_step()),
        "an odd head width has no bfloat16 path"
    );
    let (isa, width) = (ctx.isa, kv.width);
    let mut out = Panels::take(ctx, queries.channels, queries.positions, compute);
    if !compute.steps(width).is_multiple_of(Layout::GROUP) {
        out.layout = Layout::Rows; // so that a head's steps follow each other
    }
    let (panels, out_steps, layout) = (out.panels(), out.steps(), out.layout);
    let shared = Shared::new(out.data.as_u32_mut());
    let steps = compute.steps(width);
    let (key_rows, value_rows) = (kv.key_rows, kv.value_rows);
    let value_steps = compute.steps(key_rows);
    let kernels = kernels(isa, compute);
    let unit = key_unit(&kernels, compute);
    let tiles = (0..steps.max(compute.steps(KEYS))).step_by(kernels.steps);
    let offsets = offsets(ctx, tiles.len(), tiles.map(|s| s * PANEL));
    let offsets = offsets.as_u32();
    let scale = 1.0 / (width as f32).sqrt();
    (0..kv.heads * panels)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let (head, panel) = (task / panels, task % panels);
            let Range { start, end } = panel_range(queries.positions, panel);
            let len = end - start;
            let kernel = kernels.tiles[len.div_ceil(LANES) - 1];
            kernels.prepare_thread();
            // SAFETY: one task a head and panel, so nobody else writes these steps.
            let dst =
                unsafe { shared.range((panel * out_steps + head * steps) * PANEL, steps * PANEL) };
            with_scratch(|[q, scores, probabilities, sums]| {
                let q = q.u32(steps * PANEL);
                let scores = scores.f32(KEYS * PANEL);
                let probabilities = probabilities.u32(compute.steps(KEYS) * PANEL);
                let sums = sums.f32(value_rows * PANEL);
                pack_query(
                    isa,
                    &queries.data()[head * width * queries.pitch..],
                    queries.pitch,
                    start,
                    len,
                    scale,
                    q,
                    compute,
                );
                let mut state = Softmax {
                    max: [f32::NEG_INFINITY; PANEL],
                    total: [0.0; PANEL],
                };
                let seen = if causal {
                    kv.tokens.min(start + len)
                } else {
                    kv.tokens
                };
                for block in (0..seen).step_by(KEYS) {
                    let keys = KEYS.min(seen - block);
                    let rows = keys.next_multiple_of(unit);
                    for r in (0..rows).step_by(kernels.rows) {
                        let w = &kv.keys.as_u32()[(head * key_rows + block + r) * steps..]
                            [..kernels.rows * steps];
                        let tile = Tile {
                            steps,
                            a: q.as_ptr(),
                            offsets: offsets.as_ptr(),
                            a_stride: PANEL,
                            a_vector: LANES,
                            w: w.as_ptr(),
                            w_stride: steps,
                            c: scores[r * PANEL..][..kernels.rows * PANEL].as_mut_ptr(),
                            accumulate: false,
                            aside: [Aside::NONE; 2],
                            fetch: [Fetch::NONE; 2],
                        };
                        // SAFETY: `q` holds `steps` steps of a panel, `w` and `c` were sliced to size, and the thread
                        // is prepared.
                        unsafe { kernel(&tile) };
                    }
                    let diagonal = causal.then(|| start as isize - block as isize);
                    let block_steps = compute.steps(rows);
                    let probabilities = &mut probabilities[..block_steps * PANEL];
                    softmax_block(
                        isa,
                        scores,
                        keys,
                        diagonal,
                        &mut state,
                        sums,
                        block == 0,
                        probabilities,
                        compute,
                    );
                    for r in (0..value_rows).step_by(kernels.rows) {
                        let first = (head * value_rows + r) * value_steps + compute.steps(block);
                        let w = &kv.values.as_u32()[first..]
                            [..(kernels.rows - 1) * value_steps + block_steps];
                        let tile = Tile {
                            steps: block_steps,
                            a: probabilities.as_ptr(),
                            offsets: offsets.as_ptr(),
                            a_stride: PANEL,
                            a_vector: LANES,
                            w: w.as_ptr(),
                            w_stride: value_steps,
                            c: sums[r * PANEL..][..kernels.rows * PANEL].as_mut_ptr(),
                            accumulate: block > 0,
                            aside: [Aside::NONE; 2],
                            fetch: [Fetch::NONE; 2],
                        };
                        // SAFETY: `probabilities` holds `block_steps` steps of a panel, `w` and `c` were sliced to
                        // size, and the thread is prepared.
                        unsafe { kernel(&tile) };
                    }
                }
                finish(isa, sums, width, &state, dst, layout, compute);
            });
        });
    out
}

struct Softmax {
    max: [f32; PANEL],
    total: [f32; PANEL],
}

per_isa! {
fn pack_query(isa, x: &[f32], pitch: usize, start: usize, len: usize, scale: f32, out: &mut [u32], compute: Compute) {
    let per = compute.per_step();
    for (s, dst) in out.chunks_exact_mut(PANEL).enumerate() {
        let low = &x[s * per * pitch + start..][..len];
        match compute {
            Compute::F32 => {
                for (d, a) in dst.iter_mut().zip(low) {
                    *d = (*a * scale).to_bits();
                }
            }
            Compute::Bf16 => {
                let high = &x[(s * per + 1) * pitch + start..][..len];
                for ((d, a), b) in dst.iter_mut().zip(low).zip(high) {
                    *d = pair(*a * scale, *b * scale);
                }
            }
        }
        dst[len..].fill(0);
    }
}
}

per_isa! {
/// One block of scores becomes weights of the values; what was summed before is brought to the new maximum.
/// `diagonal`: position l may see keys up to `l + diagonal` of this block.
fn softmax_block(
    isa, scores: &mut [f32], keys: usize, diagonal: Option<isize>, state: &mut Softmax, sums: &mut [f32],
    first: bool, out: &mut [u32], compute: Compute,
) {
    let mut max = state.max;
    for (j, row) in scores.chunks_exact_mut(PANEL).take(keys).enumerate() {
        let row: &mut [f32; PANEL] = row.try_into().expect("a row of a panel");
        if let Some(diagonal) = diagonal {
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
    if !first && larger {
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
    for (s, dst) in out.chunks_exact_mut(PANEL).enumerate() {
        let mut values = [[0f32; PANEL]; 2];
        for i in 0..per {
            let j = s * per + i;
            if j < keys {
                let row: &[f32; PANEL] = scores[j * PANEL..][..PANEL].try_into().expect("a row of a panel");
                for l in 0..PANEL {
                    // `exp` does not reach zero, which a hidden key needs.
                    let e = exp::<LEVEL>(row[l] - max[l]);
                    values[i][l] = if row[l] == f32::NEG_INFINITY { 0.0 } else { e };
                    state.total[l] += values[i][l];
                }
            }
        }
        match compute {
            Compute::F32 => {
                for l in 0..PANEL {
                    dst[l] = values[0][l].to_bits();
                }
            }
            Compute::Bf16 => {
                for l in (0..PANEL).step_by(LANES) {
                    pairs::<LEVEL>(&values[0][l..], &values[1][l..], &mut dst[l..l + LANES]);
                }
            }
        }
    }
}
}

per_isa! {
fn finish(isa, sums: &[f32], width: usize, state: &Softmax, dst: &mut [u32], layout: Layout, compute: Compute) {
    let mut inverse = [0f32; PANEL];
    for l in 0..PANEL {
        inverse[l] = 1.0 / state.total[l];
    }
    let per = compute.per_step();
    let mut values = [[0f32; PANEL]; 2];
    for s in 0..width / per {
        for i in 0..per {
            let row = &sums[(s * per + i) * PANEL..][..PANEL];
            for l in 0..PANEL {
                values[i][l] = row[l] * inverse[l];
            }
        }
        write_step::<LEVEL>(compute, &values[0], &values[1], layout, s, dst);
    }
}
}
