//! `DEISMultistepScheduler`: the exponential integrator of <https://arxiv.org/abs/2204.13902>, which goes by a
//! polynomial in the logarithm of rho through the noise of the steps before.

use super::dpmsolver::{Algorithm, Derivatives, advance};
use super::solver::{Course, Family, Flow, Solver, weighted};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{FinalSigma, SigmaCurve};
use crate::schedule::spacing::Spacing;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};
use std::collections::VecDeque;

/// So many steps bear the high order to the end.
const ENOUGH_STEPS: usize = 15;

struct DeisMultistepScheduler {
    solver: Solver,
    order: usize,
    lower_order_final: bool,
    /// The last outputs, newest first.
    outputs: VecDeque<Vec<f32>>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::NotThere))?;
    let order = keys.count_in("solver_order", 1..=3, 2)?;
    let prediction = Prediction::read_flow(keys)?;
    let threshold = Limit::read_threshold(keys)?;
    // DPM-Solver's words are taken for its own.
    let algorithms = [("deis", ()), ("dpmsolver++", ()), ("dpmsolver", ())];
    keys.choice("algorithm_type", &algorithms, "deis")?;
    let solvers = [
        ("logrho", ()),
        ("midpoint", ()),
        ("heun", ()),
        ("bh1", ()),
        ("bh2", ()),
    ];
    keys.choice("solver_type", &solvers, "logrho")?;
    let lower_order_final = keys.bool("lower_order_final", true)?;
    let curve = SigmaCurve::read(keys)?;
    let flow = Flow::read(keys)?;
    let spacing = Spacing::read(keys, "linspace")?;
    let train = training.len();
    let n = steps.only_count(keys, train)?;
    let course = Course {
        family: Family::Deis,
        curve,
        lu: false,
        flow,
        final_sigma: FinalSigma::SigmaMin,
        timesteps: spacing.solver_timesteps(train, train, n),
        n,
    };
    let solver = Solver::new(&training, course, prediction, threshold);
    Ok(Box::new(DeisMultistepScheduler {
        lower_order_final: lower_order_final && solver.len() < ENOUGH_STEPS,
        solver,
        order,
        outputs: VecDeque::new(),
    }))
}

/// The integral to `t` of the line in ln rho that is 1 at `b` and 0 at `c`.
fn line(t: f32, b: f32, c: f32) -> f32 {
    t * (-c.ln() + t.ln() - 1.0) / (b.ln() - c.ln())
}

/// The integral to `t` of the parabola in ln rho that is 1 at `b` and 0 at `c` and `d`.
fn parabola(t: f32, b: f32, c: f32, d: f32) -> f32 {
    let (t_, b, c, d) = (t.ln(), b.ln(), c.ln(), d.ln());
    let numerator = t * (c * (d - t_ + 1.0) - d * t_ + d + t_ * t_ - 2.0 * t_ + 2.0);
    numerator / ((b - c) * (b - d))
}

impl DeisMultistepScheduler {
    /// The order of step `i`.
    fn order(&self, i: usize) -> usize {
        let left = self.solver.len() - i;
        let most = self.order.min(self.outputs.len());
        if self.lower_order_final {
            most.min(left)
        } else {
            most
        }
    }
}

impl Scheduler for DeisMultistepScheduler {
    fn space(&self) -> &dyn Space {
        &self.solver
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let pred_original_sample = self.solver.original(output, i, sample);
        let epsilon = self.solver.left_by(&pred_original_sample, i, sample);
        self.outputs.truncate(self.order - 1);
        self.outputs.push_front(epsilon);

        let (to, from) = (self.solver.share(i + 1), self.solver.share(i));
        let rho = |i| {
            let share = self.solver.share(i);
            share.sigma / share.alpha
        };
        let m = &self.outputs;
        let start = 1.0 / from.alpha;
        let prev_sample = match self.order(i) {
            1 => advance(
                Algorithm::DpmSolver,
                (from, to),
                sample,
                &m[0],
                &Derivatives::None,
                None,
            ),
            2 => {
                let (t, s0, s1) = (rho(i + 1), rho(i), rho(i - 1));
                let c0 = line(t, s0, s1) - line(s0, s0, s1);
                let c1 = line(t, s1, s0) - line(s0, s1, s0);
                weighted(&[(start, sample), (c0, &m[0]), (c1, &m[1])])
                    .into_iter()
                    .map(|value| to.alpha * value)
                    .collect()
            }
            _ => {
                let (t, s0, s1, s2) = (rho(i + 1), rho(i), rho(i - 1), rho(i - 2));
                let c0 = parabola(t, s0, s1, s2) - parabola(s0, s0, s1, s2);
                let c1 = parabola(t, s1, s2, s0) - parabola(s0, s1, s2, s0);
                let c2 = parabola(t, s2, s0, s1) - parabola(s0, s2, s0, s1);
                weighted(&[(start, sample), (c0, &m[0]), (c1, &m[1]), (c2, &m[2])])
                    .into_iter()
                    .map(|value| to.alpha * value)
                    .collect()
            }
        };
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
