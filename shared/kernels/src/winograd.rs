//! 3x3 convolutions of large maps in float32 with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin
//! and Gray 2015, "Fast Algorithms for Convolutional Neural Networks").
//!
//! A map is cut into tiles of 4x4 results. The 6x6 inputs of a tile become 36 numbers, so do the 3x3 weights; a tile
//! costs 36 products a channel instead of 144, and 36 small matrix products do them all. Tiles lie side by side in
//! the vectors, 64 to a panel, as positions do everywhere else.

use crate::arch::{Aside, Compute, LANES, NR, PANEL, Tile, kernels};
use crate::buffer::{Buffer, Shared, with_scratch};
use crate::float::{Matrix, to_f32};
use crate::isa::per_isa;
use crate::value::{Context, Padded, Planes};
use rayon::prelude::*;

/// Side of a tile's results, and of its inputs.
const OUT: usize = 4;
const IN: usize = 6;
/// Numbers of a tile in the transformed domain.
const POINTS: usize = IN * IN;
/// Input channels multiplied at a time.
const BLOCK: usize = 128;
/// Output channels of a task whose sums stay in cache.
const ROWS: usize = 48;
/// Elements from the sums of one point to the next: not a multiple of the cache's own stride, so that the 36 numbers
/// of a tile do not fall into one set.
const SUMS_PITCH: usize = ROWS * PANEL + LANES;

/// Whether the savings outweigh the transforms.
pub(crate) fn pays(channels: usize, outputs: usize, height: usize, width: usize) -> bool {
    channels >= 32 && outputs >= 32 && height.div_ceil(OUT) * width.div_ceil(OUT) >= 48
}

/// `W * x + b` for a 3x3 convolution of stride 1, into a new map or added to `residual`. float32.
pub(crate) fn conv3x3(
    ctx: &Context,
    x: &Padded,
    w: Matrix<'_>,
    bias: Option<&[f32]>,
    residual: Option<Planes>,
) -> Planes {
    assert_eq!(x.compute, Compute::F32);
    let isa = ctx.isa;
    let (channels, outputs) = (x.channels, w.rows);
    let add = residual.is_some();
    let mut out = residual.unwrap_or_else(|| Planes::take(ctx, outputs, x.height * x.width));
    let pitch = out.pitch;
    let shared = Shared::new(out.data_mut());
    let weights = transform_weights(ctx, w, channels);
    let weights = weights.as_f32();
    let padded_rows = outputs.next_multiple_of(NR);
    let across = x.width.div_ceil(OUT);
    let count = x.height.div_ceil(OUT) * across;
    let panels = count.div_ceil(PANEL);
    // More tasks than panels where panels are few: the inputs are then transformed more than once.
    let split = (2 * rayon::current_num_threads())
        .div_ceil(panels)
        .min(outputs.div_ceil(ROWS));
    let share = outputs.div_ceil(split).next_multiple_of(NR);
    let offsets: Vec<u32> = (0..BLOCK).map(|s| (s * PANEL) as u32).collect();
    let kernels = kernels(isa, Compute::F32);
    // As with `SUMS_PITCH`.
    let point_pitch = channels * PANEL + LANES;
    (0..panels * split)
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let (panel, part) = (task / split, task % split);
            let first = panel * PANEL;
            let lanes = PANEL.min(count - first);
            let kernel = kernels.tiles[lanes.div_ceil(LANES) - 1];
            let place = Place {
                height: x.height,
                width: x.width,
                first,
                lanes,
                across,
                add,
            };
            with_scratch(|[inputs, sums, room, _]| {
                let inputs = inputs.f32(POINTS * point_pitch);
                let room = room.f32(POINTS * PANEL);
                for c in 0..channels {
                    gather(isa, x, c, first, lanes, across, room);
                    transform_input(isa, room, &mut inputs[c * PANEL..], point_pitch);
                }
                let sums = sums.f32(POINTS * SUMS_PITCH);
                let end = ((part + 1) * share).min(padded_rows);
                for row in (part * share..end).step_by(ROWS) {
                    let rows = ROWS.min(end - row);
                    for point in 0..POINTS {
                        for c in (0..channels).step_by(BLOCK) {
                            let steps = BLOCK.min(channels - c);
                            for r in (0..rows).step_by(NR) {
                                let w = &weights[(point * padded_rows + row + r) * channels + c..];
                                let w = &w[..(NR - 1) * channels + steps];
                                let tile = Tile {
                                    steps,
                                    a: inputs[point * point_pitch + c * PANEL..][..steps * PANEL]
                                        .as_ptr()
                                        .cast(),
                                    offsets: offsets.as_ptr(),
                                    a_stride: PANEL,
                                    a_vector: LANES,
                                    w: w.as_ptr().cast(),
                                    w_stride: channels,
                                    c: sums[point * SUMS_PITCH + r * PANEL..][..NR * PANEL]
                                        .as_mut_ptr(),
                                    accumulate: c > 0,
                                    aside: [Aside::NONE; 2],
                                };
                                // SAFETY: every slice above was cut to what the tile reads or writes.
                                unsafe { kernel(&tile) };
                            }
                        }
                    }
                    for r in 0..rows.min(outputs.saturating_sub(row)) {
                        let n = row + r;
                        let results = &mut room[..OUT * OUT * PANEL];
                        transform_output(
                            isa,
                            &sums[r * PANEL..],
                            SUMS_PITCH,
                            bias.map_or(0.0, |b| b[n]),
                            results,
                        );
                        // SAFETY: a task alone holds its tiles of these channels.
                        unsafe { scatter(results, shared, n * pitch, place) };
                    }
                }
            });
        });
    out
}

