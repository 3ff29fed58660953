//! Weights as the file holds them, and their way into the type of the products.

use crate::arch::{Compute, LANES};
#[cfg(target_arch = "x86_64")]
use crate::isa::BF16;
use crate::isa::{Isa, per_isa};

/// How a number is stored in a file, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
}

impl Float {
    /// Bytes a number takes.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// A matrix `[rows, cols]` in a file's own bytes, row by row; used where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// `rows * cols` numbers, not necessarily aligned.
    pub bytes: &'a [u8],
    /// What they are.
    pub float: Float,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

impl<'a> Matrix<'a> {
    /// A view of `bytes`.
    ///
    /// # Panics
    /// If the length does not fit the shape.
    pub fn new(bytes: &'a [u8], float: Float, rows: usize, cols: usize) -> Self {
        assert_eq!(
            bytes.len(),
            rows * cols * float.size(),
            "bytes of a {rows}x{cols} matrix of {float:?}"
        );
        Self {
            bytes,
            float,
            rows,
            cols,
        }
    }

    /// Numbers `start..end` of row `row`.
    #[inline]
    pub(crate) fn part(&self, row: usize, start: usize, end: usize) -> &'a [u8] {
        let size = self.float.size();
        &self.bytes[(row * self.cols + start) * size..(row * self.cols + end) * size]
    }
}

/// Bits of the nearest bfloat16, ties to even. A NaN stays one.
#[inline(always)]
pub(crate) fn to_bf16(x: f32) -> u32 {
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
pub(crate) fn pair(a: f32, b: f32) -> u32 {
    to_bf16(a) | (to_bf16(b) << 16)
}

/// A vector of such elements.
#[inline(always)]
pub(crate) fn pairs<const LEVEL: u8>(a: &[f32], b: &[f32], out: &mut [u32]) {
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

#[inline(always)]
fn f16_to_f32(h: u16) -> f32 {
    let h = u32::from(h);
    // Exponent and fraction in place, then the difference of the biases as a product, which also does subnormals.
    let small = f32::from_bits((h & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    let special = if h & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(small.to_bits() | special | ((h & 0x8000) << 16))
}

#[inline(always)]
fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]))
}

per_isa! {
fn f16_plain(isa, src: &[u8], dst: &mut [f32]) {
    for (d, h) in dst.iter_mut().zip(halves(src)) {
        *d = f16_to_f32(h);
    }
}
}

per_isa! {
fn bf16_plain(isa, src: &[u8], dst: &mut [f32]) {
    for (d, h) in dst.iter_mut().zip(halves(src)) {
        *d = f32::from_bits(u32::from(h) << 16);
    }
}
}

per_isa! {
fn f32_plain(isa, src: &[u8], dst: &mut [f32]) {
    for (d, b) in dst.iter_mut().zip(src.chunks_exact(4)) {
        *d = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    }
}
}

per_isa! {
fn pairs_plain(isa, src: &[f32], dst: &mut [u32]) {
    for (d, s) in dst.iter_mut().zip(src.chunks_exact(2)) {
        *d = pair(s[0], s[1]);
    }
    if src.len() % 2 == 1 {
        dst[src.len() / 2] = pair(src[src.len() - 1], 0.0);
    }
}
}

/// Numbers of a file as floats.
///
/// # Panics
/// If the lengths do not agree.
pub fn to_f32(isa: Isa, float: Float, src: &[u8], dst: &mut [f32]) {
    assert_eq!(src.len(), dst.len() * float.size());
    match float {
        Float::F32 => f32_plain(isa, src, dst),
        Float::Bf16 => bf16_plain(isa, src, dst),
        Float::F16 => {
            #[cfg(target_arch = "x86_64")]
            if isa >= Isa::Avx2 {
                return crate::arch::f16_to_f32(isa, src, dst);
            }
            #[cfg(target_arch = "aarch64")]
            if isa == Isa::Neon {
                return crate::arch::f16_to_f32(src, dst);
            }
            f16_plain(isa, src, dst);
        }
    }
}

/// Numbers of a file as steps of a product: floats, or pairs of bfloat16.
///
/// An odd number at the end is paired with zero.
///
/// # Panics
/// If the lengths do not agree.
pub(crate) fn to_steps(isa: Isa, compute: Compute, float: Float, src: &[u8], dst: &mut [u32]) {
    let count = src.len() / float.size();
    assert_eq!(dst.len(), compute.steps(count));
    match (compute, float) {
        (Compute::F32, _) => to_f32(isa, float, src, as_f32_mut(dst)),
        #[cfg(target_arch = "x86_64")]
        (Compute::Bf16, Float::F16) if isa.has_bf16() => {
            crate::arch::f16_to_pairs(src, dst);
        }
        (Compute::Bf16, Float::Bf16) => {
            for (d, b) in dst.iter_mut().zip(src.chunks(4)) {
                let low = u32::from(u16::from_le_bytes([b[0], b[1]]));
                let high = if b.len() == 4 {
                    u32::from(u16::from_le_bytes([b[2], b[3]]))
                } else {
                    0
                };
                *d = low | (high << 16);
            }
        }
        (Compute::Bf16, _) => {
            let mut room = [0f32; 256];
            for (src, dst) in src.chunks(256 * float.size()).zip(dst.chunks_mut(128)) {
                let room = &mut room[..src.len() / float.size()];
                to_f32(isa, float, src, room);
                pairs_plain(isa, room, dst);
            }
        }
    }
}

/// The same memory as floats.
#[inline(always)]
pub(crate) fn as_f32_mut(bits: &mut [u32]) -> &mut [f32] {
    // SAFETY: u32 and f32 have the same size and alignment, and every bit pattern is valid in both.
    unsafe { std::slice::from_raw_parts_mut(bits.as_mut_ptr().cast(), bits.len()) }
}
