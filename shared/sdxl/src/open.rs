//! Opens networks on a device chosen at run time.

use crate::backend::Backend;
use crate::backend::candle::Candle;
use crate::backend::cpu::Cpu;
use crate::backend::loader::Loader;
use crate::clip::{
    CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, EncoderPair, TextEncoders,
};
use crate::device::isa;
use crate::unet::{UNet, UNet2DConditionConfig, UNet2DConditionModel};
use crate::vae::{
    AutoencoderKLConfig, AutoencoderKLDecoder, AutoencoderKLEncoder, AutoencoderTinyConfig,
    AutoencoderTinyDecoder, AutoencoderTinyEncoder, VaeDecoder, VaeEncoder,
};
use crate::{ConfigFile, DType, Device, Result};
use std::sync::Arc;
use turbo_weights::{Autoencoder, Lora, Model, Part, VaeClass, Weights};

/// Evaluates `$body` with `$b` a backend for `$device`; `$body` is compiled once for each type of backend.
macro_rules! with_backend {
    ($device:expr, $dtype:expr, $b:ident => $body:expr) => {
        match *$device {
            Device::Cpu => {
                let $b = &Cpu::open($dtype)?;
                $body
            }
            device => {
                let $b = &Candle::open(device, $dtype)?;
                $body
            }
        }
    };
}

/// Opens both text encoders of a checkpoint, with what these LoRAs, times their scales, add to them.
///
/// # Errors
/// A missing file, a configuration that is not supported, a missing or left-over weight, a LoRA for another network, no
/// such device.
pub fn open_text_encoders(
    device: &Device,
    dtype: DType,
    model: &Model,
    loras: &[(&Lora, f32)],
) -> Result<Box<dyn TextEncoders>> {
    let config = |part| {
        let (path, json) = (model.config_path(part), model.config(part)?);
        CLIPTextConfig::from_json(&ConfigFile::new(&path, &json)?)
    };
    let (config_1, config_2) = (config(Part::TextEncoder)?, config(Part::TextEncoder2)?);
    let weights_1 = model.weights(Part::TextEncoder)?;
    let weights_2 = model.weights(Part::TextEncoder2)?;
    with_backend!(device, dtype, b => Ok(Box::new(EncoderPair::new(
        b.clone(),
        load_adapted(b, &weights_1, (Part::TextEncoder, loras), |l| CLIPTextModel::load(l, config_1))?,
        load_adapted(b, &weights_2, (Part::TextEncoder2, loras), |l| {
            CLIPTextModelWithProjection::load(l, config_2)
        })?,
    ))))
}

/// Opens the denoising network of a checkpoint, with what these LoRAs, times their scales, add to it.
///
/// # Errors
/// As [`open_text_encoders`].
pub fn open_unet(
    device: &Device,
    dtype: DType,
    model: &Model,
    loras: &[(&Lora, f32)],
) -> Result<Box<dyn UNet>> {
    open_unet_with(device, dtype, model, &model.weights(Part::Unet)?, loras)
}

