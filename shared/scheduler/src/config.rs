//! `scheduler_config.json`, key by key, with diffusers' defaults.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// More training steps than any model has; keeps a garbled config from asking for all memory.
const MAX_TRAIN_TIMESTEPS: usize = 1_000_000;

/// How the betas run from `beta_start` to `beta_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BetaSchedule {
    /// In equal steps.
    Linear,
    /// Their square roots in equal steps (all of Stable Diffusion).
    ScaledLinear,
}

/// What the network's output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// The velocity of <https://arxiv.org/abs/2202.00512>, section 2.4.
    VPrediction,
}

/// Which of the training timesteps are visited (table 2 of <https://arxiv.org/abs/2305.08891>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// From the last to the first, both included.
    Linspace,
    /// Multiples of a whole ratio, from `steps_offset` up.
    Leading,
    /// From the last downwards by a fractional ratio (SDXL Turbo).
    Trailing,
}

/// The keys of `scheduler_config.json` that the Euler schedulers read.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// Number of training timesteps.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// Course of the betas.
    pub beta_schedule: BetaSchedule,
    /// The betas themselves, in place of the three values above.
    pub trained_betas: Option<Vec<f64>>,
    /// Meaning of the network's output.
    pub prediction_type: PredictionType,
    /// Choice of timesteps.
    pub timestep_spacing: TimestepSpacing,
    /// Added to each timestep by leading spacing.
    pub steps_offset: usize,
}

impl SchedulerConfig {
    /// Reads the content of `scheduler_config.json`. A missing key has the default that diffusers'
    /// `EulerAncestralDiscreteScheduler` gives it; keys that this class does not read are left alone.
    ///
    /// # Errors
    /// [`Error::Type`] and [`Error::Unsupported`], naming the key and the value.
    pub fn from_json(config: &Value) -> Result<Self> {
        choice(
            config,
            "_class_name",
            &[("EulerAncestralDiscreteScheduler", ())],
            (),
        )?;
        if get(config, "rescale_betas_zero_snr", "true or false", false)? {
            return Err(unsupported(
                "rescale_betas_zero_snr",
                "false",
                &Value::Bool(true),
            ));
        }
        let num_train_timesteps = get(config, "num_train_timesteps", "a whole number", 1000)?;
        if !(1..=MAX_TRAIN_TIMESTEPS).contains(&num_train_timesteps) {
            return Err(Error::Unsupported {
                key: "num_train_timesteps",
                expected: format!("1 to {MAX_TRAIN_TIMESTEPS}"),
                found: num_train_timesteps.to_string(),
            });
        }
        let trained_betas: Option<Vec<f64>> =
            get(config, "trained_betas", "null or a list of numbers", None)?;
        if let Some(betas) = &trained_betas
            && betas.len() != num_train_timesteps
        {
            return Err(Error::Unsupported {
                key: "trained_betas",
                expected: format!("{num_train_timesteps} values (num_train_timesteps)"),
                found: format!("a list of {}", betas.len()),
            });
        }
        Ok(Self {
            num_train_timesteps,
            beta_start: get(config, "beta_start", "a number", 0.0001)?,
            beta_end: get(config, "beta_end", "a number", 0.02)?,
            beta_schedule: choice(
                config,
                "beta_schedule",
                &[
                    ("linear", BetaSchedule::Linear),
                    ("scaled_linear", BetaSchedule::ScaledLinear),
                ],
                BetaSchedule::Linear,
            )?,
            trained_betas,
            prediction_type: choice(
                config,
                "prediction_type",
                &[
                    ("epsilon", PredictionType::Epsilon),
                    ("v_prediction", PredictionType::VPrediction),
                ],
                PredictionType::Epsilon,
            )?,
            timestep_spacing: choice(
                config,
                "timestep_spacing",
                &[
                    ("linspace", TimestepSpacing::Linspace),
                    ("leading", TimestepSpacing::Leading),
                    ("trailing", TimestepSpacing::Trailing),
                ],
                TimestepSpacing::Linspace,
            )?,
            steps_offset: get(config, "steps_offset", "a whole number", 0)?,
        })
    }
}

/// The value under `key`, or `default` where there is none.
fn get<T: DeserializeOwned>(
    config: &Value,
    key: &'static str,
    expected: &'static str,
    default: T,
) -> Result<T> {
    let Some(value) = config.get(key) else {
        return Ok(default);
    };
    T::deserialize(value).map_err(|_| Error::Type {
        key,
        expected,
        found: value.to_string(),
    })
}

/// One of a few words.
fn choice<T: Copy>(
    config: &Value,
    key: &'static str,
    known: &[(&str, T)],
    default: T,
) -> Result<T> {
    let Some(value) = config.get(key) else {
        return Ok(default);
    };
    known
        .iter()
        .find(|(word, _)| value.as_str() == Some(word))
        .map(|(_, choice)| *choice)
        .ok_or_else(|| {
            let words: Vec<_> = known
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            unsupported(key, &words.join(" or "), value)
        })
}

fn unsupported(key: &'static str, expected: &str, found: &Value) -> Error {
    Error::Unsupported {
        key,
        expected: expected.to_owned(),
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(config: &Value) -> String {
        SchedulerConfig::from_json(config).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_diffusers() {
        let config = SchedulerConfig::from_json(&json!({})).unwrap();
        assert_eq!(
            (
                config.beta_start,
                config.beta_end,
                config.num_train_timesteps
            ),
            (0.0001, 0.02, 1000)
        );
        assert_eq!(config.timestep_spacing, TimestepSpacing::Linspace);
        assert_eq!(config.beta_schedule, BetaSchedule::Linear);
        assert_eq!(config.prediction_type, PredictionType::Epsilon);
    }

    #[test]
    fn errors_name_key_and_value() {
        assert_eq!(
            message(&json!({"_class_name": "LCMScheduler"})),
            "scheduler_config.json: _class_name: \"LCMScheduler\" is not supported, expected \
             \"EulerAncestralDiscreteScheduler\""
        );
        assert_eq!(
            message(&json!({"prediction_type": "sample"})),
            "scheduler_config.json: prediction_type: \"sample\" is not supported, expected \"epsilon\" or \
             \"v_prediction\""
        );
        assert_eq!(
            message(&json!({"beta_schedule": "squaredcos_cap_v2"})),
            "scheduler_config.json: beta_schedule: \"squaredcos_cap_v2\" is not supported, expected \"linear\" or \
             \"scaled_linear\""
        );
        assert_eq!(
            message(&json!({"rescale_betas_zero_snr": true})),
            "scheduler_config.json: rescale_betas_zero_snr: true is not supported, expected false"
        );
        assert_eq!(
            message(&json!({"beta_start": "0.1"})),
            "scheduler_config.json: beta_start: expected a number, found \"0.1\""
        );
        assert_eq!(
            message(&json!({"trained_betas": [0.1, 0.2]})),
            "scheduler_config.json: trained_betas: a list of 2 is not supported, expected 1000 values \
             (num_train_timesteps)"
        );
        assert_eq!(
            message(&json!({"num_train_timesteps": 0})),
            "scheduler_config.json: num_train_timesteps: 0 is not supported, expected 1 to 1000000"
        );
        assert_eq!(
            message(&json!({"num_train_timesteps": -3})),
            "scheduler_config.json: num_train_timesteps: expected a whole number, found -3"
        );
        assert_eq!(
            message(&json!({"timestep_spacing": 7})),
            "scheduler_config.json: timestep_spacing: 7 is not supported, expected \"linspace\" or \"leading\" or \
             \"trailing\""
        );
    }
}
