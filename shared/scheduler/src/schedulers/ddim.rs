//! `DDIMScheduler` (<https://arxiv.org/abs/2010.02502>).

use super::alpha_space::{AlphaSpace, with_noise};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

struct DdimScheduler {
    space: AlphaSpace,
    prediction: Prediction,
    limit: Limit,
    /// The picture's share behind the last step.
    final_alpha_cumprod: f32,
    eta: f64,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::Rescaled))?;
    let final_alpha_cumprod = AlphaSpace::read_final(keys, &training, true)?;
    let prediction = Prediction::read(keys)?;
    let limit = Limit::read(keys, true)?;
    let spacing = Spacing::read(keys, "leading")?;
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let timesteps = spacing.whole_timesteps(train, n);
    Ok(Box::new(DdimScheduler {
        space: AlphaSpace::new(keys, training, &timesteps, n)?,
        prediction,
        limit,
        final_alpha_cumprod,
        eta: steps.eta,
    }))
}

impl Scheduler for DdimScheduler {
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
        let schedule = &self.space.schedule;
        // Not the next timestep of the list, but the next by an even spacing, as diffusers has it.
        let ratio = schedule.num_train_timesteps / schedule.num_inference_steps;
        let prev_timestep = self.space.timesteps[i] - ratio as i64;
        let alpha = self.space.alpha(i);
        let alpha_prev = if prev_timestep < 0 {
            self.final_alpha_cumprod
        } else {
            self.space.training.alpha(prev_timestep)
        };
        let share = self.space.share(i);
        let original = zip(output, sample, self.prediction.original(share));
        let pred_original_sample = self.limit.apply(original);
        let epsilon = zip(output, sample, self.prediction.epsilon(share));

        let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
        let std_dev = self.eta as f32 * variance.sqrt();
        let direction = (1.0 - alpha_prev - std_dev * std_dev).sqrt();
        let scale = alpha_prev.sqrt();
        let mut prev_sample = zip(&pred_original_sample, &epsilon, |original, epsilon| {
            scale * original + direction * epsilon
        });
        if self.eta > 0.0 {
            let noise = generator.randn(sample.len());
            prev_sample = with_noise(&prev_sample, std_dev, &noise);
        }
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