/// As [`open_unet`], with weights that were put together elsewhere: for comparisons.
///
/// # Errors
/// As [`open_text_encoders`].
pub fn open_unet_with(
    device: &Device,
    dtype: DType,
    model: &Model,
    weights: &Weights,
    loras: &[(&Lora, f32)],
) -> Result<Box<dyn UNet>> {
    let (path, json) = (model.config_path(Part::Unet), model.config(Part::Unet)?);
    let config = UNet2DConditionConfig::from_json(&ConfigFile::new(&path, &json)?)?;
    with_backend!(device, dtype, b => {
        let unet = load_adapted(b, weights, (Part::Unet, loras), |l| {
            UNet2DConditionModel::load(l, config)
        })?;
        Ok(Box::new(Arc::new(unet)))
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
    let (config, weights) = (VaeConfig::of(vae)?, &vae.weights);
    let dtype = vae_dtype(*device, dtype, &config)?;
    with_backend!(device, dtype, b => Ok(match config {
        VaeConfig::Kl(c) => Box::new(load(b, weights, |l| AutoencoderKLDecoder::load(l, c))?),
        VaeConfig::Tiny(c) => Box::new(load(b, weights, |l| AutoencoderTinyDecoder::load(l, c))?),
    }))
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
    let (config, weights) = (VaeConfig::of(vae)?, &vae.weights);
    let dtype = vae_dtype(*device, dtype, &config)?;
    with_backend!(device, dtype, b => Ok(match config {
        VaeConfig::Kl(c) => Box::new(load(b, weights, |l| AutoencoderKLEncoder::load(l, c))?),
        VaeConfig::Tiny(c) => Box::new(load(b, weights, |l| AutoencoderTinyEncoder::load(l, c))?),
    }))
}

/// The two classes of autoencoder.
enum VaeConfig {
    Kl(AutoencoderKLConfig),
    Tiny(AutoencoderTinyConfig),
}

impl VaeConfig {
    fn of(vae: &Autoencoder) -> Result<Self> {
        // For messages: it lies beside the weights, which may be several files.
        let weights = vae.weights.path();
        let path = if weights.is_dir() {
            weights.join("config.json")
        } else {
            weights.with_file_name("config.json")
        };
        let config = ConfigFile::new(&path, &vae.config)?;
        match vae.class {
            VaeClass::AutoencoderKl => AutoencoderKLConfig::from_json(&config).map(Self::Kl),
            VaeClass::AutoencoderTiny => AutoencoderTinyConfig::from_json(&config).map(Self::Tiny),
        }
    }

    fn force_upcast(&self) -> bool {
        match self {
            Self::Kl(c) => c.force_upcast,
            Self::Tiny(c) => c.force_upcast,
        }
    }
}

/// What an autoencoder runs in. In float16 it is float32 where its configuration says `force_upcast`, as in diffusers
/// (`needs_upcasting` in `pipeline_stable_diffusion_xl.py`): that type's range is too small. The fastest on a CPU is
/// bfloat16 where convolutions are faster in it, else float32. On an NVIDIA GPU it is bfloat16 for such a checkpoint: the
/// range is float32's, and the error on the published shapes 0.007, where PyTorch's own is 0.010.
fn vae_dtype(device: Device, dtype: DType, config: &VaeConfig) -> Result<DType> {
    Ok(match (dtype, device) {
        (DType::Auto, Device::Cpu) if isa()?.prefers_bf16_convolutions() => DType::BF16,
        (DType::Auto, Device::Cpu) => DType::F32,
        (DType::Auto, Device::Cuda(_)) if config.force_upcast() => DType::BF16,
        (DType::F16 | DType::Auto, _) if config.force_upcast() => DType::F32,
        (dtype, _) => dtype,
    })
}

/// As [`load`], of a part with LoRAs; checks that no layer of theirs is left over either.
fn load_adapted<B: Backend, N>(
    backend: &B,
    weights: &Weights,
    (part, loras): (Part, &[(&Lora, f32)]),
    layers: impl FnOnce(&Loader<'_, B>) -> Result<N>,
) -> Result<N> {
    let network = load(backend, weights, |l| {
        layers(&l.clone().with_loras(part, loras))
    })?;
    for (lora, _) in loras {
        lora.finish(part)?;
    }
    Ok(network)
}

/// Loads a network, checks that no weight is left over, and has those that are used in place read ahead.
fn load<B: Backend, N>(
    backend: &B,
    weights: &Weights,
    load: impl FnOnce(&Loader<'_, B>) -> Result<N>,
) -> Result<N> {
    let network = load(&Loader::new(backend, weights))?;
    weights.finish()?;
    if B::IN_PLACE {
        // The map that the network holds, since page tables are its own. A help and not a need: without a thread
        // the weights are read when they are used.
        let pages = weights.pages();
        let _ = std::thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(move || pages.prefetch());
    }
    Ok(network)
}
