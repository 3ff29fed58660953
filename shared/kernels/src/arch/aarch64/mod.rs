//! aarch64.

mod dot;
mod half;
mod matrix;
mod neon;

pub(super) use dot::INT8 as INT8_DOT;
pub(crate) use half::f16_to_f32;
pub(super) use matrix::INT8 as INT8_MATRIX;
pub(super) use neon::F32;
