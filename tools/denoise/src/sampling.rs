//! Which scheduler, which steps: from the record, its recipe, the flags, their recipe and the checkpoint, in this
//! order.

use crate::recipes::{self, recipe};
use serde_json::{Map, Value};
use std::ops::Range;
use std::str::FromStr;
use turbo_cli::{Error, Result};
use turbo_scheduler::{Scheduler, SchedulerConfig, Span, Start, StepChoice, Steps, build};
use turbo_wire::metadata::{self, read};
use turbo_wire::{Metadata, keys, settings};

/// Numbers with commas between.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl FromStr for Numbers {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()
            .map(Self)
    }
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(f64::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

/// What the command line says of sampling.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct SamplingFlags {
    /// Take scheduler, steps, guidance and size from a published recipe, such as lightning-4; list prints them all
    ///
    /// Each recipe is what the authors of a model say of it, on the page that the list names. The flags and a record's
    /// own settings win over it, one by one; another scheduler takes with it what the recipe sets for its own.
    #[arg(long, value_name = "NAME", value_parser = recipes::parse)]
    pub recipe: Option<String>,

    /// Scheduler: euler, euler-ancestral, heun, dpm2, dpm2-ancestral, lms, dpmpp-2m, dpmpp-2m-sde, dpmpp-2s, unipc,
    /// deis, pndm, ddim, ddpm, lcm or tcd [default: the checkpoint's]
    ///
    /// diffusers' names of the classes are taken as well, such as EulerDiscreteScheduler. Another class than the
    /// checkpoint's takes from its scheduler_config.json what diffusers' from_config takes.
    #[arg(long, value_name = "NAME", value_parser = parse_scheduler)]
    pub scheduler: Option<String>,

    /// Set a key of the scheduler over the checkpoint's scheduler_config.json, such as use_karras_sigmas=true
    ///
    /// The keys are diffusers'. A value is JSON, or else a string. May be given several times; a key that the scheduler
    /// does not have is answered with those that it has.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key)]
    pub scheduler_set: Vec<(String, Value)>,

    /// Run at these timesteps, such as 999,749,499,249, instead of a number of steps
    #[arg(long, value_name = "LIST", conflicts_with = "sigmas",
        value_parser = settings::parse::<Numbers>(keys::TIMESTEPS))]
    pub timesteps: Option<Numbers>,

    /// Run at these sigmas, with the one after the last step, such as 14.6,4,1.6,0.7,0, instead of a number of steps
    #[arg(long, value_name = "LIST", value_parser = settings::parse::<Numbers>(keys::SIGMAS))]
    pub sigmas: Option<Numbers>,

    /// Noise that each step of ddim or tcd adds: 0 none, 1 the most [default: 0]
    #[arg(long, value_name = "X", value_parser = settings::parse::<f64>(keys::ETA))]
    pub eta: Option<f64>,

    /// Bring guidance back to the contrast that the prompt alone has: 0 not at all, 1 fully [default: 0]
    #[arg(long, value_name = "X", value_parser = settings::parse::<f32>(keys::GUIDANCE_RESCALE))]
    pub guidance_rescale: Option<f32>,

    /// Start at this share of the denoising, on latents that another run left noisy with --denoising-end
    #[arg(long, value_name = "X", value_parser = settings::parse::<f64>(keys::DENOISING_START))]
    pub denoising_start: Option<f64>,

    /// End at this share of the denoising, and leave the noise that is there
    #[arg(long, value_name = "X", value_parser = settings::parse::<f64>(keys::DENOISING_END))]
    pub denoising_end: Option<f64>,
}

fn parse_scheduler(name: &str) -> std::result::Result<String, String> {
    let base = SchedulerConfig::from_json(&Value::Object(Map::new()));
    let found = base.and_then(|base| base.with_class(name));
    found
        .map(|_| name.to_owned())
        .map_err(|_| format!("expected one of {}", turbo_scheduler::names().join(", ")))
}

fn parse_key(text: &str) -> std::result::Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| "expected KEY=VALUE, such as timestep_spacing=trailing".to_owned())?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((key.to_owned(), value))
}

/// What one of those who have a say says of sampling.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Level {
    pub(crate) scheduler: Option<String>,
    pub(crate) set: Map<String, Value>,
    pub(crate) eta: Option<f64>,
    pub(crate) steps: Option<usize>,
    pub(crate) timesteps: Option<Numbers>,
    pub(crate) sigmas: Option<Numbers>,
    pub(crate) guidance_scale: Option<f32>,
    pub(crate) guidance_rescale: Option<f32>,
    pub(crate) denoising_start: Option<f64>,
    pub(crate) denoising_end: Option<f64>,
    /// Of a square picture, in pixels; only a recipe says it.
    pub(crate) side: Option<usize>,
}

impl recipes::Recipe {
    /// What it says.
    pub(crate) fn level(&self) -> Level {
        Level {
            scheduler: Some(self.scheduler().to_owned()),
            set: self.set(),
            eta: self.eta,
            steps: Some(self.steps),
            timesteps: self.timesteps.and_then(|list| list.parse().ok()),
            sigmas: None,
            guidance_scale: Some(self.guidance_scale),
            side: Some(self.side),
            ..Level::default()
        }
    }
}

