//! `KDPM2AncestralDiscreteScheduler`: the midpoint method with fresh noise after each step.

use super::midpoint::Midpoint;
use super::sigma_space::{add_noise, ancestral_step, middle};
use crate::keys::Keys;
use crate::{Generator, Result, Scheduler, Space, Step, Steps};

struct KDpm2AncestralDiscreteScheduler(Midpoint);

pub(crate) fn build(keys: &mut Keys<'_>, steps: &Steps) -> Result<Box<dyn Scheduler>> {
    let midpoint = Midpoint::build(keys, steps, |sigma, next| {
        let (_, down) = ancestral_step(sigma, next);
        // The last step goes to zero at once.
        if down > 0.0 { middle(sigma, down) } else { 0.0 }
    })?;
    Ok(Box::new(KDpm2AncestralDiscreteScheduler(midpoint)))
}

impl Scheduler for KDpm2AncestralDiscreteScheduler {
    fn space(&self) -> &dyn Space {
        &self.0.space
    }

    fn step(
        &mut self,
        output: &[f32],
        i: usize,
        sample: &[f32],
        generator: &mut Generator,
    ) -> Step {
        let (sigma, next) = self.0.ends(i);
        let (up, down) = ancestral_step(sigma, next);
        let (mut step, is_second) = self.0.step(output, i, sample, down);
        if is_second {
            let noise = generator.randn(sample.len());
            step.prev_sample = add_noise(&step.prev_sample, &noise, up);
        }
        step
    }
}
