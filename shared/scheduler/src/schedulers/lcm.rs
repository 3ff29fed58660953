//! `LCMScheduler`: sampling of latent consistency models (<https://arxiv.org/abs/2310.04378>).

use super::alpha_space::AlphaSpace;
use super::distilled::distilled_timesteps;
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, Share, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

/// Standard deviation of the data, in the boundary condition.
const SIGMA_DATA: f32 = 0.5;

struct LcmScheduler {
    space: AlphaSpace,
    prediction: Prediction,
    limit: Limit,
    timestep_scaling: f32,
    /// The timesteps before they were shifted: where noise is added to the sample.
    unshifted: Vec<i64>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let defaults = Defaults::stable_diffusion("scaled_linear", ZeroSnr::Rescaled);
    let training = Training::read(keys, &defaults)?;
    // Nothing lies behind the last timestep, and the spacing is the distillation's: both keys have no effect.
    AlphaSpace::read_final(keys, &training, true)?;
    Spacing::read(keys, "leading")?;
    let prediction = Prediction::read(keys)?;
    let limit = Limit::read(keys, false)?;
    let timestep_scaling = keys.number("timestep_scaling", 10.0)? as f32;
    let (unshifted, n) = distilled_timesteps(keys, steps, training.len())?;
    // NitroFusion's TimestepShiftLCMScheduler: the network is told, and the picture foreseen, further down.
    let train = training.len();
    let timesteps = match keys.count_in("shifted_timestep", 0..=train, 0)? {
        0 => unshifted.clone(),
        shift => {
            let shifted = |t: &f64| f64::from((*t as f32 * shift as f32 / train as f32).trunc());
            unshifted.iter().map(shifted).collect()
        }
    };
    Ok(Box::new(LcmScheduler {
        space: AlphaSpace::new(keys, training, &timesteps, n)?,
        unshifted: unshifted.iter().map(|&t| t as i64).collect(),
        prediction,
        limit,
        timestep_scaling,
    }))
}

impl Scheduler for LcmScheduler {
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
        let original = self.prediction.original(self.space.share(i));
        let original = self.limit.apply(zip(output, sample, original));
        let scaled = self.space.timesteps[i] as f32 * self.timestep_scaling;
        let (scaled2, data2) = (scaled * scaled, SIGMA_DATA * SIGMA_DATA);
        let c_skip = data2 / (scaled2 + data2);
        let c_out = scaled / (scaled2 + data2).sqrt();
        let denoised = zip(&original, sample, |original, sample| {
            c_out * original + c_skip * sample
        });
        let prev_sample = match self.unshifted.get(i + 1) {
            None => denoised.clone(),
            Some(&next) => {
                let noise = generator.randn(sample.len());
                Share::of_variance(self.space.training.alpha(next)).mix(&denoised, &noise)
            }
        };
        Step {
            prev_sample,
            pred_original_sample: denoised,
        }
    }
}
