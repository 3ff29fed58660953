//! `DPMSolverSinglestepScheduler`: DPM-Solver and DPM-Solver++ in groups of steps, each of which starts at the first
//! sample of its group.

use super::dpmsolver::{Algorithm, Derivatives, SolverType, advance, slope};
use super::solver::{Course, Family, Flow, Solver};
use crate::keys::Keys;
use crate::prediction::{Limit, Prediction, zip};
use crate::schedule::betas::{Defaults, Training, ZeroSnr};
use crate::schedule::sigmas::{FinalSigma, SigmaCurve};
use crate::schedule::spacing::Spacing;
use crate::steps::Chosen;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};
use std::collections::VecDeque;

struct DpmSolverSinglestepScheduler {
    solver: Solver,
    algorithm: Algorithm,
    solver_type: SolverType,
    order: usize,
    /// The order of each step: its place in its group.
    orders: Vec<usize>,
    /// The last outputs, newest first.
    outputs: VecDeque<Vec<f32>>,
    /// The first sample of the group.
    first: Vec<f32>,
}

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let training = Training::read(keys, &Defaults::usual(ZeroSnr::NotThere))?;
    let order = keys.count_in("solver_order", 1..=3, 2)?;
    let prediction = Prediction::read_flow(keys)?;
    let threshold = Limit::read_threshold(keys)?;
    let algorithm = Algorithm::read(keys, true)?;
    let solver_type = SolverType::read(keys)?;
    let lower_order_final = keys.bool("lower_order_final", false)?;
    let curve = SigmaCurve::read(keys)?;
    let flow = Flow::read(keys)?;
    let final_sigma = FinalSigma::read(keys)?;
    let clipped = training.clipped(keys)?;
    keys.refuse_learned_variance()?;
    algorithm.check(keys, final_sigma, prediction)?;
    if !algorithm.is_plus_plus() && threshold != Limit::None {
        return Err(keys.combination(
            "algorithm_type \"dpmsolver\" has no thresholding; set it to false, or take \"dpmsolver++\"",
        ));
    }
    let train = training.len();
    let (timesteps, n) = match steps.count_or_timesteps(keys, train)? {
        // The class has no spacing of its own.
        Chosen::Count(n) => (
            Spacing::Linspace.solver_timesteps(train, train - clipped, n),
            n,
        ),
        Chosen::Timesteps(list) => {
            curve.refuse_timesteps(keys)?;
            (list.iter().map(|t| t.trunc()).collect(), list.len())
        }
    };
    let course = Course {
        family: Family::Singlestep,
        curve,
        lu: false,
        flow,
        final_sigma,
        timesteps,
        n,
    };
    // A group that is cut short, or that ends at zero, ends with lower orders, whatever the key says.
    let lower = lower_order_final || n % order != 0 || final_sigma == FinalSigma::Zero;
    let mut orders = orders(n, order, lower);
    if final_sigma == FinalSigma::Zero {
        orders[n - 1] = 1;
    }
    Ok(Box::new(DpmSolverSinglestepScheduler {
        solver: Solver::new(&training, course, prediction, threshold),
        algorithm,
        solver_type,
        order,
        orders,
        outputs: VecDeque::new(),
        first: Vec::new(),
    }))
}

/// The orders of `n` steps in groups of `order`: 1, 2, 3, 1, 2, 3... `lower` makes the last step one of the first
/// order, and shortens the last group by one where it would be whole.
fn orders(n: usize, order: usize, lower: bool) -> Vec<usize> {
    let mut orders: Vec<_> = (0..n).map(|i| i % order + 1).collect();
    if lower && n.is_multiple_of(order) {
        orders[n - 1] = 1;
    }
    orders
}

impl DpmSolverSinglestepScheduler {
    /// The derivatives of the output at the beginning of the group, for a step of this order that ends behind `i`.
    fn derivatives(&self, i: usize, order: usize) -> Derivatives {
        let lambda = |i| self.solver.share(i).lambda();
        let start = i + 1 - order;
        let h = lambda(i + 1) - lambda(start);
        match order {
            1 => Derivatives::None,
            2 => {
                let r0 = (lambda(i) - lambda(start)) / h;
                let d1 = slope(1.0 / r0, &self.outputs[0], &self.outputs[1]);
                Derivatives::First(self.solver_type, d1)
            }
            _ => {
                let r0 = (lambda(i) - lambda(start)) / h;
                let r1 = (lambda(i - 1) - lambda(start)) / h;
                let d1_0 = slope(1.0 / r1, &self.outputs[1], &self.outputs[2]);
                let d1_1 = slope(1.0 / r0, &self.outputs[0], &self.outputs[2]);
                if self.solver_type == SolverType::Midpoint {
                    return Derivatives::First(SolverType::Heun, d1_1);
                }
                let d1 = zip(&d1_0, &d1_1, |a, b| (r0 * a - r1 * b) / (r0 - r1));
                let d2 = zip(&d1_1, &d1_0, |b, a| 2.0 * (b - a) / (r0 - r1));
                Derivatives::Second(d1, d2)
            }
        }
    }
}

impl Scheduler for DpmSolverSinglestepScheduler {
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
        // Where a run starts within a group there are fewer outputs.
        let order = self.orders[i].min(self.outputs.len());
        if order == 1 {
            self.first = sample.to_vec();
        }
        let prev_sample = advance(
            self.algorithm,
            (self.solver.share(i + 1 - order), self.solver.share(i + 1)),
            &self.first,
            &self.outputs[order - 1],
            &self.derivatives(i, order),
            noise.as_deref(),
        );
        Step {
            prev_sample,
            pred_original_sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_of_groups() {
        assert_eq!(orders(6, 3, true), [1, 2, 3, 1, 2, 1]);
        assert_eq!(orders(7, 3, true), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(orders(8, 3, true), [1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(orders(4, 2, true), [1, 2, 1, 1]);
        assert_eq!(orders(5, 2, true), [1, 2, 1, 2, 1]);
        assert_eq!(orders(6, 3, false), [1, 2, 3, 1, 2, 3]);
        assert_eq!(orders(1, 1, true), [1]);
    }
}
