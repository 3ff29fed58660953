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
use pipeline::{Conditioned, Pipeline};
use settings::Settings;
pub use settings::{Flags, Pair};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use trace::{Picture, Trace};
use turbo_cli::{Bar, Console, Error, Result};
use turbo_sdxl::expect_finite;
use turbo_stage::{
    Computed, Fault, Frames, ModelArgs, Networks, Out, Planned, Slot, Stage, StreamArgs, To,
};
use turbo_wire::{Frame, Header, Kind, f32_bytes, keys, metadata, names};

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
    let frames = Frames::new(
        &args.stream,
        Kind::TextEmbeddings,
        "pipe encode-text into it",
    );
    let done = turbo_stage::run(&mut tool, frames, To::from(&args.stream), console);
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

/// What a prompt becomes: its pictures, and the model that draws them.
struct Plan {
    pipeline: Rc<Pipeline>,
    settings: Settings,
}

impl Stage for Denoise<'_> {
    type Source = Frames;
    type Plan = Plan;
    const WRITES: Kind = Kind::Latents;

    fn plan(&mut self, record: u64, header: Header) -> Result<Option<Planned<Plan>>, Fault> {
        let spec = self.model.choose(header.get(keys::MODEL));
        let networks = &self.networks;
        let (pipeline, open) = self
            .pipeline
            .get(&spec, || Pipeline::open(networks, &spec))?;
        pipeline.check_widths(&header)?;
        let settings = Settings::new(&header, self.flags, record, pipeline.default_size())?;
        pipeline.check_steps(settings.steps)?;
        if settings.guides()
            && header.tensor(names::NEGATIVE_PROMPT_EMBEDS).is_none()
            && !pipeline.zeros_for_no_prompt
        {
            return Err(Fault::Item(Error::new(
                "guidance: this checkpoint (force_zeros_for_empty_prompt) needs a negative prompt, found none; give \
                 encode-text --negative-prompt '' at least",
            )));
        }
        let new = latents_header(&header, &settings, &pipeline, 0)?;
        self.warn_of_idle_negative(&header, &settings);
        Ok(Some(Planned {
            header: new,
            open,
            plan: Plan { pipeline, settings },
        }))
    }

    fn compute(&mut self, plan: Plan, frame: Frame, out: &mut Out<'_, '_>) -> Result<(), Fault> {
        let Plan { pipeline, settings } = &plan;
        let conditions = Conditions::read(&frame, settings.guides())?;
        let batch = frame.header.batch();
        let label = format!("{}: frame {}", self.console.tool(), out.number());
        let steps = (settings.images as u64).saturating_mul((batch * settings.steps) as u64);
        let mut prompt = Prompt {
            pipeline,
            settings,
            conditions: &conditions,
            batch,
            conditioned: None,
            trace: self.trace.as_mut(),
            bar: self
                .console
                .bar(&label, Some(steps), turbo_cli::Unit::Items),
        };
        for image in 0..settings.images {
            let header = latents_header(&frame.header, settings, pipeline, image)?;
            if image == 0 {
                out.first(|| prompt.draw(image, &header))?;
            } else {
                out.more(&header, || prompt.draw(image, &header))?;
            }
        }
        Ok(())
    }
}

/// A prompt whose pictures are being drawn.
struct Prompt<'a> {
    pipeline: &'a Pipeline,
    settings: &'a Settings,
    conditions: &'a Conditions,
    /// Rows of the frame.
    batch: usize,
    /// What was worked out for the row before: with one row, which is usual, for all pictures of the prompt. Not for
    /// several rows, as it takes up to 50 MB a row for SDXL.
    conditioned: Option<(usize, Conditioned)>,
    trace: Option<&'a mut Trace>,
    bar: Bar,
}

impl Prompt<'_> {
    /// Draws picture `image`: all its rows.
    fn draw(&mut self, image: usize, header: &Header) -> Result<Computed> {
        let mut latents = Vec::new();
        let mut steps = Vec::new();
        for row in 0..self.batch {
            let drawn = self.draw_row(image, row, header, &mut steps)?;
            latents.extend(drawn);
        }
        expect_finite("latents", &latents)?;
        Ok(Computed {
            body: vec![(names::LATENTS, f32_bytes(&latents))],
            steps: Some(steps),
        })
    }

    /// Draws one row, and adds the times of its steps to `steps`.
    fn draw_row(
        &mut self,
        image: usize,
        row: usize,
        header: &Header,
        steps: &mut Vec<Duration>,
    ) -> Result<Vec<f32>> {
        let Self {
            pipeline, settings, ..
        } = *self;
        let mut start = Instant::now();
        let conditioned = match &mut self.conditioned {
            Some((of, conditioned)) if *of == row => conditioned,
            other => {
                let new = pipeline.condition(settings, &self.conditions.row(row))?;
                &mut other.insert((row, new)).1
            }
        };
        let picture = Picture {
            metadata: header.metadata(),
            row,
            size: settings.latent_size(),
        };
        let seed = settings.seed_of(image, row);
        pipeline.run(settings, seed, conditioned, |step| {
            // The first step answers for what is done once: noise, and the prompt's keys and values.
            if row == 0 {
                steps.push(Duration::ZERO);
            }
            steps[step.index] += start.elapsed();
            if let Some(trace) = &mut self.trace {
                trace.step(&picture, step)?;
            }
            self.bar.advance(1);
            start = Instant::now();
            Ok(())
        })
    }
}

/// The class of scheduler, as diffusers calls it.
const SCHEDULER: &str = "EulerAncestralDiscreteScheduler";

/// The header of picture `image` of a prompt.
fn latents_header(
    prompt: &Header,
    settings: &Settings,
    pipeline: &Pipeline,
    image: usize,
) -> Result<Header> {
    let mut metadata = prompt.metadata().clone();
    settings.write(&mut metadata, image);
    metadata::write(
        &mut metadata,
        [
            (keys::MODEL, Some(pipeline.name.clone())),
            (keys::SCHEDULER, Some(SCHEDULER.to_owned())),
            (keys::PRODUCER, Some(metadata::producer("denoise"))),
        ],
    );
    let (height, width) = settings.latent_size();
    Ok(Header::latents(prompt.batch(), height, width, metadata)?)
}
