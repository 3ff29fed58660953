//! Text embeddings in, latents out.

#![forbid(unsafe_code)]
// Doc comments of arguments are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

mod conditions;
mod pipeline;
mod prompt;
mod queue;
mod recipes;
mod sampling;
mod settings;
mod start;
mod trace;

use clap::Parser;
use pipeline::Pipeline;
use prompt::{Key, Plan, Prompt};
use queue::{Queue, Steps};
use sampling::Sampling;
pub use sampling::{Numbers, SamplingFlags};
use settings::Settings;
pub use settings::{Flags, Pair};
use start::Pictured;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use trace::Trace;
use turbo_cli::{Console, Error, Output, Result};
use turbo_sdxl::expect_finite;
use turbo_stage::{
    Ahead, Beside, Computed, Fault, Frames, LoraArgs, ModelArgs, Networks, Out, Planned, Slot,
    Stage, StreamArgs, To,
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
    /// Pictures of --images, rows of a frame, the two samples that guidance takes for a picture, and frames of the same
    /// model, size and steps that have come already; nothing is waited for. Weights of linear layers are then read once
    /// for all of them; each sample takes memory of its own, some 200 MB in bfloat16 and 400 MB in float32 at 512x512.
    /// Pictures have the bytes they have alone. With --trace one at a time is drawn.
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
    // A trace has one picture after the other.
    let batch = match &trace {
        Some(_) => 1,
        None => args.batch.get(),
    };
    let mut tool = Denoise {
        networks,
        flags: &args.settings,
        model: &args.model,
        lora: &args.lora,
        pipeline: Slot::default(),
        queue: Queue::new(batch),
        trace: trace.transpose()?,
        console,
        warned: Warned::default(),
    };
    let source = Ahead::new(source(&args)?, batch - 1);
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
    pipeline: Slot<Key, Pipeline>,
    queue: Queue,
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
    /// Which model a frame is drawn with, and which LoRAs are added to it.
    fn model_of(&self, header: &Header) -> Result<Key> {
        let spec = self.model.choose(header.get(keys::MODEL));
        let named: Option<String> = metadata::read(header.metadata(), keys::LORA)?;
        Ok((spec, self.lora.choose(named.as_deref())?))
    }

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

impl Stage for Denoise<'_> {
    type Source = Ahead<Beside<Frames, Frames>>;
    type Plan = Rc<Plan>;
    const WRITES: Kind = Kind::Latents;

    fn plan(
        &mut self,
        record: u64,
        (header, init): (Header, Option<Header>),
    ) -> Result<Option<Planned<Rc<Plan>>>, Fault> {
        let key = self.model_of(&header)?;
        let networks = &self.networks;
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
            plan: Rc::new(Plan {
                pipeline,
                key,
                settings,
                sampling,
            }),
        }))
    }

    fn show(&mut self, plan: &Rc<Plan>, (frame, init): &(Frame, Option<Frame>)) {
        self.queue.push(Prompt::read(plan, frame, init.as_ref()));
    }

    fn wants(&self, (header, _): &(Header, Option<Header>)) -> bool {
        let key = self.model_of(header);
        key.is_ok_and(|key| self.queue.wants(&key))
    }

    fn compute(
        &mut self,
        plan: Rc<Plan>,
        (frame, _): (Frame, Option<Frame>),
        out: &mut Out<'_, '_>,
    ) -> Result<(), Fault> {
        let Plan {
            pipeline,
            settings,
            sampling,
            ..
        } = &*plan;
        let mut prompt = self.queue.pop()?;
        let label = format!("{}: frame {}", self.console.tool(), out.number());
        let calls = sampling.calls().len() as u64;
        let steps = (prompt.all() as u64).saturating_mul(calls);
        let bar = self
            .console
            .bar(&label, Some(steps), turbo_cli::Unit::Items);
        bar.advance(prompt.next as u64 * calls);
        for image in 0..settings.images {
            let header = latents_header(&frame.header, settings, sampling, pipeline, image)?;
            let draw = || {
                let mut steps = Steps {
                    metadata: header.metadata(),
                    trace: self.trace.as_mut(),
                    bar: &bar,
                };
                let drawn = self.queue.draw(&mut prompt, image, &mut steps)?;
                expect_finite("latents", &drawn.latents)?;
                Ok(Computed {
                    body: vec![(names::LATENTS, f32_bytes(&drawn.latents))],
                    steps: Some(drawn.steps),
                    ..Computed::default()
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
