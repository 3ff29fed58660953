//! `HeunDiscreteScheduler`: Heun's method, which calls the network at both ends of a step and goes by the mean slope.

use super::sigma_space::{Half, SigmaSpace, derivative, interleave};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{Course, SigmaCurve};
use crate::schedule::spacing::Spacing;
use crate::steps::Chosen;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

struct HeunDiscreteScheduler {
    prediction: Prediction,
    clip: Limit,
    space: SigmaSpace,
    half: Option<Half>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let defaults = Defaults::stable_diffusion("linear", ZeroSnr::NotThere);
    let training = Training::read(keys, &defaults)?;
    let prediction = Prediction::read(keys)?;
    let clip = Limit::read_clip(keys, false)?;
    let curve = SigmaCurve::read(keys)?;
    let spacing = Spacing::read(keys, "linspace")?;
    let train = training.len();
    let chosen = steps.count_or_timesteps(keys, train)?;
    let course = match chosen {
        Chosen::Count(n) => Course::new(&training, &spacing.timesteps(train, n), curve, n),
        Chosen::Timesteps(timesteps) => {
            curve.refuse_timesteps(keys)?;
            Course::new(&training, timesteps, curve, timesteps.len())
        }
    };
    let timesteps = course.timesteps.iter().map(|&t| t as f32);
    let timesteps: Vec<_> = interleave(timesteps.clone(), timesteps.skip(1));
    let sigmas = course.sigmas_f32().chain([0.0]).collect::<Vec<_>>();
    let inner = course.sigmas_f32();
    let schedule = Schedule {
        sigmas: interleave(inner.clone(), inner.skip(1)),
        num_inference_steps: match chosen {
            Chosen::Count(n) => n,
            Chosen::Timesteps(_) => timesteps.len(),
        },
        timesteps,
        num_train_timesteps: train,
        order: 2,
    };
    Ok(Box::new(HeunDiscreteScheduler {
        prediction,
        clip,
        space: SigmaSpace::new(schedule, sigmas, spacing),
        half: None,
    }))
}

impl Scheduler for HeunDiscreteScheduler {
    fn space(&self) -> &dyn Space {
        &self.space
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let (sigma, sigma_next) = (self.space.sigmas[i / 2], self.space.sigmas[i / 2 + 1]);
        let dt = sigma_next - sigma;
        let half = self.half.take();
        let here = if half.is_none() { sigma } else { sigma_next };
        let original = zip(output, sample, self.prediction.original_at(here));
        let pred_original_sample = self.clip.apply(original);
        let slope = derivative(sample, &pred_original_sample, here);
        let go = |sample: &[f32], slope: &[f32]| zip(sample, slope, |x, slope| x + slope * dt);
        let prev_sample = match half {
            None => {
                let prev = go(sample, &slope);
                self.half = Some(Half {
                    sample: sample.to_vec(),
                    slope,
                });
                prev
            }
            Some(half) => {
                let mean = zip(&half.slope, &slope, |before, here| {
                    f32::midpoint(before, here)
                });
                go(&half.sample, &mean)
            }
        };
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
