//! The midpoint method: a step calls the network at its beginning and in its middle, and goes by the slope there.

use super::sigma_space::{SigmaSpace, derivative, interleave};
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{Course, SigmaCurve, SigmaToTimestep};
use crate::schedule::spacing::Spacing;
use crate::{Result, Step, Steps};

/// A run by the midpoint method.
pub(crate) struct Midpoint {
    prediction: Prediction,
    pub(crate) space: SigmaSpace,
    /// The sigma in the middle of each step.
    middles: Vec<f32>,
    /// In the middle of a step, the sample at its beginning.
    begun: Option<Vec<f32>>,
}

impl Midpoint {
    /// Reads the keys of diffusers' two classes. `middle(sigma, next)` is the middle of a step between these sigmas.
    pub(crate) fn build(
        keys: &mut Keys<'_>,
        steps: &Steps,
        middle: impl Fn(f32, f32) -> f32,
    ) -> Result<Self> {
        let defaults = Defaults::stable_diffusion("linear", ZeroSnr::NotThere);
        let training = Training::read(keys, &defaults)?;
        let prediction = Prediction::read_noise(keys)?;
        let curve = SigmaCurve::read(keys)?;
        let spacing = Spacing::read(keys, "linspace")?;
        let train = training.len();
        let n = steps.only_count(keys, train)?;
        let course =
            Course::new(&training, &spacing.timesteps(train, n), curve, n).rounded_if_karras();
        let sigmas: Vec<f32> = course.sigmas_f32().chain([0.0]).collect();
        let pairs = sigmas.windows(2);
        let middles: Vec<f32> = pairs.map(|pair| middle(pair[0], pair[1])).collect();

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
        Ok(Self {
            prediction,
            space: SigmaSpace::new(schedule, sigmas, spacing),
            middles,
            begun: None,
        })
    }

    /// The sigmas at both ends of the step that call `i` belongs to.
    pub(crate) fn ends(&self, i: usize) -> (f32, f32) {
        (self.space.sigmas[i / 2], self.space.sigmas[i / 2 + 1])
    }

    /// Call `i`, of a step that ends at sigma `to`; and whether that was the step's second call.
    pub(crate) fn step(
        &mut self,
        output: &[f32],
        i: usize,
        sample: &[f32],
        to: f32,
    ) -> (Step, bool) {
        let (sigma, middle) = (self.space.sigmas[i / 2], self.middles[i / 2]);
        let begun = self.begun.take();
        let is_second = begun.is_some();
        let (here, to) = if is_second {
            (middle, to)
        } else {
            (sigma, middle)
        };
        let pred_original_sample = zip(output, sample, self.prediction.original_at(here));
        let slope = derivative(sample, &pred_original_sample, here);
        let dt = to - sigma;
        let from = begun.as_deref().unwrap_or(sample);
        let prev_sample = zip(from, &slope, |x, slope| x + slope * dt);
        if !is_second {
            self.begun = Some(sample.to_vec());
        }
        let step = Step {
            prev_sample,
            pred_original_sample,
        };
        (step, is_second)
    }
}
