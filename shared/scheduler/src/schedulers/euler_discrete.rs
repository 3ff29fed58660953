//! `EulerDiscreteScheduler`: Euler steps, without noise.

use super::sigma_space::SigmaSpace;
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr, linspace};
use crate::schedule::sigmas::{self, FinalSigma, SigmaCurve, SigmaToTimestep};
use crate::schedule::spacing::Spacing;
use crate::schedule::{Schedule, betas};
use crate::steps::within;
use crate::{Generator, Result, Scheduler, Space, Step, StepChoice, Steps};

struct EulerDiscreteScheduler {
    prediction: Prediction,
    space: SigmaSpace,
}

/// How sigmas lie between the trained ones.
#[derive(Clone, Copy, PartialEq)]
enum Interpolation {
    Linear,
    LogLinear,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::Floored))?;
    let prediction = Prediction::read(keys)?;
    let interpolation = keys.choice(
        "interpolation_type",
        &[
            ("linear", Interpolation::Linear),
            ("log_linear", Interpolation::LogLinear),
        ],
        "linear",
    )?;
    let curve = SigmaCurve::read(keys)?;
    let spacing = Spacing::read(keys, "linspace")?;
    let types = [("discrete", false), ("continuous", true)];
    let continuous =
        keys.choice("timestep_type", &types, "discrete")? && prediction == Prediction::Velocity;
    let final_sigma = FinalSigma::read(keys)?;

    let train = training.len();
    let trained = training.sigmas();
    let to_timestep = SigmaToTimestep::new(&trained);
    let by_timesteps = |timesteps: Vec<f64>, n: usize| {
        let mut timesteps: Vec<_> = timesteps.iter().map(|&t| f64::from(t as f32)).collect();
        let mut sigmas = match interpolation {
            Interpolation::Linear => sigmas::at_timesteps(&trained, &timesteps),
            Interpolation::LogLinear => {
                let ends = (trained[train - 1].ln(), trained[0].ln());
                let logs = linspace(ends.0, ends.1, n + 1);
                logs.into_iter().map(|log| f64::from(log.exp())).collect()
            }
        };
        if let Some(along) = curve.sigmas(sigmas[0], sigmas[sigmas.len() - 1], n) {
            timesteps = along
                .iter()
                .map(|&sigma| to_timestep.timestep(sigma))
                .collect();
            sigmas = along;
        }
        let mut sigmas: Vec<f32> = sigmas.iter().map(|&sigma| sigma as f32).collect();
        sigmas.push(final_sigma.sigma(betas::sigma(training.alphas_cumprod[0])));
        (timesteps, sigmas)
    };
    let (timesteps, sigmas) = match &steps.choice {
        StepChoice::Sigmas(sigmas) => {
            within(sigmas.len().saturating_sub(1), train)?;
            check_sigmas(keys, sigmas)?;
            let sigmas: Vec<f32> = sigmas.iter().map(|&sigma| sigma as f32).collect();
            let steps = &sigmas[..sigmas.len() - 1];
            let timesteps = steps.iter().map(|&sigma| to_timestep.timestep_f32(sigma));
            (timesteps.collect(), sigmas)
        }
        _ => match steps.count_or_timesteps(keys, train)? {
            crate::steps::Chosen::Count(n) => by_timesteps(spacing.timesteps(train, n), n),
            crate::steps::Chosen::Timesteps(timesteps) => {
                curve.refuse_timesteps(keys)?;
                if continuous {
                    return Err(keys.combination(
                        "takes no list of timesteps with timestep_type \"continuous\" and prediction_type \
                         \"v_prediction\"; set timestep_type to \"discrete\"",
                    ));
                }
                by_timesteps(timesteps.to_vec(), timesteps.len())
            }
        },
    };
    let count = match &steps.choice {
        StepChoice::Count(n) => *n,
        _ => timesteps.len(),
    };
    let timesteps: Vec<f32> = if continuous {
        let calls = &sigmas[..sigmas.len() - 1];
        calls.iter().map(|sigma| 0.25 * sigma.ln()).collect()
    } else {
        timesteps.iter().map(|&t| t as f32).collect()
    };
    let schedule = Schedule {
        sigmas: sigmas[..timesteps.len()].to_vec(),
        timesteps,
        num_inference_steps: count,
        num_train_timesteps: train,
        order: 1,
    };
    Ok(Box::new(EulerDiscreteScheduler {
        prediction,
        space: SigmaSpace::new(schedule, sigmas, spacing),
    }))
}

/// A list of sigmas goes down, to zero at the least.
fn check_sigmas(keys: &Keys<'_>, sigmas: &[f64]) -> Result<()> {
    let bad = sigmas
        .windows(2)
        .find(|pair| pair[1].is_nan() || pair[1] >= pair[0] || pair[1] < 0.0);
    match bad {
        None => Ok(()),
        Some(pair) => Err(keys.combination(format!(
            "sigmas: expected each to be below the one before and none below 0, found {} after {}",
            pair[1], pair[0]
        ))),
    }
}

impl Scheduler for EulerDiscreteScheduler {
    fn space(&self) -> &dyn Space {
        &self.space
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let sigma = self.space.sigmas[i];
        let dt = self.space.sigmas[i + 1] - sigma;
        let pred_original_sample = zip(output, sample, self.prediction.original_at(sigma));
        Step {
            prev_sample: zip(sample, &pred_original_sample, |sample, original| {
                sample + (sample - original) / sigma * dt
            }),
            pred_original_sample,
        }
    }
}
