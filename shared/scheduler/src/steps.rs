//! Which steps a scheduler is built for.

use crate::keys::Keys;
use crate::{Error, Result};

/// Which steps a scheduler is built for.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// How they are chosen.
    pub choice: StepChoice,
    /// How much noise a step of DDIM or TCD adds: 0 none, 1 the most. The other classes have no eta, which 0 stands
    /// for as well.
    pub eta: f64,
}

/// How steps are chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum StepChoice {
    /// So many, by the configuration's spacing.
    Count(usize),
    /// These timesteps, descending.
    Timesteps(Vec<f64>),
    /// These sigmas, descending, with the one after the last step.
    Sigmas(Vec<f64>),
}

impl Steps {
    /// `count` steps, by the configuration's spacing.
    pub fn count(count: usize) -> Self {
        Self {
            choice: StepChoice::Count(count),
            eta: 0.0,
        }
    }

    /// The number of steps, for a class that takes no list.
    pub(crate) fn only_count(&self, keys: &Keys<'_>, max: usize) -> Result<usize> {
        match self.count_or_timesteps(keys, max)? {
            Chosen::Count(count) => Ok(count),
            Chosen::Timesteps(_) => Err(keys.combination(
                "takes no list of timesteps; euler, heun, dpmpp-2m, dpmpp-2m-sde, dpmpp-2s, ddpm, lcm and tcd do",
            )),
        }
    }

    /// The number of steps, or their timesteps, for a class that takes no sigmas.
    pub(crate) fn count_or_timesteps(&self, keys: &Keys<'_>, max: usize) -> Result<Chosen<'_>> {
        match &self.choice {
            StepChoice::Count(count) => within(*count, max).map(Chosen::Count),
            StepChoice::Timesteps(timesteps) => {
                within(timesteps.len(), max)?;
                check_timesteps(keys, timesteps, max)?;
                Ok(Chosen::Timesteps(timesteps))
            }
            StepChoice::Sigmas(_) => Err(keys.combination("takes no list of sigmas; euler does")),
        }
    }
}

/// Steps of a class that takes no sigmas.
pub(crate) enum Chosen<'a> {
    Count(usize),
    Timesteps(&'a [f64]),
}

/// A number of steps from 1 to `max`.
pub(crate) fn within(count: usize, max: usize) -> Result<usize> {
    if (1..=max).contains(&count) {
        Ok(count)
    } else {
        Err(Error::Steps { max, found: count })
    }
}

/// A list of timesteps goes down, within what the network was trained on.
fn check_timesteps(keys: &Keys<'_>, timesteps: &[f64], max: usize) -> Result<()> {
    let inside = |t: &f64| (0.0..max as f64).contains(t);
    if let Some(outside) = timesteps.iter().find(|t| !inside(t)) {
        return Err(keys.combination(format!(
            "timesteps: expected 0 to {}, found {outside}",
            max - 1
        )));
    }
    match timesteps.windows(2).find(|pair| pair[1] >= pair[0]) {
        None => Ok(()),
        Some(pair) => Err(keys.combination(format!(
            "timesteps: expected each to be below the one before, found {} after {}",
            pair[1], pair[0]
        ))),
    }
}
