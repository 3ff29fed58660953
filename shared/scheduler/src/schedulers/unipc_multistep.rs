//! `UniPCMultistepScheduler`: the predictor and corrector of <https://arxiv.org/abs/2302.04867>, which mends each
//! sample with the output that the network gives for it.

use super::solver::{Course, Family, Flow, Solver, weighted};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{FinalSigma, SigmaCurve};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};
use std::collections::VecDeque;

/// `solver_type`: the function B(h) of the paper.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SolverType {
    /// h
    Bh1,
    /// e^h - 1
    Bh2,
}

struct UniPcMultistepScheduler {
    solver: Solver,
    /// Whether the picture is what is followed, not the noise.
    predict_x0: bool,
    solver_type: SolverType,
    order: usize,
    lower_order_final: bool,
    /// Steps whose sample is not mended.
    disable_corrector: Vec<usize>,
    /// The last outputs, newest first.
    outputs: VecDeque<Vec<f32>>,
    /// The sample before the last step, and the step's order.
    last: Option<(Vec<f32>, usize)>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::Floored))?;
    let order = keys.count_in("solver_order", 1..=8, 2)?;
    let prediction = Prediction::read_flow(keys)?;
    let threshold = Limit::read_threshold(keys)?;
    let predict_x0 = keys.bool("predict_x0", true)?;
    let solver_type = keys.choice(
        "solver_type",
        &[
            ("bh1", SolverType::Bh1),
            ("bh2", SolverType::Bh2),
            // Other classes' words.
            ("midpoint", SolverType::Bh2),
            ("heun", SolverType::Bh2),
            ("logrho", SolverType::Bh2),
        ],
        "bh2",
    )?;
    let lower_order_final = keys.bool("lower_order_final", true)?;
    let disable_corrector = keys.counts("disable_corrector")?;
    keys.refuse("solver_p")?;
    let curve = SigmaCurve::read(keys)?;
    let flow = Flow::read(keys)?;
    keys.refuse("shift_terminal")?;
    let final_sigma = FinalSigma::read(keys)?;
    let spacing = Spacing::read(keys, "linspace")?;
    if final_sigma == FinalSigma::Zero && !(predict_x0 && solver_type == SolverType::Bh2) {
        return Err(keys.combination(
            "cannot end at zero noise with solver_type \"bh1\" or without predict_x0; set final_sigmas_type to \
             \"sigma_min\"",
        ));
    }
    if prediction == Prediction::Flow && !predict_x0 {
        return Err(keys.combination("prediction_type \"flow_prediction\" needs predict_x0"));
    }
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let course = Course {
        family: Family::UniPc,
        curve,
        lu: false,
        flow,
        final_sigma,
        timesteps: spacing.solver_timesteps(train, train, n),
        n,
    };
    let threshold = if predict_x0 { threshold } else { Limit::None };
    Ok(Box::new(UniPcMultistepScheduler {
        solver: Solver::new(&training, course, prediction, threshold),
        predict_x0,
        solver_type,
        order,
        lower_order_final,
        disable_corrector,
        outputs: VecDeque::new(),
        last: None,
    }))
}

/// What a step from one sigma to the next goes by.
struct Stretch {
    /// Weights of the sample and of the output at its beginning.
    base: (f32, f32),
    /// Weight of the sum of the differences.
    differences: f32,
    /// Where the outputs before lie, as parts of the step: negative.
    ratios: Vec<f32>,
    /// The right side of the paper's equation for the weights within the sum.
    moments: Vec<f32>,
}

impl UniPcMultistepScheduler {
    /// The step that begins at `from`, by `order` outputs.
    fn stretch(&self, from: usize, order: usize) -> Stretch {
        let lambda = |i| self.solver.share(i).lambda();
        let (to, start) = (self.solver.share(from + 1), self.solver.share(from));
        let h = to.lambda() - start.lambda();
        let ratios = (1..order).map(|k| (lambda(from - k) - start.lambda()) / h);
        let hh = if self.predict_x0 { -h } else { h };
        let h_phi_1 = hh.exp_m1();
        let b_h = match self.solver_type {
            SolverType::Bh1 => hh,
            SolverType::Bh2 => h_phi_1,
        };
        let mut h_phi_k = h_phi_1 / hh - 1.0;
        let mut factorial = 1.0_f32;
        let mut moments = Vec::with_capacity(order);
        for i in 1..=order {
            moments.push(h_phi_k * factorial / b_h);
            factorial *= (i + 1) as f32;
            h_phi_k = h_phi_k / hh - 1.0 / factorial;
        }
        let (weight, base) = if self.predict_x0 {
            (to.alpha, to.sigma / start.sigma)
        } else {
            (to.sigma, to.alpha / start.alpha)
        };
        Stretch {
            base: (base, -(weight * h_phi_1)),
            differences: -(weight * b_h),
            ratios: ratios.collect(),
            moments,
        }
    }