impl Level {
    /// What a record says.
    fn of_record(own: &Metadata) -> Result<Self> {
        let set: Option<String> = read(own, keys::SCHEDULER_SET)?;
        Ok(Self {
            scheduler: read(own, keys::SCHEDULER)?,
            set: set
                .and_then(|set| serde_json::from_str(&set).ok())
                .unwrap_or_default(),
            eta: read(own, keys::ETA)?,
            steps: read(own, keys::STEPS)?,
            timesteps: read(own, keys::TIMESTEPS)?,
            sigmas: read(own, keys::SIGMAS)?,
            guidance_scale: read(own, keys::GUIDANCE_SCALE)?,
            guidance_rescale: read(own, keys::GUIDANCE_RESCALE)?,
            denoising_start: read(own, keys::DENOISING_START)?,
            denoising_end: read(own, keys::DENOISING_END)?,
            side: None,
        })
    }

    /// What the flags say; two of them stand elsewhere.
    fn of_flags(flags: &SamplingFlags, steps: Option<usize>, guidance_scale: Option<f32>) -> Self {
        Self {
            scheduler: flags.scheduler.clone(),
            set: flags.scheduler_set.iter().cloned().collect(),
            eta: flags.eta,
            steps,
            timesteps: flags.timesteps.clone(),
            sigmas: flags.sigmas.clone(),
            guidance_scale,
            guidance_rescale: flags.guidance_rescale,
            denoising_start: flags.denoising_start,
            denoising_end: flags.denoising_end,
            side: None,
        }
    }

    /// How its steps are chosen, if it says so.
    fn choice(&self) -> Result<Option<StepChoice>> {
        let (key, list, steps) = match (&self.timesteps, &self.sigmas) {
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    "timesteps: expected either timesteps or sigmas, found both; leave one out",
                ));
            }
            (Some(list), None) => (
                keys::TIMESTEPS,
                StepChoice::Timesteps(list.0.clone()),
                list.0.len(),
            ),
            (None, Some(list)) => (
                keys::SIGMAS,
                StepChoice::Sigmas(list.0.clone()),
                list.0.len() - 1,
            ),
            (None, None) => return Ok(self.steps.map(StepChoice::Count)),
        };
        match self.steps {
            Some(found) if found != steps => Err(Error::new(format_args!(
                "steps: expected {steps}, as {key} has, found {found}; leave steps out"
            ))),
            _ => Ok(Some(list)),
        }
    }
}

/// All that have a say, in the order of their weight: the last one wins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Levels {
    levels: Vec<Level>,
    /// The name of the recipe that counts.
    recipe: Option<String>,
}

impl Levels {
    /// Of a record with this metadata, with these flags.
    pub(crate) fn new(
        own: &Metadata,
        flags: &SamplingFlags,
        steps: Option<usize>,
        guidance_scale: Option<f32>,
    ) -> Result<Self> {
        let mut levels = Vec::new();
        if let Some(name) = &flags.recipe {
            levels.push(recipe(name)?.level());
        }
        levels.push(Level::of_flags(flags, steps, guidance_scale));
        let own_recipe: Option<String> = read(own, keys::RECIPE)?;
        if let Some(name) = &own_recipe {
            levels.push(recipe(name)?.level());
        }
        levels.push(Level::of_record(own)?);
        Ok(Self {
            levels,
            recipe: own_recipe.or_else(|| flags.recipe.clone()),
        })
    }

    #[cfg(test)]
    pub(crate) fn of(levels: Vec<Level>) -> Self {
        Self {
            levels,
            recipe: None,
        }
    }

    /// Whether anybody named a recipe or a scheduler.
    pub(crate) fn choose_a_scheduler(&self) -> bool {
        self.levels.iter().any(|level| level.scheduler.is_some())
    }

    /// The word of the weightiest that says something.
    fn last<T>(&self, says: impl Fn(&Level) -> Option<T>) -> Option<T> {
        self.levels.iter().rev().find_map(says)
    }

    /// Where a run starts on latents that are noisy already, if anybody says so.
    pub(crate) fn denoising_start(&self) -> Option<f64> {
        self.last(|level| level.denoising_start)
    }

    /// How many steps there are, if anybody says so.
    pub(crate) fn steps(&self) -> Result<Option<usize>> {
        Ok(self.choice()?.map(|choice| count(&choice)))
    }

    /// How the steps are chosen, if anybody says so.
    fn choice(&self) -> Result<Option<StepChoice>> {
        let mut choices = self.levels.iter().rev().map(Level::choice);
        choices.find_map(Result::transpose).transpose()
    }

    /// Guidance, if anybody says so.
    pub(crate) fn guidance_scale(&self) -> Option<f32> {
        self.last(|level| level.guidance_scale)
    }

    /// The side of a square picture, if a recipe says so.
    pub(crate) fn side(&self) -> Option<usize> {
        self.last(|level| level.side)
    }

