//! `LMSDiscreteScheduler`: a linear multistep method, which goes by a cubic through the last four slopes.

use super::sigma_space::{SigmaSpace, derivative};
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::Schedule;
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{Course, Curve, SigmaCurve};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};
use std::collections::VecDeque;

/// The most slopes that a step goes by.
const ORDER: usize = 4;

struct LmsDiscreteScheduler {
    prediction: Prediction,
    space: SigmaSpace,
    /// The last slopes, newest first.
    slopes: VecDeque<Vec<f32>>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::NotThere))?;
    let prediction = Prediction::read(keys)?;
    let mut curve = SigmaCurve::read(keys)?;
    if curve.curve == Curve::Karras {
        // In this class alone Karras' sigmas have no ends of their own.
        curve = curve.between_the_timesteps();
    }
    let spacing = Spacing::read(keys, "linspace")?;
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let course = Course::new(&training, &spacing.timesteps(train, n), curve, n);
    let sigmas: Vec<f32> = course.sigmas_f32().chain([0.0]).collect();
    let schedule = Schedule {
        timesteps: course.timesteps.iter().map(|&t| t as f32).collect(),
        sigmas: course.sigmas_f32().collect(),
        num_inference_steps: n,
        num_train_timesteps: train,
        order: 1,
    };
    Ok(Box::new(LmsDiscreteScheduler {
        prediction,
        space: SigmaSpace::new(schedule, sigmas, spacing),
        slopes: VecDeque::new(),
    }))
}

impl LmsDiscreteScheduler {
    /// What the slope of `back` steps ago counts at step `i`: the integral over the step of the polynomial that is 1
    /// there and 0 at the others of the last `order`.
    fn coefficient(&self, order: usize, i: usize, back: usize) -> f32 {
        let sigma = |k: usize| f64::from(self.space.sigmas[k]);
        let polynomial = |at: f64| {
            (0..order)
                .filter(|&k| k != back)
                .map(|k| (at - sigma(i - k)) / (sigma(i - back) - sigma(i - k)))
                .product::<f64>()
        };
        // Two points are exact for a cubic (Gauss and Legendre).
        let (half, centre) = (
            0.5 * (sigma(i + 1) - sigma(i)),
            0.5 * (sigma(i + 1) + sigma(i)),
        );
        let offset = half / 3.0_f64.sqrt();
        (half * (polynomial(centre - offset) + polynomial(centre + offset))) as f32
    }
}

impl Scheduler for LmsDiscreteScheduler {
    fn space(&self) -> &dyn Space {
        &self.space
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let sigma = self.space.sigmas[i];
        let pred_original_sample = zip(output, sample, self.prediction.original_at(sigma));
        self.slopes.truncate(ORDER - 1);
        self.slopes
            .push_front(derivative(sample, &pred_original_sample, sigma));
        // Where a run starts later there are fewer slopes than steps before; diffusers leaves the others out.
        let order = ORDER.min(i + 1);
        let mut sum = vec![0.0; sample.len()];
        for (back, slope) in self.slopes.iter().enumerate().take(order) {
            let coefficient = self.coefficient(order, i, back);
            for (sum, slope) in sum.iter_mut().zip(slope) {
                *sum += coefficient * slope;
            }
        }
        Step {
            prev_sample: zip(sample, &sum, |sample, sum| sample + sum),
            pred_original_sample,
        }
    }
}
