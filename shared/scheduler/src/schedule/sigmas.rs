//! Sigmas: between the trained ones, along a curve, and back to timesteps.

use super::beta_distribution;
use super::betas::Training;
use super::spacing::linspace;
use crate::Result;
use crate::keys::Keys;

/// How sigmas run from the greatest to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// They are those of the timesteps.
    Trained,
    /// Equation 5 of <https://arxiv.org/abs/2206.00364>, with rho 7.
    Karras,
    /// Each is the same part of the one before.
    Exponential,
    /// They follow the quantiles of a beta distribution (<https://arxiv.org/abs/2407.12173>).
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

    /// Whether the curve is Karras'.
    pub(crate) fn is_karras(self) -> bool {
        self.curve == Curve::Karras
    }

    /// Without ends of its own.
    pub(crate) fn between_the_timesteps(self) -> Self {
        Self {
            sigma_min: None,
            sigma_max: None,
            ..self
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

/// Timesteps and their sigmas, of a class that spaces sigmas between its timesteps' own.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    karras: bool,
}

impl Course {
    /// From timesteps, which a curve replaces by those of `n` sigmas along it.
    pub(crate) fn new(training: &Training, timesteps: &[f64], curve: SigmaCurve, n: usize) -> Self {
        let trained = training.sigmas();
        let timesteps: Vec<_> = timesteps.iter().map(|&t| f64::from(t as f32)).collect();
        let sigmas = at_timesteps(&trained, &timesteps);
        let karras = curve.is_karras();
        let Some(along) = curve.sigmas(sigmas[0], sigmas[sigmas.len() - 1], n) else {
            return Self {
                timesteps,
                sigmas,
                karras,
            };
        };
        let to_timestep = SigmaToTimestep::new(&trained);
        Self {
            timesteps: along
                .iter()
                .map(|&sigma| to_timestep.timestep(sigma))
                .collect(),
            sigmas: along,
            karras,
        }
    }

    /// Rounds the timesteps to whole ones where the sigmas follow Karras' curve.
    pub(crate) fn rounded_if_karras(mut self) -> Self {
        if self.karras {
            for timestep in &mut self.timesteps {
                *timestep = timestep.round_ties_even();
            }
        }
        self
    }

    /// The sigmas, one a step.
    pub(crate) fn sigmas_f32(&self) -> impl ExactSizeIterator<Item = f32> + Clone + '_ {
        self.sigmas.iter().map(|&sigma| sigma as f32)
    }
}

/// From a sigma back to its timestep, between logarithms of the trained ones: diffusers' `_sigma_to_t`.
pub(crate) struct SigmaToTimestep {
    logs: Vec<f32>,
}

impl SigmaToTimestep {
    /// A table of the trained sigmas, ascending.
    pub(crate) fn new(train_sigmas: &[f32]) -> Self {
        Self {
            logs: train_sigmas.iter().map(|sigma| sigma.ln()).collect(),
        }
    }

    /// The timestep of a sigma, computed in double precision, as numpy does.
    pub(crate) fn timestep(&self, sigma: f64) -> f64 {
        let log = sigma.max(1e-10).ln();
        let Some((below, low, high)) = self.neighbours(|l| f64::from(l) <= log) else {
            return 0.0;
        };
        let w = ((f64::from(low) - log) / f64::from(low - high)).clamp(0.0, 1.0);
        (1.0 - w) * below + w * (below + 1.0)
    }

    /// The timestep of a sigma, computed in single precision, as torch does.
    pub(crate) fn timestep_torch(&self, sigma: f32) -> f32 {
        let log = sigma.max(1e-10).ln();
        let Some((below, low, high)) = self.neighbours(|l| l <= log) else {
            return 0.0;
        };
        let w = ((low - log) / (low - high)).clamp(0.0, 1.0);
        (1.0 - w) * below as f32 + w * (below as f32 + 1.0)
    }

    /// The timestep of a sigma in single precision, as numpy computes it.
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
