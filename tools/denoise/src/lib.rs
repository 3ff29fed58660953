//! Text embeddings in, latents out.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

mod conditions;
mod pipeline;
mod recipes;
mod sampling;
mod settings;
mod start;
mod trace;

use clap::Parser;
use conditions::Conditions;
use pipeline::{Asked, Pipeline, Step};
use sampling::Sampling;
pub use sampling::{Numbers, SamplingFlags};
use settings::Settings;
pub use settings::{Flags, Pair};
use start::{Pictured, Starts};
use std::collections::VecDeque;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use trace::{Picture, Trace};
use turbo_cli::{Bar, Console, Error, Output, Result};
use turbo_sdxl::expect_finite;
use turbo_stage::{
    Beside, Computed, Fault, Frames, LoraArgs, ModelArgs, Networks, Out, Planned, Slot, Stage,
    StreamArgs, To,
};
use turbo_weights::LoraSpec;
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

    /// Start from the latents in FILE: of encode-image, or of an earlier run
    ///
    /// Each frame starts from the latents beside it, noise added as --strength says; a single frame on either side is
    /// repeated. - is stdin, where the frames come from a file.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub init: Option<PathBuf>,

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

    /// Have the network draw up to N samples at once
    ///
    /// Pictures of --images, rows of a frame, and the two samples that guidance takes for a picture. Weights of linear
    /// layers are then read once for all of them; each sample takes memory of its own, some 200 MB in bfloat16 and 400 MB
    /// in float32 at 512x512. Pictures have the bytes they have alone. With --trace one at a time is drawn.
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN)]
    pub batch: NonZeroUsize,

    /// What is added to the model.
    #[command(flatten)]
    pub lora: LoraArgs,

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
    if args.settings.sampling.recipe.as_deref() == Some(recipes::LIST) {
        let mut output = Output::stdout()?;
        output.write_all(recipes::table().as_bytes())?;
        return output.finish();
    }
    let networks = Networks::new(&args.model, console)?;
    let trace = args
        .trace
        .as_deref()
        .map(|path| Trace::open(path, &args.stream.output));
    let mut tool = Denoise {
        networks,
        flags: &args.settings,
        model: &args.model,
        lora: &args.lora,
        // A trace has one picture after the other.
        batch: if args.trace.is_some() {
            1
        } else {
            args.batch.get()
        },
        pipeline: Slot::default(),
        trace: trace.transpose()?,
        console,
        warned: Warned::default(),
    };
    let source = source(&args)?;
    let done = turbo_stage::run(&mut tool, source, To::from(&args.stream), console);
    // Of a run that failed the trace is wanted most.
    let traced = tool.trace.map_or(Ok(()), Trace::finish);
    done.and(traced)
}

/// The frames, and the latents beside them if there are any.
fn source(args: &Args) -> Result<Beside<Frames, Frames>> {
    let remedy = "pipe encode-text into it";
    let frames = Frames::new(&args.stream, Kind::TextEmbeddings, remedy);
    let Some(path) = &args.init else {
        return Ok(Beside::new((frames, "frame"), None));
    };
    let stdin = turbo_cli::Source::Stdin;
    if turbo_cli::Source::new(path) == stdin && args.stream.input.sources().contains(&stdin) {
        return Err(Error::usage(
            "--init -: expected the frames from a FILE, as stdin has the latents, found none; name it",
        ));
    }
    let limits = args.stream.limits.limits();
    let init = Frames::of_file(path, limits, Kind::Latents, "name a file of latents");
    Ok(Beside::new(
        (frames, "frame"),
        Some((init, "frame of --init")),
    ))
}

struct Denoise<'a> {
    networks: Networks,
    flags: &'a Flags,
    model: &'a ModelArgs,
    lora: &'a LoraArgs,
    /// Samples that the network sees at once, at most.
    batch: usize,
    pipeline: Slot<(String, Vec<LoraSpec>), Pipeline>,
    trace: Option<Trace>,
    console: &'a Console,
    warned: Warned,
}

/// What was said to have no effect, or to want something else.
#[derive(Default)]
struct Warned {
    negative: bool,
    strength: bool,
    recipe: bool,
}

