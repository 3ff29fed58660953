//! Opens networks, on a device chosen at run time or on a given backend.

use crate::backend::candle::Candle;
use crate::backend::cpu::Cpu;
use crate::backend::{Backend, Loader};
use crate::clip::{
    CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, EncoderPair, TextEmbeddings,
    TextEncoders,
};
use crate::unet::{
    AddedConditions, ConditionedUNet, Conditioning, UNet, UNet2DConditionConfig,
    UNet2DConditionModel,
};
use crate::vae::{
    AutoencoderKLConfig, AutoencoderKLDecoder, AutoencoderKLEncoder, AutoencoderTinyConfig,
    AutoencoderTinyDecoder, AutoencoderTinyEncoder, Encoded, LatentShape, VaeDecoder, VaeEncoder,
};
use crate::{ConfigFile, DType, Device, Result};
use turbo_weights::{Autoencoder, Model, Part, VaeClass, Weights};

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
    with_backend!(device, dtype, backend => text_encoders(backend, model))
}

/// Opens the denoising network of a checkpoint.
///
/// # Errors
/// As [`open_text_encoders`].
pub fn open_unet(device: &Device, dtype: DType, model: &Model) -> Result<Box<dyn UNet>> {
    with_backend!(device, dtype, backend => unet(backend, model))
}

/// What an autoencoder runs in. In float16 it is float32 where its configuration says `force_upcast`, as in diffusers
/// (`needs_upcasting` in `pipeline_stable_diffusion_xl.py`): that type's range is too small. The fastest on a CPU is
/// bfloat16 where convolutions are faster in it, else float32; on other devices what diffusers would take for float16.
fn vae_dtype(device: &Device, dtype: DType, vae: &Autoencoder) -> Result<DType> {
    Ok(match (dtype, device) {
        (DType::Auto, Device::Cpu { .. }) if Cpu::prefers_bf16_convolutions()? => DType::BF16,
        (DType::Auto, Device::Cpu { .. }) => DType::F32,
        (DType::F16 | DType::Auto, _) if force_upcast(vae)? => DType::F32,
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
    with_backend!(device, dtype, backend => vae_decoder(backend, vae))
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
    with_backend!(device, dtype, backend => vae_encoder(backend, vae))
}

/// As [`crate::open_text_encoders`].
///
/// # Errors
/// As there.
pub fn text_encoders<B: Backend + 'static>(
    backend: B,
    model: &Model,
) -> Result<Box<dyn TextEncoders>> {
    let config = |part| {
        let (path, json) = (model.config_path(part), model.config(part)?);
        CLIPTextConfig::from_json(&ConfigFile::new(&path, &json)?)
    };
    let (config_1, config_2) = (config(Part::TextEncoder)?, config(Part::TextEncoder2)?);
    let weights_1 = model.weights(Part::TextEncoder)?;
    let weights_2 = model.weights(Part::TextEncoder2)?;
    let network = EncoderPair {
        text_encoder: load(&backend, &weights_1, |l| CLIPTextModel::load(l, config_1))?,
        text_encoder_2: load(&backend, &weights_2, |l| {
            CLIPTextModelWithProjection::load(l, config_2)
        })?,
    };
    Ok(Box::new(On { backend, network }))
}

/// As [`crate::open_unet`].
///
/// # Errors
/// As there.
pub fn unet<B: Backend + 'static>(backend: B, model: &Model) -> Result<Box<dyn UNet>> {
    let (path, json) = (model.config_path(Part::Unet), model.config(Part::Unet)?);
    let config = UNet2DConditionConfig::from_json(&ConfigFile::new(&path, &json)?)?;
    let weights = model.weights(Part::Unet)?;
    let network = load(&backend, &weights, |l| {
        UNet2DConditionModel::load(l, config)
    })?;
    Ok(Box::new(On { backend, network }))
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
}

/// Whether a configuration says that the autoencoder is to run in f32 whatever was asked for.
pub(crate) fn force_upcast(vae: &Autoencoder) -> Result<bool> {
    Ok(match VaeConfig::of(vae)? {
        VaeConfig::Kl(c) => c.force_upcast,
        VaeConfig::Tiny(c) => c.force_upcast,
    })
}

/// As [`crate::open_vae_decoder`], but in the backend's type.
///
/// # Errors
/// As there.
pub fn vae_decoder<B: Backend + 'static>(
    backend: B,
    vae: &Autoencoder,
) -> Result<Box<dyn VaeDecoder>> {
    Ok(match VaeConfig::of(vae)? {
        VaeConfig::Kl(config) => {
            let network = load(&backend, &vae.weights, |l| {
                AutoencoderKLDecoder::load(l, config)
            })?;
            Box::new(On { backend, network })
        }
        VaeConfig::Tiny(config) => {
            let network = load(&backend, &vae.weights, |l| {
                AutoencoderTinyDecoder::load(l, config)
            })?;
            Box::new(On { backend, network })
        }
    })
}

