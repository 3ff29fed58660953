//! The timesteps of models that were distilled from a number of steps: LCM's and TCD's.

use crate::Result;
use crate::keys::Keys;
use crate::steps::{Chosen, Steps, within};

/// Timesteps, and their number: `n` of those that the distillation had, evenly, from the last down; or a list.
pub(crate) fn distilled_timesteps(
    keys: &mut Keys<'_>,
    steps: &Steps,
    train: usize,
) -> Result<(Vec<f64>, usize)> {
    let original = keys.count_in("original_inference_steps", 1..=train, 50)?;
    match steps.count_or_timesteps(keys, train)? {
        Chosen::Timesteps(list) => Ok((list.iter().map(|t| t.trunc()).collect(), list.len())),
        Chosen::Count(n) => {
            within(n, original)?;
            let ratio = train / original;
            let step = original as f64 / n as f64;
            let timestep = |i: usize| {
                let from_last = (i as f64 * step).floor() as usize;
                ((original - from_last) * ratio - 1) as f64
            };
            Ok(((0..n).map(timestep).collect(), n))
        }
    }
}
