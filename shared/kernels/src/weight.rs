//! Weights as the file holds them, and their way into the type of the products.
//!
//! A format is a [`Float`], or int8 with a scale for each row. Everything that reads a weight asks [`Matrix`] to widen a
//! part of a row: a format is known here and nowhere else.

use crate::arch::Compute;
use crate::isa::{Isa, per_isa};
use crate::memory::as_floats_mut;
use crate::step::StepWriter;
use std::ops::Range;

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

/// How a matrix is stored.
#[derive(Clone, Copy, Debug)]
enum Format<'a> {
    Float(Float),
    /// Row `r` is its bytes, signed, times `scales[r]`.
    Int8 {
        scales: &'a [f32],
    },
}

impl Format<'_> {
    /// Bytes a number takes.
    fn size(self) -> usize {
        match self {
            Self::Float(float) => float.size(),
            Self::Int8 { .. } => 1,
        }
    }
}

/// A matrix `[rows, cols]` in a file's own bytes, row by row; used where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// `rows * cols` numbers, not necessarily aligned.
    bytes: &'a [u8],
    format: Format<'a>,
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
            format: Format::Float(float),
            rows,
            cols,
        }
    }

    /// A view of signed bytes, row `r` of which has to be multiplied by `scales[r]`.
    ///
    /// # Panics
    /// If a length does not fit the shape.
    pub fn int8(bytes: &'a [u8], scales: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(
            (bytes.len(), scales.len()),
            (rows * cols, rows),
            "bytes and scales of a {rows}x{cols} matrix of int8"
        );
        Self {
            bytes,
            format: Format::Int8 { scales },
            rows,
            cols,
        }
    }

    /// The scale of each row, where the numbers are int8.
    pub fn scales(&self) -> Option<&'a [f32]> {
        match self.format {
            Format::Int8 { scales } => Some(scales),
            Format::Float(_) => None,
        }
    }

    /// Numbers `cols` of row `row` as floats.
    ///
    /// # Panics
    /// If `out` has another length than `cols`.
    pub fn widen(&self, isa: Isa, row: usize, cols: Range<usize>, out: &mut [f32]) {
        assert_eq!(cols.len(), out.len(), "widened numbers");
        let bytes = self.bytes(row, cols);
        match self.format {
            Format::Float(Float::F32) => f32_to_f32(isa, bytes, out),
            Format::Float(Float::Bf16) => bf16_to_f32(isa, bytes, out),
            Format::Float(Float::F16) => f16_to_f32(isa, bytes, out),
            Format::Int8 { scales } => int8_to_f32(isa, bytes, scales[row], out),
        }
    }

    /// Numbers `cols` of row `row` as steps; what is left of the last step becomes zero. Steps of int8 lack the row's scale.
    ///
    /// # Panics
    /// If `out` is not as long as the steps, or steps of int8 are wanted of other numbers.
    pub(crate) fn widen_steps(
        &self,
        isa: Isa,
        compute: Compute,
        row: usize,
        cols: Range<usize>,
        out: &mut [u32],
    ) {
        assert_eq!(out.len(), compute.steps(cols.len()), "widened steps");
        match (compute, self.format) {
            (Compute::F32, _) => self.widen(isa, row, cols, as_floats_mut(out)),
            #[cfg(target_arch = "x86_64")]
            (Compute::Bf16, Format::Float(Float::F16)) if isa.has_bf16() => {
                crate::arch::f16_to_pairs(self.bytes(row, cols), out);
            }
            (Compute::Bf16, Format::Float(Float::Bf16)) => {
                bf16_to_pairs(self.bytes(row, cols), out);
            }
            (Compute::Bf16, _) => {
                let mut room = [0f32; 256];
                for (i, out) in out.chunks_mut(128).enumerate() {
                    let start = cols.start + 256 * i;
                    let part = start..(start + 256).min(cols.end);
                    let room = &mut room[..part.len()];
                    self.widen(isa, row, part, room);
                    write_along(isa, compute, room, out);
                }
            }
            (Compute::Int8, Format::Int8 { .. }) => int8_to_steps(isa, self.bytes(row, cols), out),
            (Compute::Int8, Format::Float(float)) => {
                panic!("products of int8 need weights of int8, not of {float:?}")
            }
        }
    }

    /// Where numbers `cols` of row `row` lie: to be asked for ahead.
    #[inline]
    pub(crate) fn bytes(&self, row: usize, cols: Range<usize>) -> &'a [u8] {
        let size = self.format.size();
        &self.bytes[(row * self.cols + cols.start) * size..(row * self.cols + cols.end) * size]
    }

    /// Bytes from one row to the next.
    pub(crate) fn row_bytes(&self) -> usize {
        self.cols * self.format.size()
    }

    /// Whether these are float16, which some tile kernels widen beside their products.
    pub(crate) fn is_f16(&self) -> bool {
        matches!(self.format, Format::Float(Float::F16))
    }
}

/// What is added to a matrix: `scale * up x down`, of a rank far below its sides. A layer multiplies by `down`, then by
/// `up`, so that the matrix stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// `[rank, cols]`.
    pub down: Matrix<'a>,
    /// `[rows, rank]`.
    pub up: Matrix<'a>,
    /// Any number.
    pub scale: f32,
}

/// The weights of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Where the file has it.
    pub matrix: Matrix<'a>,
    /// What is added to it.
    pub low_rank: &'a [LowRank<'a>],
}

impl<'a> From<Matrix<'a>> for Weights<'a> {
    fn from(matrix: Matrix<'a>) -> Self {
        Self {
            matrix,
            low_rank: &[],
        }
    }
}

#[inline(always)]
fn widen_f16(h: u16) -> f32 {
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
        *d = widen_f16(h);
    }
}
}

per_isa! {
fn bf16_to_f32(isa, src: &[u8], dst: &mut [f32]) {
    for (d, h) in dst.iter_mut().zip(halves(src)) {
        *d = f32::from_bits(u32::from(h) << 16);
    }
}
}

per_isa! {
fn f32_to_f32(isa, src: &[u8], dst: &mut [f32]) {
    for (d, b) in dst.iter_mut().zip(src.chunks_exact(4)) {
        *d = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    }
}
}

per_isa! {
fn int8_to_f32(isa, src: &[u8], scale: f32, dst: &mut [f32]) {
    for (d, s) in dst.iter_mut().zip(src) {
        *d = f32::from(s.cast_signed()) * scale;
    }
}
}

per_isa! {
fn int8_to_steps(isa, src: &[u8], dst: &mut [u32]) {
    let whole = src.chunks_exact(4);
    let rest = whole.remainder();
    for (d, s) in dst.iter_mut().zip(whole) {
        *d = u32::from_le_bytes([s[0], s[1], s[2], s[3]]);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        dst[src.len() / 4] = u32::from_le_bytes(last);
    }
}
}

/// float16 as floats, by the CPU's own instructions where it has them.
fn f16_to_f32(isa: Isa, src: &[u8], dst: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx2 {
        return crate::arch::f16_to_f32(isa, src, dst);
    }
    #[cfg(target_arch = "aarch64")]
    if matches!(isa, Isa::Neon | Isa::NeonDot | Isa::NeonI8mm) {
        return crate::arch::f16_to_f32(src, dst);
    }
    f16_plain(isa, src, dst);
}

fn bf16_to_pairs(src: &[u8], dst: &mut [u32]) {
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

per_isa! {
fn write_along(isa, compute: Compute, row: &[f32], out: &mut [u32]) {
    StepWriter::<LEVEL>(compute).along(row, out);
}
}
