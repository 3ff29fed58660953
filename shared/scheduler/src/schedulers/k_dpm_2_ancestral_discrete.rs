//! `KDPM2AncestralDiscreteScheduler`: the midpoint method with fresh noise after each step.

use super::sigma_space::{SigmaSpace, add_noise, ancestral_step, derivative, interleave, middle};
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{Course, SigmaCurve, SigmaToTimestep};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Step, Steps};

struct KDpm2AncestralDiscreteScheduler {
    prediction: Prediction,
    space: SigmaSpace,
    /// Of each step, with a final 0.
    sigmas: Vec<f32>,
    parts: Vec<Part>,
    /// The sample at the beginning of a step, in its middle.
    begun: Option<Vec<f32>>,
}

/// The sigmas of a step.
struct Part {
    /// Of the noise that is added at the end.
    up: f32,
    /// Where the step goes before.
    down: f32,
    /// Between the beginning and `down`.
    middle: f32,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let defaults = Defaults::stable_diffusion("linear", ZeroSnr::NotThere);
    let training = Training::read(keys, &defaults)?;
    let prediction = Prediction::read_noise(keys)?;
    let curve = SigmaCurve::read(keys)?;
    let spacing = Spacing::read(keys, "linspace")?;
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let course = Course::new(&training, &spacing.timesteps(train, n), curve, n).rounded_if_karras();
    let sigmas: Vec<f32> = course.sigmas_f32().chain([0.0]).collect();
    let part = |pair: &[f32]| {
        let (up, down) = ancestral_step(pair[0], pair[1]);
        // The last step goes to zero at once.
        let middle = if down > 0.0 {
            middle(pair[0], down)
        } else {
            0.0
        };
        Part { up, down, middle }
    };
    let parts: Vec<_> = sigmas.windows(2).map(part).collect();

    let to_timestep = SigmaToTimestep::new(&training.sigmas());
    let middles = parts.iter().map(|part| part.middle);
    let between = middles
        .clone()
        .map(|sigma| to_timestep.timestep_torch(sigma));
    let timesteps = course.timesteps.iter().map(|&t| t as f32);
    let schedule = Schedule {
        timesteps: interleave(timesteps, between),
        sigmas: interleave(course.sigmas_f32(), middles),
        num_inference_steps: n,
        num_train_timesteps: train,
        order: 2,
    };
    Ok(Box::new(KDpm2AncestralDiscreteScheduler {
        prediction,
        space: SigmaSpace::new(schedule, &sigmas, spacing),
        sigmas,
        parts,
        begun: None,
    }))
}

impl Scheduler for KDpm2AncestralDiscreteScheduler {
    fn schedule(&self) -> &Schedule {
        &self.space.schedule
    }

    fn init_noise_sigma(&self) -> f32 {
        self.space.init_noise_sigma
    }

    fn scale_model_input(&self, sample: &[f32], i: usize) -> Vec<f32> {
        self.space.scale_model_input(sample, i)
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_noise(original, noise, self.sigmas[i.div_ceil(2)])
    }

    fn step(
        &mut self,
        output: &[f32],
        i: usize,
        sample: &[f32],
        generator: &mut Generator,
    ) -> Step {
        let sigma = self.sigmas[i / 2];
        let part = &self.parts[i / 2];
        let begun = self.begun.take();
        let (here, to) = if begun.is_none() {
            (sigma, part.middle)
        } else {
            (part.middle, part.down)
        };
        let pred_original_sample = zip(output, sample, self.prediction.original_at(here));
        let slope = derivative(sample, &pred_original_sample, here);
        let dt = to - sigma;
        let from = begun.as_deref().unwrap_or(sample);
        let mut prev_sample = zip(from, &slope, |x, slope| x + slope * dt);
        if begun.is_none() {
            self.begun = Some(sample.to_vec());
        } else {
            let noise = generator.randn(sample.len());
            prev_sample = add_noise(&prev_sample, &noise, part.up);
        }
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
