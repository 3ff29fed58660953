//! Which of the training timesteps are visited (table 2 of <https://arxiv.org/abs/2305.08891>).

use crate::Result;
use crate::keys::Keys;

/// `timestep_spacing` with its `steps_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// Evenly from the last to the first, both included.
    Linspace,
    /// Multiples of a whole ratio, from the offset up.
    Leading {
        /// Added to each timestep.
        offset: usize,
    },
    /// Evenly from the last downwards by a ratio that may be a fraction, as in SDXL Turbo.
    Trailing,
}

impl Spacing {
    /// Reads `timestep_spacing` and `steps_offset`.
    pub(crate) fn read(keys: &mut Keys<'_>, default: &str) -> Result<Self> {
        let offset = keys.count("steps_offset", 0)?;
        keys.choice(
            "timestep_spacing",
            &[
                ("linspace", Self::Linspace),
                ("leading", Self::Leading { offset }),
                ("trailing", Self::Trailing),
            ],
            default,
        )
    }

    /// The timesteps of `n` steps out of `train`, descending; linspace gives fractions.
    ///
    /// Where rounding makes trailing spacing one timestep longer (61 steps is the first such number), it is here
    /// as in diffusers.
    pub(crate) fn timesteps(self, train: usize, n: usize) -> Vec<f64> {
        match self {
            Self::Linspace => {
                let mut values = linspace(0.0, (train - 1) as f64, n);
                values.reverse();
                values
            }
            Self::Leading { offset } => multiples(train / n, n, offset),
            Self::Trailing => trailing(train, train, n),
        }
    }

    /// As [`Self::timesteps`], in whole numbers.
    pub(crate) fn whole_timesteps(self, train: usize, n: usize) -> Vec<f64> {
        let timesteps = self.timesteps(train, n);
        timesteps.into_iter().map(f64::round_ties_even).collect()
    }

    /// The whole timesteps of a solver that counts the end of the last step as one more, the first `last` of `train`
    /// being in use.
    pub(crate) fn solver_timesteps(self, train: usize, last: usize, n: usize) -> Vec<f64> {
        let mut values = match self {
            Self::Linspace => {
                let values = linspace(0.0, last as f64 - 1.0, n + 1);
                values.into_iter().rev().map(f64::round_ties_even).collect()
            }
            Self::Leading { offset } => multiples(last / (n + 1), n + 1, offset),
            Self::Trailing => return trailing(train, last, n),
        };
        values.truncate(n);
        values
    }
}

/// `numpy.linspace`.
pub(crate) fn linspace(start: f64, stop: f64, n: usize) -> Vec<f64> {
    let step = (stop - start) / (n.max(2) - 1) as f64;
    let value = |i| {
        if i + 1 == n && n > 1 {
            stop
        } else {
            i as f64 * step + start
        }
    };
    (0..n).map(value).collect()
}

/// `n` multiples of `ratio` and an offset, descending.
fn multiples(ratio: usize, n: usize, offset: usize) -> Vec<f64> {
    (0..n)
        .rev()
        .map(|i| (i * ratio) as f64 + offset as f64)
        .collect()
}

/// `numpy.arange(last, 0, -train / n)`, rounded, less 1: the length rounds up, and the step is the difference of the
/// first two elements.
fn trailing(train: usize, last: usize, n: usize) -> Vec<f64> {
    let start = last as f64;
    let ratio = train as f64 / n as f64;
    let length = (start / ratio).ceil() as usize;
    let step = (start - ratio) - start;
    (0..length)
        .map(|i| (start + i as f64 * step).round_ties_even() - 1.0)
        .collect()
}
