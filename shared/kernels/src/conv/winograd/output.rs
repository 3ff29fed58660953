//! From sums in the transformed domain to a map.

use super::rectangles::Rectangle;
use super::strides::Strides;
use super::transform::{IN, Lanes, OUT, a};
use crate::arch::{LANES, PANEL};
use crate::isa::{Isa, per_isa};
use crate::math::{Activation, activate_inline};
use crate::memory::Scratch;
use crate::product::Target;

/// The channel of a map that results go to.
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
/// No other thread may hold the rectangle's pixels of this channel, and the map must be borrowed.
pub(super) unsafe fn transform(
    isa: Isa,
    sums: &[f32],
    strides: Strides,
    row: usize,
    rectangle: &Rectangle,
    place: Place<'_>,
    room: &mut Scratch,
) {
    let [height, width] = place.size;
    let pixels = room.f32(OUT * PANEL * OUT);
    let sums = &sums[strides.at(0, row)..];
    let Target {
        out,
        pitch,
        bias,
        add,
        activation,
    } = place.target;
    let bias = bias.map_or(0.0, |b| b[place.channel]);
    back(isa, sums, strides.point, rectangle.tiles(), bias, pixels);
    let (top, left) = (rectangle.top * OUT, rectangle.left * OUT);
    let columns = (rectangle.width * OUT).min(width - left);
    for y in 0..(rectangle.height * OUT).min(height - top) {
        // Pixels of all rows of tiles lie behind each other.
        let start = y % OUT * PANEL + y / OUT * rectangle.width;
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
/// `IN * IN` rows of sums, `stride` apart, to `[OUT][PANEL * OUT]`: rows of pixels.
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

/// Mixes four columns of sixteen tiles into a row of pixels as it lies in a map.
#[inline(always)]
fn mix(c0: &[f32], c1: &[f32], c2: &[f32], c3: &[f32], out: &mut [f32]) {
    for (t, pixels) in out.chunks_exact_mut(OUT).enumerate() {
        pixels[0] = c0[t];
        pixels[1] = c1[t];
        pixels[2] = c2[t];
        pixels[3] = c3[t];
    }
}
