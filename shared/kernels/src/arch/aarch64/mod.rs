//! aarch64.

mod half;
mod neon;

pub(crate) use half::f16_to_f32;
pub(super) use neon::F32;
