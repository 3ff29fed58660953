//! `DPMSolverMultistepScheduler`: DPM-Solver and DPM-Solver++, with and without noise, by the outputs of the steps
//! before.

use super::dpmsolver::{Algorithm, Derivatives, SolverType, advance, slope};
use super::solver::{Course, Family, Flow, Solver};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{FinalSigma, SigmaCurve};
use crate::schedule::spacing::Spacing;
use crate::steps::Chosen;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};
use std::collections::VecDeque;

/// So many steps bear the high order to the end.
const ENOUGH_STEPS: usize = 15;

struct DpmSolverMultistepScheduler {
    solver: Solver,
    algorithm: Algorithm,
    solver_type: SolverType,
    order: usize,
    /// Whether the last step is of the first order.
    low_last: bool,
    /// Whether the step before it is at most of the second.
    low_second: bool,
    /// The last outputs, newest first.
    outputs: VecDeque<Vec<f32>>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::Floored))?;
    let order = keys.count_in("solver_order", 1..=3, 2)?;
    let prediction = Prediction::read_flow(keys)?;
    let threshold = Limit::read_threshold(keys)?;
    let algorithm = Algorithm::read(keys, false)?;
    let solver_type = SolverType::read(keys)?;
    let lower_order_final = keys.bool("lower_order_final", true)?;
    let euler_at_final = keys.bool("euler_at_final", false)?;
    let curve = SigmaCurve::read(keys)?;
    let lu = keys.bool("use_lu_lambdas", false)?;
    let flow = Flow::read(keys)?;
    let final_sigma = FinalSigma::read(keys)?;
    let clipped = training.clipped(keys)?;
    keys.refuse_learned_variance()?;
    let spacing = Spacing::read(keys, "linspace")?;
    algorithm.check(keys, final_sigma, prediction)?;
    if algorithm == Algorithm::SdeDpmSolver && order == 3 {
        return Err(keys.combination(
            "algorithm_type \"sde-dpmsolver\" has no solver_order 3; set it to 1 or 2",
        ));
    }
    let train = training.len();
    let last = train - clipped;
    let (timesteps, n) = match steps.count_or_timesteps(keys, train)? {
        Chosen::Count(n) => (spacing.solver_timesteps(train, last, n), n),
        Chosen::Timesteps(list) => {
            curve.refuse_timesteps(keys)?;
            if lu {
                return Err(keys.combination(
                    "takes no list of timesteps with use_lu_lambdas; set it to false",
                ));
            }
            (list.iter().map(|t| t.trunc()).collect(), list.len())
        }
    };
    let course = Course {
        family: Family::Multistep,
        curve,
        lu,
        flow,
        final_sigma,
        timesteps,
        n,
    };
    let solver = Solver::new(&training, course, prediction, threshold);
    let few = lower_order_final && solver.len() < ENOUGH_STEPS;
    Ok(Box::new(DpmSolverMultistepScheduler {
        low_last: euler_at_final || few || final_sigma == FinalSigma::Zero,
        low_second: few,
        solver,
        algorithm,
        solver_type,
        order,
        outputs: VecDeque::new(),
    }))
}

impl DpmSolverMultistepScheduler {
    /// The derivatives of the output at step `i`, as far as this step goes by them.
    fn derivatives(&self, i: usize) -> Derivatives {
        let left = self.solver.len() - 1 - i;
        let known = self.outputs.len();
        if self.order == 1 || known < 2 || (left == 0 && self.low_last) {
            return Derivatives::None;
        }
        let lambda = |i| self.solver.share(i).lambda();
        let (h, h_0) = (lambda(i + 1) - lambda(i), lambda(i) - lambda(i - 1));
        let r0 = h_0 / h;
        let d1_0 = slope(1.0 / r0, &self.outputs[0], &self.outputs[1]);
        if self.order == 2 || known < 3 || (left == 1 && self.low_second) {
            return Derivatives::First(self.solver_type, d1_0);
        }
        let r1 = (lambda(i - 1) - lambda(i - 2)) / h;
        let d1_1 = slope(1.0 / r1, &self.outputs[1], &self.outputs[2]);
        let bend = slope(r0 / (r0 + r1), &d1_0, &d1_1);
        let d1 = d1_0.iter().zip(&bend).map(|(d1, bend)| d1 + bend).collect();
        Derivatives::Second(d1, slope(1.0 / (r0 + r1), &d1_0, &d1_1))
    }
}

impl Scheduler for DpmSolverMultistepScheduler {
    fn space(&self) -> &dyn Space {
        &self.solver
    }

    fn step(
        &mut self,
        output: &[f32],
        i: usize,
        sample: &[f32],
        generator: &mut Generator,
    ) -> Step {
        let pred_original_sample = self.solver.original(output, i, sample);
        let output = self
            .algorithm
            .held(&self.solver, output, i, sample, &pred_original_sample);
        self.outputs.truncate(self.order - 1);
        self.outputs.push_front(output);
        let noise = self
            .algorithm
            .is_sde()
            .then(|| generator.randn(sample.len()));
        let prev_sample = advance(
            self.algorithm,
            (self.solver.share(i), self.solver.share(i + 1)),
            sample,
            &self.outputs[0],
            &self.derivatives(i),
            noise.as_deref(),
        );
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}
