//! `DDPMScheduler` (<https://arxiv.org/abs/2006.11239>).

use super::alpha_space::{AlphaSpace, with_noise};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::spacing::Spacing;
use crate::steps::Chosen;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

/// `variance_type`: how much noise a step adds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variance {
    /// The posterior's.
    Small,
    /// The same, by way of its logarithm.
    SmallLog,
    /// The step's beta.
    Large,
}

struct DdpmScheduler {
    space: AlphaSpace,
    prediction: Prediction,
    limit: Limit,
    variance: Variance,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::Rescaled))?;
    // "learned" needs a network of eight channels, and with "fixed_large_log" diffusers takes the root of a negative.
    let variance = keys.choice(
        "variance_type",
        &[
            ("fixed_small", Variance::Small),
            ("fixed_small_log", Variance::SmallLog),
            ("fixed_large", Variance::Large),
        ],
        "fixed_small",
    )?;
    let prediction = Prediction::read(keys)?;
    let limit = Limit::read(keys, true)?;
    let spacing = Spacing::read(keys, "leading")?;
    let train = training.len();
    let (timesteps, n) = match steps.count_or_timesteps(keys, train)? {
        Chosen::Count(n) => (spacing.whole_timesteps(train, n), n),
        Chosen::Timesteps(list) => (list.to_vec(), list.len()),
    };
    Ok(Box::new(DdpmScheduler {
        space: AlphaSpace::new(keys, training, &timesteps, n)?,
        prediction,
        limit,
        variance,
    }))
}

impl Scheduler for DdpmScheduler {
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
        let timesteps = &self.space.timesteps;
        let alpha = self.space.alpha(i);
        let alpha_prev = match timesteps.get(i + 1) {
            Some(&timestep) if timestep >= 0 => self.space.training.alpha(timestep),
            _ => 1.0,
        };
        let (beta, beta_prev) = (1.0 - alpha, 1.0 - alpha_prev);
        let step_alpha = alpha / alpha_prev;
        let step_beta = 1.0 - step_alpha;
        let original = self.prediction.original(self.space.share(i));
        let pred_original_sample = self.limit.apply(zip(output, sample, original));

        let of_original = alpha_prev.sqrt() * step_beta / beta;
        let of_sample = step_alpha.sqrt() * beta_prev / beta;
        let mut prev_sample = zip(&pred_original_sample, sample, |original, sample| {
            of_original * original + of_sample * sample
        });
        if timesteps[i] > 0 {
            let noise = generator.randn(sample.len());
            let small = (beta_prev / beta * step_beta).max(1e-20);
            let scale = match self.variance {
                Variance::Small => small.sqrt(),
                Variance::SmallLog => (0.5 * small.ln()).exp(),
                Variance::Large => step_beta.sqrt(),
            };
            prev_sample = with_noise(&prev_sample, scale, &noise);
        }
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
