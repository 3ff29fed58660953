//! x86-64.

mod amx;
mod avx;
mod half;
mod int8;

pub(super) use amx::{BF16 as BF16_AMX, INT8 as INT8_AMX};
pub(super) use avx::{BF16_AVX512, F32_AVX2, F32_AVX512};
pub(super) use half::interleave;
pub(crate) use half::{f16_to_f32, f16_to_pairs, f32_to_pairs, pairs_16};
pub(super) use int8::{INT8_AVX, INT8_AVX_VL, INT8_AVX2, INT8_AVX512};
