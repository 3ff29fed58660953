//! The updates of DPM-Solver and DPM-Solver++, which the multistep and the singlestep class share.

use super::solver::{Solver, weighted};
use crate::Result;
use crate::keys::Keys;
use crate::prediction::{Prediction, Share, zip};
use crate::schedule::sigmas::FinalSigma;

/// `algorithm_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// Steps go by the noise that the network foresees.
    DpmSolver,
    /// Steps go by the picture that the network foresees.
    DpmSolverPlusPlus,
    /// Steps go by the noise, and each adds fresh noise.
    SdeDpmSolver,
    /// Steps go by the picture, and each adds fresh noise.
    SdeDpmSolverPlusPlus,
}

impl Algorithm {
    /// Reads `algorithm_type`; `deis` is another class's word.
    pub(crate) fn read(keys: &mut Keys<'_>, singlestep: bool) -> Result<Self> {
        let known = [
            ("dpmsolver++", Self::DpmSolverPlusPlus),
            ("sde-dpmsolver++", Self::SdeDpmSolverPlusPlus),
            ("dpmsolver", Self::DpmSolver),
            ("deis", Self::DpmSolverPlusPlus),
            ("sde-dpmsolver", Self::SdeDpmSolver),
        ];
        let known = if singlestep { &known[..4] } else { &known[..] };
        keys.choice("algorithm_type", known, "dpmsolver++")
    }

    /// Whether the picture is what is followed, not the noise.
    pub(crate) fn is_plus_plus(self) -> bool {
        matches!(self, Self::DpmSolverPlusPlus | Self::SdeDpmSolverPlusPlus)
    }

    /// What the formulas hold of the network's output at step `i`: the picture, or the noise that is foreseen.
    pub(crate) fn held(
        self,
        solver: &Solver,
        output: &[f32],
        i: usize,
        sample: &[f32],
        original: &[f32],
    ) -> Vec<f32> {
        if self.is_plus_plus() {
            original.to_vec()
        } else {
            solver.epsilon(output, i, sample, original)
        }
    }

    /// Whether noise is drawn.
    pub(crate) fn is_sde(self) -> bool {
        matches!(self, Self::SdeDpmSolver | Self::SdeDpmSolverPlusPlus)
    }

    /// Refuses what an algorithm by the noise does not have.
    pub(crate) fn check(
        self,
        keys: &Keys<'_>,
        final_sigma: FinalSigma,
        prediction: Prediction,
    ) -> Result<()> {
        if self.is_plus_plus() {
            return Ok(());
        }
        if final_sigma == FinalSigma::Zero {
            return Err(keys.combination(
                "algorithm_type \"dpmsolver\" and \"sde-dpmsolver\" cannot end at zero noise; set final_sigmas_type \
                 to \"sigma_min\"",
            ));
        }
        if prediction == Prediction::Flow {
            return Err(keys.combination(
                "prediction_type \"flow_prediction\" needs algorithm_type \"dpmsolver++\" or \"sde-dpmsolver++\"",
            ));
        }
        Ok(())
    }
}

/// `solver_type`: how the second order is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SolverType {
    Midpoint,
    Heun,
}

impl SolverType {
    /// Reads `solver_type`; other classes' words mean the midpoint.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Result<Self> {
        let known = [
            ("midpoint", Self::Midpoint),
            ("heun", Self::Heun),
            ("logrho", Self::Midpoint),
            ("bh1", Self::Midpoint),
            ("bh2", Self::Midpoint),
        ];
        keys.choice("solver_type", &known, "midpoint")
    }
}

/// What is known of the course of the outputs, beside the output where the step begins.
pub(crate) enum Derivatives {
    /// Nothing: the first order.
    None,
    /// The first, for the second order.
    First(SolverType, Vec<f32>),
    /// The first and the second, for the third order.
    Second(Vec<f32>, Vec<f32>),
}

/// `factor * (a - b)`.
pub(crate) fn slope(factor: f32, a: &[f32], b: &[f32]) -> Vec<f32> {
    zip(a, b, |a, b| factor * (a - b))
}

/// A step from a sample at `from` to `to`, by the output `d0` there and its derivatives.
pub(crate) fn advance(
    algorithm: Algorithm,
    (from, to): (Share, Share),
    sample: &[f32],
    d0: &[f32],
    derivatives: &Derivatives,
    noise: Option<&[f32]>,
) -> Vec<f32> {
    let h = to.lambda() - from.lambda();
    // The weights of the sample, of the output, of its derivatives (midpoint's, Heun's, the second), of the noise.
    let (x, c0, midpoint, heun, second, fresh) = match algorithm {
        Algorithm::DpmSolverPlusPlus => {
            let e = (-h).exp() - 1.0;
            (
                to.sigma / from.sigma,
                -(to.alpha * e),
                -(0.5 * (to.alpha * e)),
                to.alpha * (e / h + 1.0),
                -(to.alpha * ((e + h) / (h * h) - 0.5)),
                0.0,
            )
        }
        Algorithm::DpmSolver => {
            let e = h.exp() - 1.0;
            (
                to.alpha / from.alpha,
                -(to.sigma * e),
                -(0.5 * (to.sigma * e)),
                -(to.sigma * (e / h - 1.0)),
                -(to.sigma * ((e - h) / (h * h) - 0.5)),
                0.0,
            )
        }
        Algorithm::SdeDpmSolverPlusPlus => {
            let e = 1.0 - (-2.0 * h).exp();
            (
                to.sigma / from.sigma * (-h).exp(),
                to.alpha * e,
                0.5 * (to.alpha * e),
                to.alpha * (e / (-2.0 * h) + 1.0),
                to.alpha * ((e - 2.0 * h) / ((2.0 * h) * (2.0 * h)) - 0.5),
                to.sigma * e.sqrt(),
            )
        }
        Algorithm::SdeDpmSolver => {
            let e = h.exp() - 1.0;
            (
                to.alpha / from.alpha,
                -(2.0 * (to.sigma * e)),
                -(to.sigma * e),
                -(2.0 * (to.sigma * (e / h - 1.0))),
                f32::NAN, // has no third order
                to.sigma * ((2.0 * h).exp() - 1.0).sqrt(),
            )
        }
    };
    let mut terms = vec![(x, sample), (c0, d0)];
    match derivatives {
        Derivatives::None => {}
        Derivatives::First(SolverType::Midpoint, d1) => terms.push((midpoint, d1)),
        Derivatives::First(SolverType::Heun, d1) => terms.push((heun, d1)),
        Derivatives::Second(d1, d2) => terms.extend([(heun, &d1[..]), (second, &d2[..])]),
    }
    terms.extend(noise.map(|noise| (fresh, noise)));
    weighted(&terms)
}