impl Denoise<'_> {
    /// Names the recipe that the name of a model or a LoRA speaks of, where nobody chose one or a scheduler.
    fn hint_at_recipe(&mut self, model: &str, settings: &Settings, sampling: &Sampling) {
        if self.warned.recipe || settings.levels.choose_a_scheduler() {
            return;
        }
        if let Some(recipe) = recipes::of_name(model).filter(|recipe| !sampling.follows(recipe)) {
            self.warned.recipe = true;
            self.console.warn(format_args!(
                "{model}: by its name this model wants another scheduler than {}, or other steps of it; --recipe {} takes \
                 what its authors say",
                sampling.scheduler_name(),
                recipe.name
            ));
        }
    }

    /// Warns once of settings without an effect: a negative prompt without guidance, a strength without a picture.
    fn warn_of_idle(&mut self, header: &Header, settings: &Settings) {
        let negative = header.tensor(names::NEGATIVE_PROMPT_EMBEDS).is_some();
        if negative && !settings.guides() && !self.warned.negative {
            self.warned.negative = true;
            let scale = settings.guidance_scale;
            self.console.warn(format_args!(
                "the negative prompt has no effect with guidance scale {scale}; it counts above 1, such as with \
                 --guidance-scale 2"
            ));
        }
        let strength = self.flags.strength.is_some() && settings.strength.is_none();
        if strength && !self.warned.strength {
            self.warned.strength = true;
            self.console.warn(
                "--strength has no effect without a picture to start from; join one by encode-image, or give --init",
            );
        }
    }
}

/// What a prompt becomes: its pictures, and the model that draws them.
struct Plan {
    pipeline: Rc<Pipeline>,
    settings: Settings,
    sampling: Sampling,
}

