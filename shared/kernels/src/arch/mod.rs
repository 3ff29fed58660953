//! The tile kernels, one file an instruction set: the only intrinsics of the crate.
//!
//! A **tile** is [`NR`] rows of weights against up to [`MV`] vectors of [`LANES`] positions (tokens or pixels).
//! Positions lie side by side in vector registers; a weight is broadcast. One **step** of the inner dimension is
//! four bytes a position and four bytes a weight row: one float, or two bfloat16 whose products are added.

use crate::Isa;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_half;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
mod x86_64_half;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon_half::f16_to_f32;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64_half::{f16_to_f32, f16_to_pairs};

/// A row of weights `[channel][taps]`, `count` bfloat16 two to an element, as `[pair of channels][taps]`; a last odd
/// channel is paired with zero.
pub(crate) fn interleave(row: &[u32], count: usize, taps: usize, out: &mut [u32]) {
    let at = |i: usize| {
        if i < count {
            (row[i / 2] >> (16 * (i % 2))) & 0xffff
        } else {
            0
        }
    };
    #[cfg(target_arch = "x86_64")]
    let whole = if taps == 9 && Isa::Avx512Bf16.is_available() {
        let whole = count / (2 * taps);
        x86_64_half::interleave_9(row, &mut out[..whole * taps]);
        whole
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let whole = 0;
    for (p, dst) in out.chunks_exact_mut(taps).enumerate().skip(whole) {
        for (t, d) in dst.iter_mut().enumerate() {
            *d = at(2 * p * taps + t) | (at((2 * p + 1) * taps + t) << 16);
        }
    }
}

/// Positions in a vector, on every instruction set (narrower registers take several).
pub const LANES: usize = 16;
/// Vectors in a tile.
pub const MV: usize = 4;
/// Positions in a panel: what a full tile covers.
pub const PANEL: usize = LANES * MV;
/// Weight rows in a tile.
pub const NR: usize = 6;

/// The type in which products are formed. Sums are always float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// float32 times float32.
    F32,
    /// bfloat16 times bfloat16, two at a time; only on [`Isa::Avx512Bf16`].
    Bf16,
}

impl Compute {
    /// Numbers in a step.
    pub const fn per_step(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }

    /// Steps that `k` numbers take; an odd one is paired with zero.
    pub const fn steps(self, k: usize) -> usize {
        k.div_ceil(self.per_step())
    }
}

/// Arguments of a tile kernel. Every pointer is to 4-byte elements.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Steps of the inner dimension.
    pub steps: usize,
    /// First position of the tile at step offset 0.
    pub a: *const u32,
    /// For each step, how many elements further its positions lie.
    pub offsets: *const u32,
    /// First weight row; rows follow at `w_stride` elements.
    pub w: *const u32,
    /// Elements from one weight row to the next.
    pub w_stride: usize,
    /// Sums, `[NR][PANEL]`.
    pub c: *mut f32,
    /// Add to what is in `c` instead of overwriting it.
    pub accumulate: bool,
}

/// A tile kernel of one width.
///
/// # Safety
/// With `V` the vectors it is made for: `a + offsets[s]` must be readable for `V * LANES` elements for each step,
/// `w + r * w_stride` for `steps` elements for each of `NR` rows, `c` writable for `NR * PANEL`; and the CPU must
/// have the instruction set.
pub type TileFn = unsafe fn(&Tile);

/// The tile kernels of an instruction set for 1, 2, 3 and 4 vectors.
///
/// # Panics
/// If `isa` has no products of that type.
pub fn tiles(isa: Isa, compute: Compute) -> [TileFn; MV] {
    assert!(
        isa.is_available(),
        "{} is not available on this CPU",
        isa.name()
    );
    match (compute, isa) {
        #[cfg(target_arch = "x86_64")]
        (Compute::Bf16, Isa::Avx512Bf16) => x86_64::BF16_AVX512,
        #[cfg(target_arch = "x86_64")]
        (Compute::F32, Isa::Avx512 | Isa::Avx512Bf16) => x86_64::F32_AVX512,
        #[cfg(target_arch = "x86_64")]
        (Compute::F32, Isa::Avx2) => x86_64::F32_AVX2,
        #[cfg(target_arch = "aarch64")]
        (Compute::F32, Isa::Neon) => neon::F32,
        (Compute::F32, _) => portable::F32,
        (Compute::Bf16, _) => panic!("{} has no bfloat16 products", isa.name()),
    }
}
