//! The tile kernels, one file an instruction set: the only intrinsics of the crate.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod portable;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::isa::Isa;
#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::f16_to_f32;
pub use tile::{
    Aside, Compute, Fetch, Kernels, LANES, MV, NR, Order, PANEL, Positions, Tile, TileFn,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{f16_to_f32, f16_to_pairs, f32_to_pairs, pairs_16};

/// A row of weights `[channel][taps]`, `count` bfloat16 two to an element, in the order of a product's steps: for each
/// `group` pairs of channels `[taps][group]`. A last odd channel is paired with zero.
pub(crate) fn interleave(row: &[u32], count: usize, taps: usize, group: usize, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    let done = x86_64::interleave(row, count, taps, group, out);
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    let at = |i: usize| {
        if i < count {
            (row[i / 2] >> (16 * (i % 2))) & 0xffff
        } else {
            0
        }
    };
    for (g, out) in out.chunks_mut(taps * group).enumerate().skip(done) {
        for (i, d) in out.iter_mut().enumerate() {
            let (tap, pair) = (i / group, g * group + i % group);
            *d = at(2 * pair * taps + tap) | (at((2 * pair + 1) * taps + tap) << 16);
        }
    }
}

/// The tile kernels of an instruction set.
///
/// # Panics
/// If `isa` has no products of that type.
pub fn kernels(isa: Isa, compute: Compute) -> Kernels {
    assert!(
        isa.is_available(),
        "{} is not available on this CPU",
        isa.name()
    );
    match (compute, isa) {
        #[cfg(target_arch = "x86_64")]
        (Compute::Bf16, Isa::Avx512Amx) => x86_64::BF16_AMX,
        #[cfg(target_arch = "x86_64")]
        (Compute::Bf16, Isa::Avx512Bf16) => Kernels::plain(x86_64::BF16_AVX512),
        #[cfg(target_arch = "x86_64")]
        (Compute::F32, Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::Avx512Amx) => {
            Kernels::plain(x86_64::F32_AVX512)
        }
        #[cfg(target_arch = "x86_64")]
        (Compute::F32, Isa::Avx2 | Isa::Avx2Vnni) => Kernels::narrow(x86_64::F32_AVX2),
        #[cfg(target_arch = "aarch64")]
        (Compute::F32, Isa::Neon | Isa::NeonDot | Isa::NeonI8mm) => Kernels::plain(aarch64::F32),
        (Compute::F32, _) => Kernels::plain(portable::F32),
        #[cfg(target_arch = "x86_64")]
        (Compute::Int8, Isa::Avx512Amx) if crate::isa::amx_has_int8() => x86_64::INT8_AMX,
        #[cfg(target_arch = "x86_64")]
        (Compute::Int8, Isa::Avx512Vnni | Isa::Avx512Bf16 | Isa::Avx512Amx) => {
            Kernels::plain(x86_64::INT8_AVX512).unsigned()
        }
        #[cfg(target_arch = "x86_64")]
        (Compute::Int8, Isa::Avx2Vnni) => {
            let tiles = if crate::isa::has_avx_vnni() {
                x86_64::INT8_AVX
            } else {
                x86_64::INT8_AVX_VL
            };
            Kernels::narrow(tiles).unsigned()
        }
        #[cfg(target_arch = "x86_64")]
        (Compute::Int8, Isa::Avx2) => Kernels::narrow(x86_64::INT8_AVX2),
        #[cfg(target_arch = "aarch64")]
        (Compute::Int8, Isa::NeonDot) => Kernels::plain(aarch64::INT8_DOT),
        #[cfg(target_arch = "aarch64")]
        (Compute::Int8, Isa::NeonI8mm) => Kernels::plain(aarch64::INT8_MATRIX),
        (Compute::Int8, _) => Kernels::plain(portable::INT8),
        (Compute::Bf16, _) => panic!("{} has no bfloat16 products", isa.name()),
    }
}
