//! `PNDMScheduler`: pseudo numerical methods (<https://arxiv.org/abs/2202.09778>), with Runge-Kutta steps first unless
//! they are skipped.

use super::alpha_space::AlphaSpace;
use super::solver::weighted;
use crate::keys::Keys;
use crate::prediction::{Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};
use std::collections::VecDeque;

struct PndmScheduler {
    space: AlphaSpace,
    prediction: Prediction,
    /// The picture's share behind the last step.
    final_alpha_cumprod: f32,
    /// Calls that are Runge-Kutta's, four a step.
    prk_calls: usize,
    /// Calls that were made.
    counter: usize,
    /// The last outputs, newest first.
    outputs: VecDeque<Vec<f32>>,
    /// The sum of a Runge-Kutta step's outputs so far.
    sum: Vec<f32>,
    /// The sample that a step of several calls starts from.
    first: Vec<f32>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::NotThere))?;
    let skip_prk_steps = keys.bool("skip_prk_steps", false)?;
    let final_alpha_cumprod = AlphaSpace::read_final(keys, &training, false)?;
    let prediction = Prediction::read_noise(keys)?;
    let spacing = Spacing::read(keys, "leading")?;
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let spaced = spacing.whole_timesteps(train, n);
    let prk = if skip_prk_steps {
        Vec::new()
    } else if spaced.len() < 4 {
        return Err(keys.combination(format!(
            "needs 4 steps or more without skip_prk_steps, found {n}; set it to true, or take more steps"
        )));
    } else {
        runge_kutta(&spaced[..4], (train / n / 2) as f64)
    };
    let mut timesteps = prk.clone();
    if skip_prk_steps {
        // The second is made twice, to begin with a step of the second order.
        timesteps.extend(&spaced[..spaced.len().min(2)]);
        timesteps.extend(spaced.get(1..).unwrap_or_default());
    } else {
        timesteps.extend(&spaced[3..]);
    }
    Ok(Box::new(PndmScheduler {
        space: AlphaSpace::new(keys, training, &timesteps, n)?,
        prediction,
        final_alpha_cumprod,
        prk_calls: prk.len(),
        counter: 0,
        outputs: VecDeque::new(),
        sum: Vec::new(),
        first: Vec::new(),
    }))
}

/// The calls of three Runge-Kutta steps over four timesteps: each timestep, twice between it and the next, the next.
fn runge_kutta(timesteps: &[f64], half: f64) -> Vec<f64> {
    timesteps
        .windows(2)
        .flat_map(|pair| [pair[0], pair[1] + half, pair[1] + half, pair[1]])
        .collect()
}

impl PndmScheduler {
    /// The picture's share at a timestep, and behind the last.
    fn alpha(&self, timestep: i64) -> f32 {
        if timestep < 0 {
            self.final_alpha_cumprod
        } else {
            self.space.training.alpha(timestep)
        }
    }

    /// Equation 9 of the paper.
    fn prev_sample(&self, sample: &[f32], from: i64, to: i64, output: &[f32]) -> Vec<f32> {
        let (alpha, alpha_prev) = (self.space.training.alpha(from), self.alpha(to));
        let (beta, beta_prev) = (1.0 - alpha, 1.0 - alpha_prev);
        let of_sample = (alpha_prev / alpha).sqrt();
        let denominator = alpha * beta_prev.sqrt() + (alpha * beta * alpha_prev).sqrt();
        let share = crate::prediction::Share::of_variance(alpha);
        let epsilon = zip(output, sample, self.prediction.epsilon(share));
        zip(sample, &epsilon, |sample, epsilon| {
            of_sample * sample - (alpha_prev - alpha) * epsilon / denominator
        })
    }

    /// A call of a Runge-Kutta step.
    fn step_prk(&mut self, output: &[f32], i: usize, sample: &[f32], ratio: i64) -> Vec<f32> {
        let place = self.counter % 4;
        let timestep = self.space.timesteps[i];
        let to = if place.is_multiple_of(2) {
            timestep - ratio / 2
        } else {
            timestep
        };
        let from = self.space.timesteps[self.counter - place];
        let output = match place {
            0 => {
                self.sum = weighted(&[(1.0 / 6.0, output)]);
                self.outputs.push_front(output.to_vec());
                self.first = sample.to_vec();
                output.to_vec()
            }
            3 => weighted(&[(1.0, &self.sum[..]), (1.0 / 6.0, output)]),
            _ => {
                self.sum = weighted(&[(1.0, &self.sum[..]), (1.0 / 3.0, output)]);
                output.to_vec()
            }
        };
        self.prev_sample(&self.first, from, to, &output)
    }

    /// A step by the outputs before.
    fn step_plms(&mut self, output: &[f32], i: usize, sample: &[f32], ratio: i64) -> Vec<f32> {
        let mut from = self.space.timesteps[i];
        let mut to = from - ratio;
        if self.counter == 1 {
            // The first step once more, by the mean of its outputs.
            (from, to) = (from + ratio, from);
        } else {
            self.outputs.truncate(3);
            self.outputs.push_front(output.to_vec());
        }
        let e = &self.outputs;
        let (start, output) = match (e.len(), self.counter) {
            (1, 0) => {
                self.first = sample.to_vec();
                (sample, output.to_vec())
            }
            (1, _) => (&self.first[..], zip(output, &e[0], f32::midpoint)),
            (2, _) => (sample, zip(&e[0], &e[1], |a, b| (3.0 * a - b) / 2.0)),
            (3, _) => {
                let sum = weighted(&[(23.0, &e[0]), (-16.0, &e[1]), (5.0, &e[2])]);
                (sample, sum.into_iter().map(|value| value / 12.0).collect())
            }
            _ => {
                let terms = [(55.0, &e[0]), (-59.0, &e[1]), (37.0, &e[2]), (-9.0, &e[3])];
                let sum = weighted(&terms.map(|(weight, term)| (weight, &term[..])));
                (
                    sample,
                    sum.into_iter().map(|value| 1.0 / 24.0 * value).collect(),
                )
            }
        };
        self.prev_sample(start, from, to, &output)
    }
}

impl Scheduler for PndmScheduler {
    fn space(&self) -> &dyn Space {
        &self.space
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let schedule = &self.space.schedule;
        let ratio = (schedule.num_train_timesteps / schedule.num_inference_steps) as i64;
        let original = self.prediction.original(self.space.share(i));
        let pred_original_sample = zip(output, sample, original);
        let prev_sample = if self.counter < self.prk_calls {
            self.step_prk(output, i, sample, ratio)
        } else {
            self.step_plms(output, i, sample, ratio)
        };
        self.counter += 1;
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of ten leading steps with an offset of 1, as diffusers has them.
    #[test]
    fn three_steps_of_four_calls() {
        assert_eq!(
            runge_kutta(&[901.0, 801.0, 701.0, 601.0], 50.0),
            [
                901.0, 851.0, 851.0, 801.0, 801.0, 751.0, 751.0, 701.0, 701.0, 651.0, 651.0, 601.0
            ]
        );
    }
}
