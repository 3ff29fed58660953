//! From a configuration to a scheduler.

use crate::{Error, Result, Scheduler, SchedulerConfig, Steps};

/// Builds the scheduler that a configuration means, for these steps.
///
/// # Errors
/// A key, a value or a combination that the class does not have, or a number of steps: see [`Error`].
pub fn build(config: &SchedulerConfig, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let class = config.class()?;
    if steps.eta != 0.0 && !class.eta {
        return Err(Error::Combination {
            class: class.diffusers,
            what: "has no eta; ddim and tcd have".to_owned(),
        });
    }
    let mut keys = config.keys(class);
    let scheduler = (class.build)(&mut keys, steps);
    // A key that does not exist is the better answer than what follows from it.
    if scheduler.is_ok() {
        keys.finish()?;
    }
    scheduler
}
