//! `KDPM2DiscreteScheduler`: the midpoint method.

use super::midpoint::Midpoint;
use super::sigma_space::middle;
use crate::keys::Keys;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

struct KDpm2DiscreteScheduler(Midpoint);

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let midpoint = Midpoint::build(keys, steps, |sigma, next| middle(next, sigma))?;
    Ok(Box::new(KDpm2DiscreteScheduler(midpoint)))
}

impl Scheduler for KDpm2DiscreteScheduler {
    fn space(&self) -> &dyn Space {
        &self.0.space
    }

    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], _: &mut Generator) -> Step {
        let (_, next) = self.0.ends(i);
        self.0.step(output, i, sample, next).0
    }
}
