//! What the networks need of CUDA and candle does not do: a device with one stream and no events, norms and what
//! follows a product in one or two launches, and convolutions by cuDNN (cargo feature `cudnn`) that are summed in float32.
//! Without the cargo feature `cuda` this crate is empty.
//!
//! Unsafe code stands here, beside the kernels of the CPU, so that `turbo-sdxl` has none: each block says why.
#![cfg(feature = "cuda")]
#![warn(unsafe_op_in_unsafe_fn)]

mod after;
#[cfg(feature = "cudnn")]
mod convolution;
mod device;
mod norms;

pub use after::{add, geglu, softmax};
#[cfg(feature = "cudnn")]
pub use convolution::conv2d;
pub use device::open;
pub use norms::{group_norm, layer_norm};

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{CudaView, DeviceRepr};
use candle_core::{CudaStorage, Layout, Result, WithDType, bail};

/// A type that the kernels take.
trait Number: CudaDType + DeviceRepr + WithDType {}
impl<T: CudaDType + DeviceRepr + WithDType> Number for T {}

/// Calls `$op.run::<T>("name", ..)` for the type of `$x`, by whose name the kernels are told apart.
macro_rules! for_type {
    ($op:expr, $x:expr, $($argument:expr),*) => {
        match $x.dtype() {
            candle_core::DType::F32 => $op.run::<f32>("f32", $($argument),*),
            candle_core::DType::F16 => $op.run::<half::f16>("f16", $($argument),*),
            candle_core::DType::BF16 => $op.run::<half::bf16>("bf16", $($argument),*),
            other => candle_core::bail!("turbo-cuda takes f32, f16 and bf16, found {other:?}"),
        }
    };
}
use for_type;

/// What a tensor holds, in the order of its indices.
fn contiguous<'a, T: CudaDType>(
    (storage, layout): (&'a CudaStorage, &Layout),
) -> Result<CudaView<'a, T>> {
    let Some((begin, end)) = layout.contiguous_offsets() else {
        bail!("turbo-cuda takes contiguous tensors, found {layout:?}")
    };
    Ok(storage.as_cuda_slice::<T>()?.slice(begin..end))
}

/// An argument of 32 bits.
fn number(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(candle_core::Error::wrap)
}
