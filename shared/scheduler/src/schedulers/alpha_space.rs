//! What the classes share that look a timestep up in the table of training: a sample has `sqrt(alpha)` of the picture
//! and `sqrt(1 - alpha)` of unit noise.

use crate::keys::Keys;
use crate::prediction::{Share, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{self, Training};
use crate::{Result, Space};

/// The timesteps of such a class, and the table.
pub(crate) struct AlphaSpace {
    pub(crate) schedule: Schedule,
    pub(crate) training: Training,
    /// The schedule's, whole.
    pub(crate) timesteps: Vec<i64>,
}

impl AlphaSpace {
    /// Refuses timesteps beyond the table, where an offset leads.
    pub(crate) fn new(
        keys: &Keys<'_>,
        training: Training,
        timesteps: &[f64],
        n: usize,
    ) -> Result<Self> {
        let train = training.len();
        if let Some(beyond) = timesteps.iter().find(|&&t| t >= train as f64) {
            return Err(keys.combination(format!(
                "timestep {beyond} is beyond the {train} of the training; set steps_offset lower, or take fewer steps"
            )));
        }
        let timesteps: Vec<i64> = timesteps.iter().map(|&t| t as i64).collect();
        Ok(Self {
            schedule: Schedule {
                timesteps: timesteps.iter().map(|&t| t as f32).collect(),
                sigmas: timesteps
                    .iter()
                    .map(|&t| betas::sigma(training.alpha(t)))
                    .collect(),
                num_inference_steps: n,
                num_train_timesteps: train,
                order: 1,
            },
            training,
            timesteps,
        })
    }

    /// The picture's share of the variance before call `i`.
    pub(crate) fn alpha(&self, i: usize) -> f32 {
        self.training.alpha(self.timesteps[i])
    }

    /// What a sample is made of before call `i`.
    pub(crate) fn share(&self, i: usize) -> Share {
        Share::of_variance(self.alpha(i))
    }

    /// The picture's share behind the last step: all, or that of timestep 0.
    pub(crate) fn read_final(
        keys: &mut Keys<'_>,
        training: &Training,
        default: bool,
    ) -> Result<f32> {
        let one = keys.bool("set_alpha_to_one", default)?;
        Ok(if one { 1.0 } else { training.alpha(0) })
    }
}

impl Space for AlphaSpace {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        self.share(i).mix(original, noise)
    }
}

/// A sample with noise of this scale.
pub(crate) fn with_noise(sample: &[f32], scale: f32, noise: &[f32]) -> Vec<f32> {
    zip(sample, noise, |sample, noise| sample + scale * noise)
}
