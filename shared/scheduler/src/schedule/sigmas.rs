//! Sigmas: between the trained ones, along a curve, and back to timesteps.

use super::beta_distribution;
use super::spacing::linspace;
use crate::Result;
use crate::config::Keys;

/// How sigmas run from the greatest to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// As the timesteps have them.
    Trained,
    /// Equation 5 of <https://arxiv.org/abs/2206.00364>, with rho 7.
    Karras,
    /// In equal ratios.
    Exponential,
    /// By quantiles of a beta distribution (<https://arxiv.org/abs/2407.12173>).
    Beta,
}

/// The curve of sigmas and its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SigmaCurve {
    pub(crate) curve: Curve,
    sigma_min: Option<f64>,
    sigma_max: Option<f64>,
}

impl SigmaCurve {
    /// Reads `use_karras_sigmas` and its like, of which one may be true, and `sigma_min` and `sigma_max`.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Result<Self> {
        let uses = [
            (keys.bool("use_karras_sigmas", false)?, Curve::Karras),
            (
                keys.bool("use_exponential_sigmas", false)?,
                Curve::Exponential,
            ),
            (keys.bool("use_beta_sigmas", false)?, Curve::Beta),
        ];
        let mut used = uses.iter().filter(|(used, _)| *used);
        let curve = used.next().map_or(Curve::Trained, |(_, curve)| *curve);
        if used.next().is_some() {
            return Err(keys.combination(
                "expected one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas, found more than one",
            ));
        }
        Ok(Self {
            curve,
            sigma_min: keys.optional_number("sigma_min")?,
            sigma_max: keys.optional_number("sigma_max")?,
        })
    }

    /// `n` sigmas between `max` and `min`, unless the configuration has other ends; none where they are the
    /// timesteps' own.
    pub(crate) fn sigmas(self, max: f64, min: f64, n: usize) -> Option<Vec<f64>> {
        let min = self.sigma_min.unwrap_or(min);
        let max = self.sigma_max.unwrap_or(max);
        match self.curve {
            Curve::Trained => None,
            Curve::Karras => {
                let (low, high) = (min.powf(1.0 / 7.0), max.powf(1.0 / 7.0));
                let sigma = |ramp: f64| (high + ramp * (low - high)).powf(7.0);
                Some(linspace(0.0, 1.0, n).into_iter().map(sigma).collect())
            }
            Curve::Exponential => {
                let logs = linspace(max.ln(), min.ln(), n);
                Some(logs.into_iter().map(f64::exp).collect())
            }
            Curve::Beta => {
                let sigma = |t: f64| min + beta_distribution::quantile(1.0 - t) * (max - min);
                Some(linspace(0.0, 1.0, n).into_iter().map(sigma).collect())
            }
        }
    }

    /// Refuses a list of timesteps beside a curve, which gives the timesteps.
    pub(crate) fn refuse_timesteps(self, keys: &Keys<'_>) -> Result<()> {
        let key = match self.curve {
            Curve::Trained => return Ok(()),
            Curve::Karras => "use_karras_sigmas",
            Curve::Exponential => "use_exponential_sigmas",
            Curve::Beta => "use_beta_sigmas",
        };
        Err(keys.combination(format!(
            "takes no list of timesteps with {key}; set it to false"
        )))
    }
}

/// Whether the noise ends at zero or at the least that was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinalSigma {
    Zero,
    SigmaMin,
}

impl FinalSigma {
    /// Reads `final_sigmas_type`.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Result<Self> {
        let known = [("zero", Self::Zero), ("sigma_min", Self::SigmaMin)];
        keys.choice("final_sigmas_type", &known, "zero")
    }

    /// The sigma after the last step. `least` is the least trained.
    pub(crate) fn sigma(self, least: f32) -> f32 {
        match self {
            Self::Zero => 0.0,
            Self::SigmaMin => least,
        }
    }
}

/// Sigmas at the given timesteps, between the trained ones by `numpy.interp`.
pub(crate) fn at_timesteps(train_sigmas: &[f32], timesteps: &[f64]) -> Vec<f64> {
    let last = train_sigmas.len() - 1;
    let at = |timestep: &f64| {
        let x = timestep.clamp(0.0, last as f64);
        let below = x as usize;
        let low = f64::from(train_sigmas[below]);
        let high = f64::from(train_sigmas[(below + 1).min(last)]);
        (high - low) * (x - below as f64) + low
    };
    timesteps.iter().map(at).collect()
}

/// From a sigma back to its timestep, between logarithms of the trained ones: diffusers' `_sigma_to_t`.
pub(crate) struct SigmaToTimestep {
    logs: Vec<f32>,
}

impl SigmaToTimestep {
    /// Of the trained sigmas, ascending.
    pub(crate) fn new(train_sigmas: &[f32]) -> Self {
        Self {
            logs: train_sigmas.iter().map(|sigma| sigma.ln()).collect(),
        }
    }

    /// Of a sigma in double precision, as numpy has it.
    pub(crate) fn timestep(&self, sigma: f64) -> f64 {
        let log = sigma.max(1e-10).ln();
        let Some((below, low, high)) = self.neighbours(|l| f64::from(l) <= log) else {
            return 0.0;
        };
        let w = ((f64::from(low) - log) / f64::from(low - high)).clamp(0.0, 1.0);
        (1.0 - w) * below + w * (below + 1.0)
    }

    /// Of a sigma in single precision.
    pub(crate) fn timestep_f32(&self, sigma: f32) -> f64 {
        let log = sigma.max(1e-10).ln();
        let Some((below, low, high)) = self.neighbours(|l| l <= log) else {
            return 0.0;
        };
        let w = ((low - log) / (low - high)).clamp(0.0, 1.0);
        f64::from(1.0 - w) * below + f64::from(w) * (below + 1.0)
    }

    /// The last trained one that `is_below`, and the logarithms there and behind it. None for a training of one step.
    fn neighbours(&self, is_below: impl Fn(f32) -> bool) -> Option<(f64, f32, f32)> {
        let below = self
            .logs
            .iter()
            .rposition(|&log| is_below(log))
            .unwrap_or(0);
        let below = below.min(self.logs.len().checked_sub(2)?);
        Some((below as f64, self.logs[below], self.logs[below + 1]))
    }
}
