//! `diffusers.EulerAncestralDiscreteScheduler`.

use crate::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use crate::{Error, Generator, Result, schedule};
use serde_json::Value;

/// Ancestral sampling with Euler steps, as diffusers' `scheduling_euler_ancestral_discrete.py` does it.
///
/// Samples are flat `f32` slices of any shape, one picture each. Steps are counted from 0; `timesteps()[index]` is
/// what the network is told.
#[derive(Clone, Debug)]
pub struct EulerAncestralDiscreteScheduler {
    config: SchedulerConfig,
    /// Sigma of every training timestep.
    train_sigmas: Vec<f32>,
    timesteps: Vec<f32>,
    sigmas: Vec<f32>,
}

impl EulerAncestralDiscreteScheduler {
    /// From the content of `scheduler_config.json`.
    ///
    /// # Errors
    /// A key with a value that is not supported: see [`SchedulerConfig::from_json`].
    pub fn from_config(config: &Value) -> Result<Self> {
        Ok(Self::new(SchedulerConfig::from_json(config)?))
    }

    /// From a checked configuration. There are no timesteps until [`Self::set_timesteps`] chose them.
    pub fn new(config: SchedulerConfig) -> Self {
        let train_sigmas = schedule::train_sigmas(&config);
        Self {
            config,
            train_sigmas,
            timesteps: Vec::new(),
            sigmas: Vec::new(),
        }
    }

    /// Chooses `num_inference_steps` timesteps and their sigmas.
    ///
    /// Where rounding makes trailing spacing one timestep longer (61 steps is the first such number), it is here
    /// as in diffusers.
    ///
    /// # Errors
    /// [`Error::Steps`] for zero steps, or more than the model was trained on.
    pub fn set_timesteps(&mut self, num_inference_steps: usize) -> Result<()> {
        let max = self.config.num_train_timesteps;
        if !(1..=max).contains(&num_inference_steps) {
            return Err(Error::Steps {
                max,
                found: num_inference_steps,
            });
        }
        self.timesteps = schedule::timesteps(&self.config, num_inference_steps);
        self.sigmas = schedule::sigmas(&self.train_sigmas, &self.timesteps);
        Ok(())
    }

    /// What the network is told at each step.
    pub fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    /// Standard deviation of the noise before each step, and a final 0.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// What the first noise is multiplied by (0 before [`Self::set_timesteps`]).
    pub fn init_noise_sigma(&self) -> f32 {
        let max = self.sigmas.iter().copied().fold(0.0, f32::max);
        match self.config.timestep_spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => max,
            TimestepSpacing::Leading => (max * max + 1.0).sqrt(),
        }
    }

    /// Multiplies unit noise by [`Self::init_noise_sigma`].
    pub fn scale_initial_noise(&self, noise: &mut [f32]) {
        let sigma = self.init_noise_sigma();
        for value in noise {
            *value *= sigma;
        }
    }

    /// The network's input at step `index`: `sample / sqrt(sigma² + 1)`.
    ///
    /// # Panics
    /// If there is no such step.
    pub fn scale_model_input(&self, sample: &[f32], index: usize) -> Vec<f32> {
        let sigma = self.sigmas[..self.timesteps.len()][index];
        let scale = (sigma * sigma + 1.0).sqrt();
        sample.iter().map(|value| value / scale).collect()
    }

    /// The sample after step `index`. Noise is drawn at every step, at the last one too, where it has no weight:
    /// what the generator gives afterwards depends on it.
    ///
    /// # Panics
    /// If there is no such step, or the lengths differ.
    pub fn step(
        &self,
        model_output: &[f32],
        index: usize,
        sample: &[f32],
        generator: &mut Generator,
    ) -> Vec<f32> {
        assert_eq!(
            model_output.len(),
            sample.len(),
            "model output and sample have the same shape"
        );
        let sigma = self.sigmas[index];
        let (sigma_up, sigma_down) = ancestral_step(sigma, self.sigmas[index + 1]);
        let dt = sigma_down - sigma;
        let predict = self.predictor(sigma);
        let noise = generator.randn(sample.len());
        let values = model_output.iter().zip(sample).zip(&noise);
        values
            .map(|((&output, &sample), &noise)| {
                let pred_original_sample = predict(output, sample);
                // For epsilon this is `output` again, but for its rounding, which diffusers has too.
                let derivative = (sample - pred_original_sample) / sigma;
                sample + derivative * dt + noise * sigma_up
            })
            .collect()
    }

    /// The sample without any noise, as the network's output at step `index` has it: `pred_original_sample` of
    /// diffusers' step.
    ///
    /// # Panics
    /// If there is no such step, or the lengths differ.
    pub fn pred_original_sample(
        &self,
        model_output: &[f32],
        index: usize,
        sample: &[f32],
    ) -> Vec<f32> {
        assert_eq!(
            model_output.len(),
            sample.len(),
            "model output and sample have the same shape"
        );
        let predict = self.predictor(self.sigmas[..self.timesteps.len()][index]);
        let values = model_output.iter().zip(sample);
        values
            .map(|(&output, &sample)| predict(output, sample))
            .collect()
    }

    /// From the network's output and the sample to the sample without noise.
    fn predictor(&self, sigma: f32) -> impl Fn(f32, f32) -> f32 {
        let prediction_type = self.config.prediction_type;
        let sigma2_plus_1 = sigma * sigma + 1.0;
        let v_scale = -sigma / sigma2_plus_1.sqrt();
        move |output, sample| match prediction_type {
            PredictionType::Epsilon => sample - sigma * output,
            PredictionType::VPrediction => output * v_scale + sample / sigma2_plus_1,
        }
    }
}

/// How much noise to add, and how far to go down before, so that noise of `sigma_to` is left.
fn ancestral_step(sigma_from: f32, sigma_to: f32) -> (f32, f32) {
    let (from2, to2) = (sigma_from * sigma_from, sigma_to * sigma_to);
    let up = (to2 * (from2 - to2) / from2).sqrt();
    let down = (to2 - up * up).sqrt();
    (up, down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestral_steps() {
        let (up, down) = ancestral_step(14.614_647, 1.612_887);
        assert!(
            (up - 1.603_034_9).abs() < 1e-6 && (down - 0.177_999_78).abs() < 1e-6,
            "{up} {down}"
        );
        assert_eq!(ancestral_step(1.612_887, 0.0), (0.0, 0.0));
    }
}