/// Weights in the transformed domain, `[POINTS][outputs rounded up to NR][channels]`.
fn transform_weights(ctx: &Context, w: Matrix<'_>, channels: usize) -> Buffer {
    let padded_rows = w.rows.next_multiple_of(NR);
    let mut out = ctx.pool.take(POINTS * padded_rows * channels);
    let shared = Shared::new(out.as_f32_mut());
    (0..padded_rows).into_par_iter().for_each(|row| {
        with_scratch(|[file, points, ..]| {
            let points = points.f32(POINTS * channels);
            if row < w.rows {
                let file = file.f32(w.cols);
                to_f32(ctx.isa, w.float, w.part(row, 0, w.cols), file);
                transform_weight_row(ctx.isa, file, points);
            } else {
                points.fill(0.0);
            }
            for (p, values) in points.chunks_exact(channels).enumerate() {
                // SAFETY: each row is written by one thread.
                unsafe { shared.range((p * padded_rows + row) * channels, channels) }
                    .copy_from_slice(values);
            }
        });
    });
    out
}

/// The rows of G times three numbers.
#[inline(always)]
fn g(a: [f32; 3]) -> [f32; IN] {
    let [x, y, z] = a;
    let (even, odd) = (-(x + z) / 6.0, y / 6.0);
    let (near, far) = (x / 24.0 + z / 6.0, y / 12.0);
    [x / 4.0, even - odd, even + odd, near + far, near - far, z]
}

per_isa! {
/// `[channels][9]` to `[POINTS][channels]`.
fn transform_weight_row(isa, file: &[f32], points: &mut [f32]) {
    let channels = file.len() / 9;
    for (c, w) in file.chunks_exact(9).enumerate() {
        let columns: [[f32; IN]; 3] = core::array::from_fn(|j| g([w[j], w[3 + j], w[6 + j]]));
        for i in 0..IN {
            let row = g([columns[0][i], columns[1][i], columns[2][i]]);
            for j in 0..IN {
                points[(i * IN + j) * channels + c] = row[j];
            }
        }
    }
}
}

/// Inputs of the tiles `first..` of one channel, `[IN][IN][PANEL]`. What lies outside the padded map is zero.
fn gather(
    isa: crate::Isa,
    x: &Padded,
    c: usize,
    first: usize,
    lanes: usize,
    across: usize,
    out: &mut [f32],
) {
    let row = x.width + 1;
    let plane = &x.data.as_f32()[c * x.pitch..][..=((x.height + 2) * row)];
    let mut done = 0;
    while done < lanes {
        let (ty, tx) = ((first + done) / across, (first + done) % across);
        let run = (across - tx).min(lanes - done);
        for i in 0..IN {
            let y = ty * OUT + i;
            // From the zero left of the first pixel to the zero right of the last.
            let line = if y < x.height + 2 {
                &plane[y * row..][tx * OUT..=row]
            } else {
                &[]
            };
            gather_line(isa, line, run, &mut out[i * IN * PANEL + done..]);
        }
        done += run;
    }
}

per_isa! {
/// Columns 0 to 5 of `run` tiles that lie side by side, each column `PANEL` apart.
fn gather_line(isa, line: &[f32], run: usize, out: &mut [f32]) {
    let whole = (line.len() / OUT).min(run);
    {
        let (c0, rest) = out.split_at_mut(PANEL);
        let (c1, rest) = rest.split_at_mut(PANEL);
        let (c2, rest) = rest.split_at_mut(PANEL);
        let c3 = &mut rest[..run];
        for (t, v) in line.chunks_exact(OUT).take(whole).enumerate() {
            c0[t] = v[0];
            c1[t] = v[1];
            c2[t] = v[2];
            c3[t] = v[3];
        }
    }
    for t in whole..run {
        for k in 0..OUT {
            out[k * PANEL + t] = line.get(t * OUT + k).copied().unwrap_or(0.0);
        }
    }
    // The last two columns are the first two of the right neighbour.
    for k in 0..IN - OUT {
        let (from, to) = (k * PANEL, (OUT + k) * PANEL);
        out.copy_within(from + 1..from + run, to);
        out[to + run - 1] = line.get(run * OUT + k).copied().unwrap_or(0.0);
    }
}
}

