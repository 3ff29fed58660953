//! Latents in, images out.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use clap::Parser;
use std::rc::Rc;
use turbo_cli::{Console, Error, Result};
use turbo_sdxl::{VaeDecoder, expect_finite, image_processor::postprocess, open_vae_decoder};
use turbo_stage::{
    Computed, Fault, Frames, ModelArgs, Networks, Out, Planned, Slot, Stage, StreamArgs, To, Vae,
    VaeChoice,
};
use turbo_wire::{Dtype, Frame, Header, Kind, keys, metadata, names};

/// Turn latents into images, for to-png
///
/// With --dtype auto the decoder runs in f32, except on CPUs whose AMX makes bf16 the faster type.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Args {
    /// Decoder: full, tiny, a file, a folder or a hub id [default: full]
    ///
    /// full is what the checkpoint has in its vae folder. tiny is TAESDXL, fast and a little soft: madebyollin/taesdxl
    /// from the Hugging Face cache, or the checkpoint's own where that is one. A folder or file may hold AutoencoderKL
    /// or AutoencoderTiny, under diffusers' names or their own. Without this flag, a decoder that the stream names is
    /// used.
    #[arg(long, value_name = "VAE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub vae: Option<String>,

    /// Decode large pictures in overlapping tiles
    ///
    /// That takes less memory and gives slightly other pictures, as in diffusers. Large is what is larger than the
    /// checkpoint's size, or for the tiny decoder than 448 pixels.
    #[arg(long)]
    pub tile: bool,

    /// Decode another tensor of the latents' shape [default: latents]
    ///
    /// Such as pred_original_sample, which a frame of `denoise --trace` has: the picture as the network foresees it at
    /// that step, where latents still have noise in them.
    #[arg(long, value_name = "NAME", default_value = names::LATENTS, hide_default_value = true)]
    pub tensor: String,

    /// Input and output.
    #[command(flatten)]
    pub stream: StreamArgs,

    /// Which model, and where it runs.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Runs the tool.
///
/// # Errors
/// Input, output or model fail; with `--on-error stop`, also a frame.
#[allow(clippy::needless_pass_by_value, reason = "as turbo_cli::main gives it")]
pub fn run(args: Args, console: &Console) -> Result<()> {
    let mut tool = Decode {
        networks: Networks::new(&args.model, console)?,
        args: &args,
        vae: Slot::default(),
    };
    let frames = Frames::new(&args.stream, Kind::Latents, "pipe denoise into it");
    turbo_stage::run(&mut tool, frames, To::from(&args.stream), console)
}

type Decoder = Vae<dyn VaeDecoder>;

struct Decode<'a> {
    networks: Networks,
    args: &'a Args,
    vae: Slot<VaeChoice, Decoder>,
}

impl Stage for Decode<'_> {
    type Source = Frames;
    type Plan = Rc<Decoder>;
    const WRITES: Kind = Kind::Image;

    fn plan(&mut self, _: u64, header: Header) -> Result<Option<Planned<Rc<Decoder>>>, Fault> {
        let choice = VaeChoice {
            vae: self
                .args
                .vae
                .as_deref()
                .or(header.get(keys::VAE))
                .unwrap_or(VaeChoice::FULL)
                .to_owned(),
            model: self.args.model.choose(header.get(keys::MODEL)),
        };
        check_tensor(&header, &self.args.tensor)?;
        let Networks { device, dtype } = self.networks;
        let (vae, open) = self.vae.get(&choice, || {
            Vae::open(&choice, |vae| Ok(open_vae_decoder(&device, dtype, vae)?))
        })?;
        let (batch, height, width) = size(&header);
        let scale = vae.network.latent_shape().scale_factor;
        let (height, width) = (height * scale, width * scale);

        let mut metadata = header.metadata().clone();
        metadata.remove(keys::VAE);
        metadata::write(
            &mut metadata,
            [
                (keys::MODEL, vae.model.clone()),
                (keys::VAE, vae.name.clone()),
                (keys::WIDTH, Some(width.to_string())),
                (keys::HEIGHT, Some(height.to_string())),
                (keys::PRODUCER, Some(metadata::producer("decode-latents"))),
            ],
        );
        Ok(Some(Planned {
            header: Header::image(batch, height, width, metadata)?,
            open,
            plan: vae,
        }))
    }

    fn compute(
        &mut self,
        vae: Rc<Decoder>,
        frame: Frame,
        out: &mut Out<'_, '_>,
    ) -> Result<(), Fault> {
        let (batch, height, width) = size(&frame.header);
        let scale = vae.network.latent_shape().scale_factor;
        let Args { tensor, tile, .. } = self.args;
        out.first(|| {
            let latents = frame.to_f32(tensor).unwrap_or_default();
            expect_finite("latents", &latents)?;
            let mut images = Vec::with_capacity(batch * height * width * scale * scale * 3);
            for row in latents.chunks_exact(latents.len() / batch) {
                let image = vae.network.decode(row, height, width, *tile)?;
                images.extend(postprocess(&image, height * scale, width * scale)?);
            }
            Ok(Computed {
                body: vec![(names::IMAGE, images)],
                ..Computed::default()
            })
        })
    }
}

/// Refuses a tensor that is not there or is no latents, by the header alone.
fn check_tensor(header: &Header, name: &str) -> Result<()> {
    let (batch, height, width) = size(header);
    let Some(tensor) = header.tensor(name) else {
        let names: Vec<_> = header
            .tensors()
            .iter()
            .map(|tensor| &tensor.name[..])
            .collect();
        return Err(Error::new(format_args!(
            "--tensor {name}: expected it in the frame, found {}",
            names.join(", ")
        )));
    };
    let shape = [batch, names::LATENT_CHANNELS, height, width];
    let float = matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
    if !float || tensor.shape != shape {
        return Err(Error::new(format_args!(
            "--tensor {name}: expected f32, f16 or bf16 of shape {shape:?}, as the latents have, found {} of shape \
             {:?}",
            tensor.dtype, tensor.shape
        )));
    }
    Ok(())
}

/// Batch size, height and width of a frame's latents, which the header was checked for.
fn size(header: &Header) -> (usize, usize, usize) {
    match header
        .tensor(names::LATENTS)
        .map(|tensor| &tensor.shape[..])
    {
        Some(&[batch, _, height, width]) => (batch, height, width),
        _ => unreachable!("a latents frame has latents of four dimensions"),
    }
}
