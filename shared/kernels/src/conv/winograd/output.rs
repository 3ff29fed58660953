//! From sums in the transformed domain to a map.

use super::blocks::Block;
use super::transform::{IN, Lanes, OUT, POINTS, a};
use crate::arch::{LANES, PANEL};
use crate::isa::{Isa, per_isa};
use crate::math::{Activation, activate_inline};
use crate::memory::Scratch;
use crate::product::Target;

/// Where the sums of a task lie: `[POINTS][rows][PANEL]`, with a gap that keeps the 36 numbers of a tile out of one set
/// of the cache.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    point: usize,
}

impl Layout {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            point: rows * PANEL + LANES,
        }
    }

    pub(super) fn len(self) -> usize {
        POINTS * self.point
    }

    pub(super) fn at(self, point: usize, row: usize) -> usize {
        point * self.point + row * PANEL
    }
}

/// The channel that results go to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) target: Target<'a>,
    pub(super) channel: usize,
    /// Height and width.
    pub(super) size: [usize; 2],
}

/// Transforms row `row` of the sums, and stores its pixels.
///
/// # Safety
/// No other thread may hold the block's pixels of this channel, and the map must be borrowed.
pub(super) unsafe fn transform(
    isa: Isa,
    sums: &[f32],
    layout: Layout,
    row: usize,
    block: &Block,
    place: Place<'_>,
    room: &mut Scratch,
) {
    let [height, width] = place.size;
    let pixels = room.f32(OUT * PANEL * OUT);
    let sums = &sums[layout.at(0, row)..];
    let Target {
        out,
        pitch,
        bias,
        add,
        activation,
    } = place.target;
    let bias = bias.map_or(0.0, |b| b[place.channel]);
    back(isa, sums, layout.point, block.tiles(), bias, pixels);
    let (top, left) = (block.top * OUT, block.left * OUT);
    let columns = (block.width * OUT).min(width - left);
    for y in 0..(block.height * OUT).min(height - top) {
        // Pixels of all rows of tiles lie behind each other.
        let start = y % OUT * PANEL + y / OUT * block.width;
        let from = &pixels[start * OUT..][..columns];
        let at = place.channel * pitch + (top + y) * width + left;
        // SAFETY: by the caller's word.
        let to = unsafe { out.range(at, columns) };
        finish(isa, from, add, activation, to);
    }
}

per_isa! {
/// `activation(from)`, or `activation(to + from)`.
fn finish(isa, from: &[f32], add: bool, activation: Activation, to: &mut [f32]) {
    if add {
        for (o, v) in to.iter_mut().zip(from) {
            *o += *v;
        }
    } else {
        to.copy_from_slice(from);
    }
    activate_inline::<LEVEL>(to, activation);
}
}

per_isa! {
/// [`POINTS`] rows of sums, `stride` apart, to `[OUT][PANEL * OUT]`: rows of pixels.
fn back(isa, sums: &[f32], stride: usize, lanes: usize, bias: f32, out: &mut [f32]) {
    let mut columns = [0.0; OUT * LANES];
    for l in (0..lanes).step_by(LANES) {
        let mut half = [[Lanes::ZERO; IN]; OUT];
        for j in 0..IN {
            let mut v = [Lanes::ZERO; IN];
            for i in 0..IN {
                v[i] = Lanes::load(&sums[(i * IN + j) * stride + l..]);
            }
            let v = a(v);
            for i in 0..OUT {
                half[i][j] = v[i];
            }
        }
        for i in 0..OUT {
            let v = a(half[i]);
            for j in 0..OUT {
                (v[j] + bias).store(&mut columns[j * LANES..]);
            }
            let (c0, rest) = columns.split_at(LANES);
            let (c1, rest) = rest.split_at(LANES);
            let (c2, c3) = rest.split_at(LANES);
            mix(c0, c1, c2, c3, &mut out[i * PANEL * OUT + l * OUT..][..LANES * OUT]);
        }
    }
}
}

/// The pixels of sixteen tiles' rows, column by column, as they lie in a map.
#[inline(always)]
fn mix(c0: &[f32], c1: &[f32], c2: &[f32], c3: &[f32], out: &mut [f32]) {
    for (t, pixels) in out.chunks_exact_mut(OUT).enumerate() {
        pixels[0] = c0[t];
        pixels[1] = c1[t];
        pixels[2] = c2[t];
        pixels[3] = c3[t];
    }
}