    /// The sample behind a step from `sample`, whose weights within the sum of differences are `rhos`; `behind` is
    /// the output there, for the corrector.
    fn go(
        &self,
        stretch: &Stretch,
        sample: &[f32],
        rhos: &[f32],
        behind: Option<&[f32]>,
    ) -> Vec<f32> {
        let m0 = &self.outputs[0];
        let mut differences: Vec<Vec<f32>> =
            (stretch.ratios.iter().zip(self.outputs.iter().skip(1)))
                .map(|(ratio, mi)| zip(mi, m0, |mi, m0| (mi - m0) / ratio))
                .collect();
        differences.extend(behind.map(|behind| zip(behind, m0, |behind, m0| behind - m0)));
        let mut terms = vec![(stretch.base.0, sample), (stretch.base.1, &m0[..])];
        let sum: Vec<_> = rhos
            .iter()
            .copied()
            .zip(differences.iter().map(Vec::as_slice))
            .collect();
        let sum = if sum.is_empty() {
            Vec::new()
        } else {
            weighted(&sum)
        };
        if !sum.is_empty() {
            terms.push((stretch.differences, &sum));
        }
        weighted(&terms)
    }

    /// The sample that a step leads to.
    fn predict(&self, i: usize, sample: &[f32], order: usize) -> Vec<f32> {
        let stretch = self.stretch(i, order);
        let rhos = match order {
            1 => Vec::new(),
            2 => vec![0.5],
            _ => solve(&stretch.ratios, &stretch.moments[..order - 1]),
        };
        self.go(&stretch, sample, &rhos, None)
    }

    /// The sample at `i` once more, with the output that the network gave for it.
    fn correct(&self, i: usize, last: &[f32], order: usize, output: &[f32]) -> Vec<f32> {
        let stretch = self.stretch(i - 1, order);
        let rhos = if order == 1 {
            vec![0.5]
        } else {
            let mut ratios = stretch.ratios.clone();
            ratios.push(1.0);
            solve(&ratios, &stretch.moments)
        };
        self.go(&stretch, last, &rhos, Some(output))
    }
}

/// The weights whose sums with the powers of the ratios are the moments: a Vandermonde system, by elimination.
fn solve(ratios: &[f32], moments: &[f32]) -> Vec<f32> {
    let n = ratios.len();
    // A row is a power; the last column is the right side.
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|power| {
            let powers = ratios
                .iter()
                .map(|ratio| f64::from(ratio.powi(power as i32)));
            powers.chain([f64::from(moments[power])]).collect()
        })
        .collect();
    for k in 0..n {
        let magnitude = |row: &usize| rows[*row][k].abs();
        let best = (k..n)
            .max_by(|a, b| magnitude(a).total_cmp(&magnitude(b)))
            .unwrap_or(k);
        rows.swap(k, best);
        for row in k + 1..n {
            let factor = rows[row][k] / rows[k][k];
            for column in k..=n {
                rows[row][column] -= factor * rows[k][column];
            }
        }
    }
    let mut weights = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| rows[k][j] * weights[j]).sum();
        weights[k] = (rows[k][n] - known) / rows[k][k];
    }
    weights.into_iter().map(|weight| weight as f32).collect()
}

impl Scheduler for UniPcMultistepScheduler {
    fn space(&self) -> &dyn Space {
        &self.solver
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let pred_original_sample = self.solver.original(output, i, sample);
        let output = if self.predict_x0 {
            pred_original_sample.clone()
        } else {
            self.solver
                .epsilon(output, i, sample, &pred_original_sample)
        };
        let sample = match self.last.take() {
            Some((last, order)) if !self.disable_corrector.contains(&(i - 1)) => {
                self.correct(i, &last, order, &output)
            }
            _ => sample.to_vec(),
        };
        self.outputs.truncate(self.order - 1);
        self.outputs.push_front(output);
        let left = self.solver.len() - i;
        let most = self.order.min(self.outputs.len());
        let order = if self.lower_order_final {
            most.min(left)
        } else {
            most
        };
        let prev_sample = self.predict(i, &sample, order);
        self.last = Some((sample, order));
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 + 2 + 3 = 6; -2 + 2 * -1 + 3 * 1 = -1; 4 + 2 + 3 = 9.
    #[test]
    fn a_vandermonde_system() {
        let weights = solve(&[-2.0, -1.0, 1.0], &[6.0, -1.0, 9.0]);
        for (weight, expected) in weights.iter().zip([1.0, 2.0, 3.0]) {
            assert!((weight - expected).abs() < 1e-6, "{weights:?}");
        }
    }
}