/// The rows of the transposed B times six vectors.
#[inline(always)]
fn b(x: [f32; IN]) -> [f32; IN] {
    let near = x[4] - 4.0 * x[2];
    let odd = x[3] - 4.0 * x[1];
    let far = x[4] - x[2];
    let two = 2.0 * (x[3] - x[1]);
    [
        4.0 * x[0] - 5.0 * x[2] + x[4],
        near + odd,
        near - odd,
        far + two,
        far - two,
        4.0 * x[1] - 5.0 * x[3] + x[5],
    ]
}

/// The rows of the transposed A times six numbers.
#[inline(always)]
fn a(x: [f32; IN]) -> [f32; OUT] {
    let (near, near_odd) = (x[1] + x[2], x[1] - x[2]);
    let (far, far_odd) = (x[3] + x[4], x[3] - x[4]);
    [
        x[0] + near + far,
        near_odd + 2.0 * far_odd,
        near + 4.0 * far,
        near_odd + 8.0 * far_odd + x[5],
    ]
}

per_isa! {
/// `[IN][IN][PANEL]` to `POINTS` vectors, `stride` apart.
fn transform_input(isa, x: &mut [f32], out: &mut [f32], stride: usize) {
    for l in (0..PANEL).step_by(LANES) {
        // Down the columns in place, then along the rows.
        for j in 0..IN {
            let v: [[f32; LANES]; IN] = core::array::from_fn(|i| lanes_at(x, (i * IN + j) * PANEL + l));
            for t in 0..LANES {
                let y = b(core::array::from_fn(|i| v[i][t]));
                for i in 0..IN {
                    x[(i * IN + j) * PANEL + l + t] = y[i];
                }
            }
        }
        for i in 0..IN {
            let v: [[f32; LANES]; IN] = core::array::from_fn(|j| lanes_at(x, (i * IN + j) * PANEL + l));
            for t in 0..LANES {
                let y = b(core::array::from_fn(|j| v[j][t]));
                for j in 0..IN {
                    out[(i * IN + j) * stride + l + t] = y[j];
                }
            }
        }
    }
}
}

#[inline(always)]
fn lanes_at(x: &[f32], at: usize) -> [f32; LANES] {
    x[at..at + LANES].try_into().expect("as long as a vector")
}

per_isa! {
/// `POINTS` vectors of sums, `stride` apart, to `[OUT][PANEL * OUT]`: rows of pixels.
fn transform_output(isa, sums: &[f32], stride: usize, bias: f32, out: &mut [f32]) {
    for l in (0..PANEL).step_by(LANES) {
        let mut half = [[[0f32; LANES]; IN]; OUT];
        for j in 0..IN {
            let v: [[f32; LANES]; IN] = core::array::from_fn(|i| lanes_at(sums, (i * IN + j) * stride + l));
            for t in 0..LANES {
                let y = a(core::array::from_fn(|i| v[i][t]));
                for i in 0..OUT {
                    half[i][j][t] = y[i];
                }
            }
        }
        for i in 0..OUT {
            let pixels = &mut out[i * PANEL * OUT + l * OUT..][..LANES * OUT];
            for t in 0..LANES {
                let y = a(core::array::from_fn(|j| half[i][j][t]));
                for j in 0..OUT {
                    pixels[t * OUT + j] = y[j] + bias;
                }
            }
        }
    }
}
}

/// Where the pixels of a task's tiles go.
#[derive(Clone, Copy)]
struct Place {
    height: usize,
    width: usize,
    /// First tile and number of tiles.
    first: usize,
    lanes: usize,
    across: usize,
    add: bool,
}

/// Stores rows of pixels into the channel that starts at `start`.
///
/// # Safety
/// No other thread may hold these pixels.
unsafe fn scatter(pixels: &[f32], out: Shared<f32>, start: usize, place: Place) {
    let mut done = 0;
    while done < place.lanes {
        let (ty, tx) = (
            (place.first + done) / place.across,
            (place.first + done) % place.across,
        );
        let run = (place.across - tx).min(place.lanes - done);
        let columns = (run * OUT).min(place.width - tx * OUT);
        for i in 0..OUT.min(place.height - ty * OUT) {
            let from = &pixels[(i * PANEL + done) * OUT..][..columns];
            // SAFETY: by the caller's word.
            let to = unsafe { out.range(start + (ty * OUT + i) * place.width + tx * OUT, columns) };
            if place.add {
                for (o, v) in to.iter_mut().zip(from) {
                    *o += *v;
                }
            } else {
                to.copy_from_slice(from);
            }
        }
        done += run;
    }
}
