//! What the networks need of CUDA and candle does not do: a device with one stream and no events, and norms in one or
//! two launches. Without the cargo feature `cuda` this crate is empty.
//!
//! Unsafe code stands here, beside the kernels of the CPU, so that `turbo-sdxl` has none: each block says why.
#![cfg(feature = "cuda")]
#![warn(unsafe_op_in_unsafe_fn)]

mod device;
mod norms;

pub use device::open;
pub use norms::{group_norm, layer_norm};
