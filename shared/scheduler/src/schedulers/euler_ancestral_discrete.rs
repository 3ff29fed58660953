//! `EulerAncestralDiscreteScheduler`: Euler steps with fresh noise after each, SDXL Turbo's own.

use super::sigma_space::{SigmaSpace, ancestral_step};
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::spacing::Spacing;
use crate::schedule::{Schedule, sigmas};
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

struct EulerAncestralDiscreteScheduler {
    prediction: Prediction,
    space: SigmaSpace,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::Floored))?;
    let prediction = Prediction::read_noise(keys)?;
    let spacing = Spacing::read(keys, "linspace")?;
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let timesteps = spacing.timesteps(train, n);
    let timesteps: Vec<_> = timesteps.into_iter().map(|t| f64::from(t as f32)).collect();
    let mut sigmas: Vec<f32> = sigmas::at_timesteps(&training.sigmas(), &timesteps)
        .into_iter()
        .map(|sigma| sigma as f32)
        .collect();
    let schedule = Schedule {
        timesteps: timesteps.iter().map(|&t| t as f32).collect(),
        sigmas: sigmas.clone(),
        num_inference_steps: n,
        num_train_timesteps: train,
        order: 1,
    };
    sigmas.push(0.0);
    Ok(Box::new(EulerAncestralDiscreteScheduler {
        prediction,
        space: SigmaSpace::new(schedule, sigmas, spacing),
    }))
}

impl Scheduler for EulerAncestralDiscreteScheduler {
    fn space(&self) -> &dyn Space {
        &self.space
    }

    fn step(
        &mut self,
        output: &[f32],
        i: usize,
        sample: &[f32],
        generator: &mut Generator,
    ) -> Step {
        let sigma = self.space.sigmas[i];
        let (sigma_up, sigma_down) = ancestral_step(sigma, self.space.sigmas[i + 1]);
        let dt = sigma_down - sigma;
        let pred_original_sample = zip(output, sample, self.prediction.original_at(sigma));
        let noise = generator.randn(sample.len());
        // For epsilon the slope is the output again, but for its rounding, which diffusers has too.
        let down = zip(sample, &pred_original_sample, |sample, original| {
            sample + (sample - original) / sigma * dt
        });
        Step {
            prev_sample: zip(&down, &noise, |sample, noise| sample + noise * sigma_up),
            pred_original_sample,
        }
    }
}
