//! x86-64.

mod amx;
mod avx;
mod half;

pub(super) use amx::BF16 as BF16_AMX;
pub(super) use avx::{BF16_AVX512, F32_AVX2, F32_AVX512};
pub(super) use half::interleave;
pub(crate) use half::{f16_to_f32, f16_to_pairs, pairs_16};