    /// Settles it, over the checkpoint's configuration. `steps` are taken where nobody says how many.
    pub(crate) fn settle(
        &self,
        mut config: SchedulerConfig,
        steps: usize,
        start: Start,
    ) -> Result<Sampling> {
        let mut eta = None;
        for level in &self.levels {
            if let Some(name) = &level.scheduler {
                let other = config.clone().with_class(name)?;
                // What was set for another class means nothing to this one.
                if config.name().ok() != other.name().ok() {
                    config = other.without_keys();
                    eta = None;
                }
            }
            for (key, value) in &level.set {
                config = config.with_key(key, value.clone());
            }
            eta = level.eta.or(eta);
        }
        let steps = Steps {
            choice: self.choice()?.unwrap_or(StepChoice::Count(steps)),
            eta: eta.unwrap_or(0.0),
        };
        let sampling = Sampling {
            guidance_rescale: self.last(|level| level.guidance_rescale).unwrap_or(0.0),
            span: Span {
                start,
                denoising_end: self.last(|level| level.denoising_end),
            },
            recipe: self.recipe.clone(),
            eta,
            config,
            steps,
        };
        // What the scheduler does not have is said before anything is computed.
        let scheduler = build(&sampling.config, &sampling.steps)?;
        if sampling.span.calls(&*scheduler).is_empty() {
            return Err(nothing_to_run(&*scheduler));
        }
        Ok(sampling)
    }
}

/// How many steps there are.
fn count(choice: &StepChoice) -> usize {
    match choice {
        StepChoice::Count(count) => *count,
        StepChoice::Timesteps(list) => list.len(),
        StepChoice::Sigmas(list) => list.len() - 1,
    }
}

/// No step lies within the part that is to be run.
fn nothing_to_run(scheduler: &dyn Scheduler) -> Error {
    let timesteps = scheduler.timesteps();
    Error::new(format_args!(
        "denoising_start and denoising_end: expected a step between them, found none; the steps lie at timesteps \
         {:?} of {}",
        timesteps,
        scheduler.schedule().num_train_timesteps
    ))
}

/// How a picture is sampled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampling {
    config: SchedulerConfig,
    steps: Steps,
    pub(crate) guidance_rescale: f32,
    /// The part of the steps that is run.
    pub(crate) span: Span,
    eta: Option<f64>,
    recipe: Option<String>,
}

impl Sampling {
    /// A scheduler for a picture.
    pub(crate) fn scheduler(&self) -> Result<Box<dyn Scheduler>> {
        Ok(build(&self.config, &self.steps)?)
    }

    /// diffusers' name of the scheduler.
    pub(crate) fn scheduler_name(&self) -> &'static str {
        self.config.class_name().unwrap_or("the checkpoint's")
    }

    /// Calls of the network a picture.
    pub(crate) fn calls(&self) -> Range<usize> {
        self.scheduler()
            .map_or(0..0, |scheduler| self.span.calls(&*scheduler))
    }

    /// Whether it is what a recipe says of the scheduler and its steps.
    pub(crate) fn follows(&self, recipe: &recipes::Recipe) -> bool {
        let level = recipe.level();
        let listed = |list: &Numbers| self.steps.choice == StepChoice::Timesteps(list.0.clone());
        self.config.is(recipe.scheduler())
            && level
                .set
                .iter()
                .all(|(key, value)| self.config.value(key) == Some(value))
            && level.timesteps.as_ref().is_none_or(listed)
    }

    /// Writes it where a picture's metadata comes from.
    pub(crate) fn write(&self, metadata: &mut Metadata) {
        let (timesteps, sigmas) = match &self.steps.choice {
            StepChoice::Count(_) => (None, None),
            StepChoice::Timesteps(list) => (Some(list), None),
            StepChoice::Sigmas(list) => (None, Some(list)),
        };
        let list = |list: &Vec<f64>| Numbers(list.clone()).to_string();
        let set = self.config.telling_keys();
        let above = |value: f32| (value > 0.0).then(|| value.to_string());
        let start = match self.span.start {
            Start::Share(share) => Some(share.to_string()),
            _ => None,
        };
        metadata::write(
            metadata,
            [
                (keys::STEPS, Some(count(&self.steps.choice).to_string())),
                (keys::TIMESTEPS, timesteps.map(list)),
                (keys::SIGMAS, sigmas.map(list)),
                (keys::RECIPE, self.recipe.clone()),
                (
                    keys::SCHEDULER,
                    self.config.class_name().ok().map(str::to_owned),
                ),
                (
                    keys::SCHEDULER_SET,
                    (!set.is_empty()).then(|| Value::Object(set).to_string()),
                ),
                (keys::ETA, self.eta.map(|eta| eta.to_string())),
                (keys::GUIDANCE_RESCALE, above(self.guidance_rescale)),
                (keys::DENOISING_START, start),
                (
                    keys::DENOISING_END,
                    self.span.denoising_end.map(|share| share.to_string()),
                ),
            ],
        );
    }
}

#[cfg(test)]
mod tests;
