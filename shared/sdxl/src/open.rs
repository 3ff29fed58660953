//! Opens networks on a device chosen at run time.

use crate::candle_backend::Candle;
use crate::cpu_backend::Cpu;
use crate::models::{TextEncoders, UNet, VaeDecoder, VaeEncoder};
use crate::{Result, on};
use turbo_weights::{Autoencoder, Model};

/// Where networks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// This machine's processor, by our own kernels.
    Cpu {
        /// Threads; 0 is one for each core.
        threads: usize,
    },
    /// This machine's processor, by candle: slow, and an independent check of our own kernels.
    CandleCpu,
    /// An NVIDIA GPU, counted from 0; needs the cargo feature `cuda`.
    Cuda(usize),
    /// An Apple GPU; needs the cargo feature `metal`.
    Metal,
}

/// The type in which a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DType {
    /// The device's fastest that is as exact as PyTorch in that type.
    #[default]
    Auto,
    /// 32 bits: equal to diffusers on a CPU.
    F32,
    /// 16 bits with f32's range.
    BF16,
    /// 16 bits with a small range; overflow shows as an error.
    F16,
}

/// Evaluates `$body` with `$b` a backend for `$device`; `$body` is compiled once for each type of backend.
macro_rules! with_backend {
    ($device:expr, $dtype:expr, $b:ident => $body:expr) => {
        if let Device::Cpu { threads } = *$device {
            let $b = Cpu::open(threads, $dtype)?;
            $body
        } else {
            let $b = Candle::open($device, $dtype)?;
            $body
        }
    };
}

/// Opens both text encoders of a checkpoint.
///
/// # Errors
/// A missing file, a configuration that is not supported, a missing or left-over weight, no such device.
pub fn open_text_encoders(
    device: &Device,
    dtype: DType,
    model: &Model,
) -> Result<Box<dyn TextEncoders>> {
    with_backend!(device, dtype, backend => on::text_encoders(backend, model))
}

/// Opens the denoising network of a checkpoint.
///
/// # Errors
/// As [`open_text_encoders`].
pub fn open_unet(device: &Device, dtype: DType, model: &Model) -> Result<Box<dyn UNet>> {
    with_backend!(device, dtype, backend => on::unet(backend, model))
}

/// What an autoencoder runs in. In float16 it is float32 where its configuration says `force_upcast`, as in diffusers
/// (`needs_upcasting` in `pipeline_stable_diffusion_xl.py`): that type's range is too small. The fastest on a CPU is
/// bfloat16 where convolutions are faster in it, else float32; on other devices what diffusers would take for float16.
fn vae_dtype(device: &Device, dtype: DType, vae: &Autoencoder) -> Result<DType> {
    Ok(match (dtype, device) {
        (DType::Auto, Device::Cpu { .. }) if Cpu::prefers_bf16_convolutions()? => DType::BF16,
        (DType::Auto, Device::Cpu { .. }) => DType::F32,
        (DType::F16 | DType::Auto, _) if on::force_upcast(vae)? => DType::F32,
        (dtype, _) => dtype,
    })
}

/// Opens the decoder of an autoencoder. Where its configuration says `force_upcast`, f16 runs in f32.
///
/// # Errors
/// As [`open_text_encoders`].
pub fn open_vae_decoder(
    device: &Device,
    dtype: DType,
    vae: &Autoencoder,
) -> Result<Box<dyn VaeDecoder>> {
    let dtype = vae_dtype(device, dtype, vae)?;
    with_backend!(device, dtype, backend => on::vae_decoder(backend, vae))
}

/// Opens the encoder of an autoencoder. Where its configuration says `force_upcast`, f16 runs in f32.
///
/// # Errors
/// As [`open_text_encoders`].
pub fn open_vae_encoder(
    device: &Device,
    dtype: DType,
    vae: &Autoencoder,
) -> Result<Box<dyn VaeEncoder>> {
    let dtype = vae_dtype(device, dtype, vae)?;
    with_backend!(device, dtype, backend => on::vae_encoder(backend, vae))
}
