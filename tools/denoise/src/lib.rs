//! Text embeddings in, latents out.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

mod conditions;
mod pipeline;
mod settings;
mod trace;

use clap::Parser;
use conditions::Conditions;
use pipeline::Pipeline;
use settings::Settings;
pub use settings::{Flags, Pair};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trace::{Picture, Trace};
use turbo_cli::{Console, Error, Result};
use turbo_sdxl::expect_finite;
use turbo_stage::{Computed, ModelArgs, Networks, Out, Planned, Slot, Stage, StreamArgs};
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

    /// Write every step of every picture to FILE, as latents frames
    ///
    /// A frame a step, written as soon as the step is done, with the tensors latents (after the step), sample (before
    /// it), noise_pred (the network's output, after guidance) and pred_original_sample (the picture without noise, as
    /// it is foreseen at this step), and step (from 0), timestep and sigma in the metadata. decode-latents and peek
    /// read it: `decode-latents --tensor pred_original_sample < FILE | to-png -o 'step-%02d.png'`. A frame of several
    /// rows is traced row by row, with the row's own seed and id. If a step fails, those before it are there. - is
    /// stdout, where -o sends the latents elsewhere.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub trace: Option<PathBuf>,

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
    let networks = Networks::new(&args.model, console)?;
    let trace = args
        .trace
        .as_deref()
        .map(|path| Trace::open(path, &args.stream.output));
    let mut tool = Denoise {
        networks,
        flags: &args.settings,
        model: &args.model,
        pipeline: Slot::default(),
        trace: trace.transpose()?,
        console,
        warned: false,
    };
    let done = turbo_stage::run(&mut tool, &args.stream, console);
    // Of a run that failed the trace is wanted most.
    let traced = tool.trace.map_or(Ok(()), Trace::finish);
    done.and(traced)
}

struct Denoise<'a> {
    networks: Networks,
    flags: &'a Flags,
    model: &'a ModelArgs,
    pipeline: Slot<String, Pipeline>,
    trace: Option<Trace>,
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
        let new = latents_header(header, &settings, pipeline, 0)?;
        self.warn_of_idle_negative(header, &settings);
        Ok(Planned {
            header: new,
            open,
            plan: (spec, settings),
        })
    }

    fn compute(
        &mut self,
        (spec, settings): Self::Plan,
        frame: &Frame,
        out: &mut Out<'_, '_>,
    ) -> Result<()> {
        let networks = &self.networks;
        let (pipeline, _) = self
            .pipeline
            .get(&spec, || Pipeline::open(networks, &spec))?;
        let conditions = Conditions::read(frame, settings.guides())?;
        let batch = frame.header.batch();
        let label = format!("{}: frame {}", self.console.tool(), out.number());
        let bar = self.console.bar(
            &label,
            Some((settings.images as u64).saturating_mul((batch * settings.steps) as u64)),
            turbo_cli::Unit::Items,
        );
        let trace = &mut self.trace;
        // What was worked out for the row before: with one row, which is usual, for all pictures of the prompt. Not
        // for several rows, as it takes up to 50 MB a row for SDXL.
        let mut conditioned = None;
        for image in 0..settings.images {
            let header = latents_header(&frame.header, &settings, pipeline, image)?;
            let draw = || {
                let mut latents = Vec::new();
                let mut steps = Vec::new();
                for row in 0..batch {
                    let mut start = Instant::now();
                    let conditioned = match &mut conditioned {
                        Some((of, conditioned)) if *of == row => conditioned,
                        other => {
                            let new = pipeline.condition(&settings, &conditions.row(row))?;
                            &mut other.insert((row, new)).1
                        }
                    };
                    let picture = Picture {
                        metadata: header.metadata(),
                        row,
                        size: (settings.height / 8, settings.width / 8),
                        seed: settings.seed_of(image, row),
                    };
                    let drawn = pipeline.run(&settings, picture.seed, conditioned, |step| {
                        // The first step answers for what is done once: noise, and the prompt's keys and values.
                        if row == 0 {
                            steps.push(Duration::ZERO);
                        }
                        steps[step.index] += start.elapsed();
                        if let Some(trace) = trace {
                            trace.step(&picture, step)?;
                        }
                        bar.advance(1);
                        start = Instant::now();
                        Ok(())
                    })?;
                    latents.extend(drawn);
                }
                expect_finite("latents", &latents)?;
                Ok(Computed {
                    body: vec![(names::LATENTS, f32_bytes(&latents))],
                    steps: Some(steps),
                })
            };
            if image == 0 {
                out.first(draw)?;
            } else {
                out.more(&header, draw)?;
            }
        }
        Ok(())
    }
}

/// The header of picture `image` of a prompt.
fn latents_header(
    prompt: &Header,
    settings: &Settings,
    pipeline: &Pipeline,
    image: usize,
) -> Result<Header> {
    let mut metadata = prompt.metadata().clone();
    settings.write(&mut metadata, image);
    metadata.insert(keys::MODEL.to_owned(), pipeline.name.clone());
    metadata.insert(
        keys::PRODUCER.to_owned(),
        concat!("denoise ", env!("CARGO_PKG_VERSION")).to_owned(),
    );
    let (height, width) = (settings.height / 8, settings.width / 8);
    Ok(Header::latents(prompt.batch(), height, width, metadata)?)
}