impl Stage for Denoise<'_> {
    type Source = Beside<Frames, Frames>;
    type Plan = Plan;
    const WRITES: Kind = Kind::Latents;

    fn plan(
        &mut self,
        record: u64,
        (header, init): (Header, Option<Header>),
    ) -> Result<Option<Planned<Plan>>, Fault> {
        let spec = self.model.choose(header.get(keys::MODEL));
        let named: Option<String> = metadata::read(header.metadata(), keys::LORA)?;
        let loras = self.lora.choose(named.as_deref())?;
        let (networks, key) = (&self.networks, (spec, loras));
        let (pipeline, open) = self
            .pipeline
            .get(&key, || Pipeline::open(networks, &key.0, &key.1))?;
        pipeline.check_widths(&header)?;
        pipeline.check_picture(&header)?;
        let side = pipeline.default_size();
        let pictured = Pictured::of(&header, init.as_ref())?;
        let settings = Settings::new(&header, self.flags, record, side, pictured)?;
        let sampling = pipeline.sampling(&settings)?;
        if settings.guides()
            && header.tensor(names::NEGATIVE_PROMPT_EMBEDS).is_none()
            && !pipeline.zeros_for_no_prompt
        {
            return Err(Fault::Item(Error::new(
                "guidance: this checkpoint (force_zeros_for_empty_prompt) needs a negative prompt, found none; give \
                 encode-text --negative-prompt '' at least",
            )));
        }
        let new = latents_header(&header, &settings, &sampling, &pipeline, 0)?;
        self.warn_of_idle(&header, &settings);
        let loras = key.1.iter().map(|lora| &lora.file);
        for name in loras.chain([&pipeline.name]) {
            self.hint_at_recipe(name, &settings, &sampling);
        }
        Ok(Some(Planned {
            header: new,
            open,
            plan: Plan {
                pipeline,
                settings,
                sampling,
            },
        }))
    }

    fn compute(
        &mut self,
        plan: Plan,
        (frame, init): (Frame, Option<Frame>),
        out: &mut Out<'_, '_>,
    ) -> Result<(), Fault> {
        let Plan {
            pipeline,
            settings,
            sampling,
        } = &plan;
        let conditions = Conditions::read(&frame, settings.guides())?;
        let rows = frame.header.batch();
        let label = format!("{}: frame {}", self.console.tool(), out.number());
        let calls = sampling.calls().len();
        let steps = (settings.images as u64).saturating_mul((rows * calls) as u64);
        let mut prompt = Prompt {
            pipeline,
            settings,
            sampling,
            conditions: &conditions,
            starts: Starts::read(&frame, init.as_ref())?,
            rows,
            batch: self.batch,
            drawn: VecDeque::new(),
            next: 0,
            trace: self.trace.as_mut(),
            bar: self
                .console
                .bar(&label, Some(steps), turbo_cli::Unit::Items),
        };
        for image in 0..settings.images {
            let header = latents_header(&frame.header, settings, sampling, pipeline, image)?;
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
    sampling: &'a Sampling,
    conditions: &'a Conditions,
    starts: Option<Starts>,
    /// Rows of the frame.
    rows: usize,
    /// Samples that the network sees at once, at most.
    batch: usize,
    /// Rows that were drawn together with earlier ones, in order, and the number of the next that is not drawn yet:
    /// pictures follow each other, each with its rows.
    drawn: VecDeque<Drawn>,
    next: usize,
    trace: Option<&'a mut Trace>,
    bar: Bar,
}

/// One row of a picture, and the time of each of its steps: its share, where several were drawn together.
struct Drawn {
    latents: Vec<f32>,
    steps: Vec<Duration>,
}

impl Prompt<'_> {
    /// Draws picture `image`: all its rows. Those of later pictures that the network has room for are drawn with them.
    fn draw(&mut self, image: usize, header: &Header) -> Result<Computed> {
        let mut latents = Vec::new();
        let mut steps = vec![Duration::ZERO; self.sampling.calls().len()];
        for _ in 0..self.rows {
            if self.drawn.is_empty() {
                self.draw_next(image, header)?;
            }
            let row = self.drawn.pop_front().expect("rows that were just drawn");
            latents.extend(row.latents);
            for (sum, step) in steps.iter_mut().zip(row.steps) {
                *sum += step;
            }
        }
        expect_finite("latents", &latents)?;
        Ok(Computed {
            body: vec![(names::LATENTS, f32_bytes(&latents))],
            steps: Some(steps),
            ..Computed::default()
        })
    }

    /// Draws as many of the next rows as the network is to see at once. The first is one of picture `image`.
    fn draw_next(&mut self, image: usize, header: &Header) -> Result<()> {
        let Self {
            pipeline,
            settings,
            sampling,
            ..
        } = *self;
        let samples = if settings.guides() { 2 } else { 1 };
        let count = (self.batch / samples).max(1);
        let all = settings.images.saturating_mul(self.rows);
        let numbers = self.next..self.next.saturating_add(count).min(all);
        self.next = numbers.end;
        let asked = numbers.clone().map(|number| {
            let (image, row) = (number / self.rows, number % self.rows);
            Asked {
                seed: settings.seed_of(image, row),
                row: self.conditions.row(row),
                starts: self.starts.as_ref().map(|starts| (starts, row)),
            }
        });
        let mut start = Instant::now();
        // Only a picture that is drawn alone is traced, so the header is its own.
        let traced = Picture {
            metadata: header.metadata(),
            row: numbers.start - image * self.rows,
            size: settings.latent_size(),
        };
        let (trace, bar) = (&mut self.trace, &mut self.bar);
        let mut times = Vec::new();
        let watch = |i, step: &Step<'_>| {
            // The first step's time includes the work done once: noise, and the prompt's keys and values.
            if i == 0 {
                times.push(Duration::ZERO);
            }
            times[step.index] += start.elapsed();
            if let Some(trace) = trace {
                trace.step(&traced, step)?;
            }
            bar.advance(1);
            start = Instant::now();
            Ok(())
        };
        let latents = pipeline.run(settings, sampling, asked.collect(), self.batch, watch)?;
        for time in &mut times {
            *time /= latents.len() as u32;
        }
        let drawn = latents.into_iter().map(|latents| Drawn {
            latents,
            steps: times.clone(),
        });
        self.drawn.extend(drawn);
        Ok(())
    }
}

/// The header of picture `image` of a prompt.
fn latents_header(
    prompt: &Header,
    settings: &Settings,
    sampling: &Sampling,
    pipeline: &Pipeline,
    image: usize,
) -> Result<Header> {
    let mut metadata = prompt.metadata().clone();
    settings.write(&mut metadata, image);
    sampling.write(&mut metadata);
    metadata::write(
        &mut metadata,
        [
            (keys::MODEL, Some(pipeline.name.clone())),
            (keys::LORA, pipeline.loras.clone()),
            (keys::PRODUCER, Some(metadata::producer("denoise"))),
        ],
    );
    let (height, width) = settings.latent_size();
    Ok(Header::latents(prompt.batch(), height, width, metadata)?)
}
