//! `TCDScheduler`: sampling of trajectory consistency models (<https://arxiv.org/abs/2402.19159>).

use super::alpha_space::AlphaSpace;
use super::distilled::distilled_timesteps;
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, Share, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

struct TcdScheduler {
    space: AlphaSpace,
    prediction: Prediction,
    /// The paper's gamma.
    eta: f64,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let defaults = Defaults::stable_diffusion("scaled_linear", ZeroSnr::Rescaled);
    let training = Training::read(keys, &defaults)?;
    // diffusers' class has these keys, and its steps follow none of them.
    AlphaSpace::read_final(keys, &training, true)?;
    Spacing::read(keys, "leading")?;
    Limit::read(keys, false)?;
    keys.number("timestep_scaling", 10.0)?;
    let prediction = Prediction::read(keys)?;
    let (timesteps, n) = distilled_timesteps(keys, steps, training.len())?;
    Ok(Box::new(TcdScheduler {
        space: AlphaSpace::new(keys, training, &timesteps, n)?,
        prediction,
        eta: steps.eta,
    }))
}

impl Scheduler for TcdScheduler {
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
        let next = self.space.timesteps.get(i + 1).copied();
        let prev_timestep = next.unwrap_or(0);
        // The sample goes down beyond the next timestep, and noise brings it up again.
        let timestep_s = ((1.0 - self.eta) as f32 * prev_timestep as f32).floor() as i64;
        let alpha_prev = self.space.training.alpha(prev_timestep);
        let alpha_s = self.space.training.alpha(timestep_s);
        let share = self.space.share(i);
        let pred_original_sample = zip(output, sample, self.prediction.original(share));
        let epsilon = zip(output, sample, self.prediction.epsilon(share));
        let noised = Share::of_variance(alpha_s).mix(&pred_original_sample, &epsilon);
        let prev_sample = if self.eta > 0.0 && next.is_some() {
            let noise = generator.randn(sample.len());
            Share::of_variance(alpha_prev / alpha_s).mix(&noised, &noise)
        } else {
            noised
        };
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
