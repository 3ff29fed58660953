//! `--trace`: every step of every picture as a frame.

use std::path::Path;

use crate::pipeline::Step;
use turbo_cli::{Context, Error, Output, OutputArgs, Result};
use turbo_wire::names::{LATENT_CHANNELS, LATENTS};
use turbo_wire::{
    Dtype, FrameWriter, Header, Kind, Metadata, TensorSpec, f32_bytes, keys, metadata, rows,
};

/// Tensors beside `latents`, called what diffusers calls them.
const SAMPLE: &str = "sample";
const NOISE_PRED: &str = "noise_pred";
const PRED_ORIGINAL_SAMPLE: &str = "pred_original_sample";

/// The file that steps are written to.
pub(crate) struct Trace {
    writer: FrameWriter<Output>,
    name: String,
}

/// Which picture's steps are written.
pub(crate) struct Picture<'a> {
    /// The metadata of the frame that the trace is written beside.
    pub(crate) metadata: &'a Metadata,
    /// Its row there.
    pub(crate) row: usize,
    /// In latent pixels.
    pub(crate) size: (usize, usize),
}

impl Trace {
    /// Opens the file; - is stdout, unless latents go there.
    pub(crate) fn open(path: &Path, latents: &OutputArgs) -> Result<Self> {
        let stdout = Path::new("-");
        let other = latents.output.as_deref().unwrap_or(stdout);
        if path == other {
            return Err(Error::usage(format_args!(
                "--trace {0}: expected another place than that of the latents, found the same; give both a file of \
                 their own, as in -o latents.st --trace trace.st",
                path.display()
            )));
        }
        let args = OutputArgs {
            output: Some(path.to_path_buf()),
        };
        Ok(Self {
            writer: FrameWriter::new(args.open("trace frames")?),
            name: format!("--trace {}", path.display()),
        })
    }

    /// Writes a step, and flushes.
    pub(crate) fn step(&mut self, picture: &Picture<'_>, step: &Step<'_>) -> Result<()> {
        let mut metadata = rows::metadata(picture.metadata, picture.row as u64);
        // A frame's picture index counts finished pictures; a trace has one a step.
        metadata.remove(keys::PICTURE_INDEX);
        metadata::write(
            &mut metadata,
            [
                (keys::STEP, Some(step.index.to_string())),
                (keys::TIMESTEP, Some(step.timestep.to_string())),
                (keys::SIGMA, Some(step.sigma.to_string())),
            ],
        );
        let (height, width) = picture.size;
        let tensors = [
            (LATENTS, f32_bytes(step.latents)),
            (SAMPLE, f32_bytes(step.sample)),
            (NOISE_PRED, f32_bytes(step.noise_pred)),
            (PRED_ORIGINAL_SAMPLE, f32_bytes(step.pred_original_sample)),
        ];
        let specs = tensors
            .iter()
            .map(|(name, _)| {
                TensorSpec::new(name, Dtype::F32, &[1, LATENT_CHANNELS, height, width])
            })
            .collect();
        let header = Header::new(Kind::Latents, specs, metadata)?;
        let tensors = tensors.each_ref().map(|(name, bytes)| (*name, &bytes[..]));
        self.write(&header, &tensors).context(&self.name)
    }

    fn write(&mut self, header: &Header, tensors: &[(&str, &[u8])]) -> Result<()> {
        self.writer.write_header(header)?;
        Ok(self.writer.write_body(tensors)?)
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> Result<()> {
        self.writer.into_inner().finish().context(&self.name)
    }
}