/// As [`crate::open_vae_encoder`], but in the backend's type.
///
/// # Errors
/// As there.
pub fn vae_encoder<B: Backend + 'static>(
    backend: B,
    vae: &Autoencoder,
) -> Result<Box<dyn VaeEncoder>> {
    Ok(match VaeConfig::of(vae)? {
        VaeConfig::Kl(config) => {
            let network = load(&backend, &vae.weights, |l| {
                AutoencoderKLEncoder::load(l, config)
            })?;
            Box::new(On { backend, network })
        }
        VaeConfig::Tiny(config) => {
            let network = load(&backend, &vae.weights, |l| {
                AutoencoderTinyEncoder::load(l, config)
            })?;
            Box::new(On { backend, network })
        }
    })
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

/// A network and the backend it lies on.
struct On<B, N> {
    backend: B,
    network: N,
}

impl<B: Backend> TextEncoders for On<B, EncoderPair<B>> {
    fn max_tokens(&self) -> usize {
        let (one, two) = (&self.network.text_encoder, &self.network.text_encoder_2);
        let max = |c: &CLIPTextConfig| c.max_position_embeddings;
        max(one.config()).min(max(two.config()))
    }

    fn width(&self) -> usize {
        let (one, two) = (&self.network.text_encoder, &self.network.text_encoder_2);
        one.config().hidden_size + two.config().hidden_size
    }

    fn pooled_width(&self) -> usize {
        self.network.text_encoder_2.config().projection_dim
    }

    fn encode(&self, ids_1: &[u32], ids_2: &[u32], clip_skip: usize) -> Result<TextEmbeddings> {
        let Self { backend, network } = self;
        backend.run(|| network.encode(backend, ids_1, ids_2, clip_skip))
    }
}

impl<B: Backend> UNet for On<B, UNet2DConditionModel<B>> {
    fn config(&self) -> &UNet2DConditionConfig {
        self.network.config()
    }

    fn condition<'a>(
        &'a self,
        conditions: &AddedConditions<'_>,
    ) -> Result<Box<dyn ConditionedUNet + 'a>> {
        let Self { backend, network } = self;
        let conditioning = backend.run(|| network.condition(backend, conditions))?;
        Ok(Box::new(Conditioned {
            unet: self,
            conditioning,
        }))
    }
}

/// A UNet and what it made of a prompt.
struct Conditioned<'a, B: Backend> {
    unet: &'a On<B, UNet2DConditionModel<B>>,
    conditioning: Conditioning<B>,
}

impl<B: Backend> ConditionedUNet for Conditioned<'_, B> {
    fn predict(
        &self,
        sample: &[f32],
        height: usize,
        width: usize,
        timestep: f32,
    ) -> Result<Vec<f32>> {
        let On { backend, network } = self.unet;
        let conditioning = &self.conditioning;
        backend.run(|| network.forward(backend, sample, height, width, timestep, conditioning))
    }
}

impl<B: Backend> VaeDecoder for On<B, AutoencoderKLDecoder<B>> {
    fn latent_shape(&self) -> LatentShape {
        self.network.config().latent_shape()
    }

    fn decode(&self, latents: &[f32], height: usize, width: usize, tile: bool) -> Result<Vec<f32>> {
        let Self { backend, network } = self;
        backend.run(|| {
            if tile {
                network.tiled_decode(backend, latents, height, width)
            } else {
                network.decode(backend, latents, height, width)
            }
        })
    }
}

impl<B: Backend> VaeDecoder for On<B, AutoencoderTinyDecoder<B>> {
    fn latent_shape(&self) -> LatentShape {
        self.network.config().latent_shape()
    }

    fn decode(&self, latents: &[f32], height: usize, width: usize, _: bool) -> Result<Vec<f32>> {
        let Self { backend, network } = self;
        backend.run(|| network.decode(backend, latents, height, width))
    }
}

impl<B: Backend> VaeEncoder for On<B, AutoencoderKLEncoder<B>> {
    fn latent_shape(&self) -> LatentShape {
        self.network.config().latent_shape()
    }

    fn encode(&self, image: &[f32], height: usize, width: usize) -> Result<Encoded> {
        let Self { backend, network } = self;
        let posterior = backend.run(|| network.encode(backend, image, height, width))?;
        Ok(Encoded::Posterior(posterior))
    }
}

impl<B: Backend> VaeEncoder for On<B, AutoencoderTinyEncoder<B>> {
    fn latent_shape(&self) -> LatentShape {
        self.network.config().latent_shape()
    }

    fn encode(&self, image: &[f32], height: usize, width: usize) -> Result<Encoded> {
        let Self { backend, network } = self;
        let latents = backend.run(|| network.encode(backend, image, height, width))?;
        Ok(Encoded::Latents(latents))
    }
}
