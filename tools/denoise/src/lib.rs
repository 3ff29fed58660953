//! Text embeddings in, latents out.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

mod pipeline;
mod settings;

use clap::Parser;
use pipeline::{Conditions, Pipeline};
use settings::Settings;
pub use settings::{Flags, Pair};
use turbo_cli::{Console, Error, ModelArgs, Result};
use turbo_sdxl::expect_finite;
use turbo_stage::{Computed, Networks, Planned, Slot, Stage, StreamArgs};
use turbo_wire::{Frame, Header, Kind, f32_bytes, keys, names};

/// Turn text embeddings into latents, for decode-latents
///
/// For each setting the frame's own value wins (from its metadata), then the flag, then the default. All settings,
/// the seed included, are written into the metadata of the latents.
#[derive(Parser, Debug)]
#[command(version)]
pub struct Args {
    /// What is to be drawn.
    #[command(flatten)]
    pub settings: Flags,

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
/// A setting that cannot be; input, output or model fail; with `--on-error stop`, also a frame.
#[allow(clippy::needless_pass_by_value, reason = "as turbo_cli::main gives it")]
pub fn run(args: Args, console: &Console) -> Result<()> {
    args.settings.check()?;
    let mut tool = Denoise {
        networks: Networks::new(&args.model, console)?,
        flags: &args.settings,
        model: &args.model,
        pipeline: Slot::default(),
        console,
        warned: false,
    };
    turbo_stage::run(&mut tool, &args.stream, console)
}

struct Denoise<'a> {
    networks: Networks,
    flags: &'a Flags,
    model: &'a ModelArgs,
    pipeline: Slot<String, Pipeline>,
    console: &'a Console,
    /// Whether it was said that a negative prompt has no effect.
    warned: bool,
}

impl Denoise<'_> {
    /// A negative prompt without guidance is a mistake that no picture shows.
    fn warn_of_idle_negative(&mut self, header: &Header, settings: &Settings) {
        let negative = header.tensor(names::NEGATIVE_PROMPT_EMBEDS).is_some();
        if negative && !settings.guides() && !self.warned {
            self.warned = true;
            let scale = settings.guidance_scale;
            self.console.warn(format_args!(
                "the negative prompt has no effect with guidance scale {scale}; it counts above 1, such as with \
                 --guidance-scale 2"
            ));
        }
    }
}

impl Stage for Denoise<'_> {
    const READS: Kind = Kind::TextEmbeddings;
    const REMEDY: &'static str = "pipe encode-text into it";
    type Plan = (String, Settings);

    fn plan(&mut self, record: u64, header: &Header) -> Result<Planned<Self::Plan>> {
        let spec = self.model.choose(header.get(keys::MODEL));
        let networks = &self.networks;
        let (pipeline, open) = self
            .pipeline
            .get(&spec, || Pipeline::open(networks, &spec))?;
        pipeline.check_widths(header)?;
        let settings = Settings::new(header, self.flags, record, pipeline.default_size())?;
        pipeline.check_steps(settings.steps)?;
        if settings.guides()
            && header.tensor(names::NEGATIVE_PROMPT_EMBEDS).is_none()
            && !pipeline.zeros_for_no_prompt
        {
            return Err(Error::new(
                "guidance: this checkpoint (force_zeros_for_empty_prompt) needs a negative prompt, found none; give \
                 encode-text --negative-prompt '' at least",
            ));
        }
        let mut metadata = header.metadata().clone();
        settings.write(&mut metadata);
        metadata.insert(keys::MODEL.to_owned(), pipeline.name.clone());
        metadata.insert(
            keys::PRODUCER.to_owned(),
            concat!("denoise ", env!("CARGO_PKG_VERSION")).to_owned(),
        );
        let new = Header::latents(
            header.batch(),
            settings.height / 8,
            settings.width / 8,
            metadata,
        )?;
        self.warn_of_idle_negative(header, &settings);
        Ok(Planned {
            header: new,
            open,
            plan: (spec, settings),
        })
    }

    fn compute(&mut self, (spec, settings): Self::Plan, frame: &Frame) -> Result<Computed> {
        let networks = &self.networks;
        let (pipeline, _) = self
            .pipeline
            .get(&spec, || Pipeline::open(networks, &spec))?;
        let conditions = Conditions::read(frame, settings.guides())?;
        let batch = frame.header.batch();
        let label = format!("{}: frame", self.console.tool());
        let bar = self.console.bar(
            &label,
            Some((batch * settings.steps) as u64),
            turbo_cli::Unit::Items,
        );
        let mut latents = Vec::new();
        let mut steps = Vec::new();
        for row in 0..batch {
            let (x, times) = pipeline.run(&settings, row as u64, &conditions.row(row), || {
                bar.advance(1);
            })?;
            latents.extend(x);
            steps.resize(times.len(), std::time::Duration::ZERO);
            steps
                .iter_mut()
                .zip(times)
                .for_each(|(sum, time)| *sum += time);
        }
        expect_finite("latents", &latents)?;
        Ok(Computed {
            body: vec![(names::LATENTS, f32_bytes(&latents))],
            steps: Some(steps),
        })
    }
}
