//! Steps: how numbers become the four bytes of the inner dimension that a tile kernel takes at a time.
//!
//! A step holds one float32, two bfloat16, or four int8. [`StepWriter`] alone knows how, and writes all of them: operands,
//! weights, keys and probabilities.

use crate::arch::{Compute, LANES};
#[cfg(target_arch = "x86_64")]
use crate::isa::BF16;

/// Numbers in a step at most.
pub(crate) const MOST: usize = 4;

/// Writes steps of one type.
#[derive(Clone, Copy)]
pub(crate) struct StepWriter<const LEVEL: u8>(pub(crate) Compute);

impl<const LEVEL: u8> StepWriter<LEVEL> {
    /// One step of many positions, whose numbers lie in rows: the first of every position, then the second.
    ///
    /// Only as many rows are read as a step holds numbers. For int8 these are numbers from -127 to 127, which are rounded to
    /// whole ones, ties to even.
    #[inline(always)]
    pub(crate) fn across(self, numbers: [&[f32]; MOST], out: &mut [u32]) {
        match self.0 {
            Compute::F32 => {
                for (out, number) in out.iter_mut().zip(numbers[0]) {
                    *out = number.to_bits();
                }
            }
            Compute::Bf16 => {
                let (low, high) = (&numbers[0][..out.len()], &numbers[1][..out.len()]);
                let whole = out.len() / LANES * LANES;
                for at in (0..whole).step_by(LANES) {
                    pairs::<LEVEL>(&low[at..], &high[at..], &mut out[at..]);
                }
                for at in whole..out.len() {
                    out[at] = pair(low[at], high[at]);
                }
            }
            Compute::Int8 => {
                let [a, b, c, d] = numbers.map(|row| &row[..out.len()]);
                for at in 0..out.len() {
                    out[at] = quad([a[at], b[at], c[at], d[at]]);
                }
            }
        }
    }

    /// The steps of one row, whose numbers follow each other; what is left of the last step, and of `out`, becomes zero.
    #[inline(always)]
    pub(crate) fn along(self, row: &[f32], out: &mut [u32]) {
        let (used, rest) = out.split_at_mut(self.0.steps(row.len()));
        match self.0 {
            Compute::F32 => {
                for (out, number) in used.iter_mut().zip(row) {
                    *out = number.to_bits();
                }
            }
            #[cfg(target_arch = "x86_64")]
            Compute::Bf16 if LEVEL >= BF16 => crate::arch::f32_to_pairs(row, used),
            Compute::Bf16 => {
                for (out, numbers) in used.iter_mut().zip(row.chunks_exact(2)) {
                    *out = pair(numbers[0], numbers[1]);
                }
                if let [odd] = row.chunks_exact(2).remainder() {
                    used[row.len() / 2] = pair(*odd, 0.0);
                }
            }
            Compute::Int8 => {
                for (out, numbers) in used.iter_mut().zip(row.chunks(4)) {
                    let mut four = [0.0; 4];
                    four[..numbers.len()].copy_from_slice(numbers);
                    *out = quad(four);
                }
            }
        }
        rest.fill(0);
    }
}

/// A number that is added to another to leave the nearest whole one in its low bits, ties to even.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// The whole number that int8 makes of a number from -127 to 127.
#[inline(always)]
pub(crate) fn nearest(number: f32) -> i32 {
    (number + ROUND)
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .cast_signed()
}

/// Four whole numbers in one element, the first in the lowest byte.
#[inline(always)]
fn quad(numbers: [f32; 4]) -> u32 {
    let [a, b, c, d] = numbers.map(|v| (v + ROUND).to_bits() & 0xff);
    a | (b << 8) | (c << 16) | (d << 24)
}

/// Bits of the nearest bfloat16, ties to even. A NaN stays one.
#[inline(always)]
fn to_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() {
        (bits >> 16) | 0x40
    } else {
        rounded
    }
}

/// Two bfloat16 in one element, the first in the low half.
#[inline(always)]
fn pair(a: f32, b: f32) -> u32 {
    to_bf16(a) | (to_bf16(b) << 16)
}

/// [`LANES`] elements, as [`pair`] makes them.
#[inline(always)]
fn pairs<const LEVEL: u8>(a: &[f32], b: &[f32], out: &mut [u32]) {
    let (a, b, out) = (&a[..LANES], &b[..LANES], &mut out[..LANES]);
    #[cfg(target_arch = "x86_64")]
    if LEVEL >= BF16 {
        // SAFETY: a body of `per_isa!` has this level only where the CPU has AVX-512 BF16; the slices were cut to size.
        unsafe { crate::arch::pairs_16(a.as_ptr(), b.as_ptr(), out.as_mut_ptr()) };
        return;
    }
    for l in 0..LANES {
        out[l] = pair(a[l], b[l]);
    }
}
