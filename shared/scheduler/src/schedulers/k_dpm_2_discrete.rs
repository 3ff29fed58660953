//! `KDPM2DiscreteScheduler`: the midpoint method, which calls the network in the middle of a step and goes by the
//! slope there.

use super::sigma_space::{SigmaSpace, add_noise, derivative, interleave, middle};
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{Course, SigmaCurve, SigmaToTimestep};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Step, Steps};

struct KDpm2DiscreteScheduler {
    prediction: Prediction,
    space: SigmaSpace,
    /// Of each step, with a final 0.
    sigmas: Vec<f32>,
    /// In the middle of each step.
    middles: Vec<f32>,
    /// The sample at the beginning of a step, in its middle.
    begun: Option<Vec<f32>>,
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
    let middles: Vec<f32> = sigmas
        .windows(2)
        .map(|pair| middle(pair[1], pair[0]))
        .collect();

    let to_timestep = SigmaToTimestep::new(&training.sigmas());
    let between = middles
        .iter()
        .map(|&sigma| to_timestep.timestep_torch(sigma));
    let timesteps = course.timesteps.iter().map(|&t| t as f32);
    let schedule = Schedule {
        timesteps: interleave(timesteps, between),
        sigmas: interleave(course.sigmas_f32(), middles.iter().copied()),
        num_inference_steps: n,
        num_train_timesteps: train,
        order: 2,
    };
    Ok(Box::new(KDpm2DiscreteScheduler {
        prediction,
        space: SigmaSpace::new(schedule, &sigmas, spacing),
        sigmas,
        middles,
        begun: None,
    }))
}

impl Scheduler for KDpm2DiscreteScheduler {
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

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let (sigma, sigma_next) = (self.sigmas[i / 2], self.sigmas[i / 2 + 1]);
        let middle = self.middles[i / 2];
        let begun = self.begun.take();
        let (here, to) = if begun.is_none() {
            (sigma, middle)
        } else {
            (middle, sigma_next)
        };
        let pred_original_sample = zip(output, sample, self.prediction.original_at(here));
        let slope = derivative(sample, &pred_original_sample, here);
        let dt = to - sigma;
        let from = begun.as_deref().unwrap_or(sample);
        let prev_sample = zip(from, &slope, |x, slope| x + slope * dt);
        if begun.is_none() {
            self.begun = Some(sample.to_vec());
        }
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
