//! What the classes of Karras et al. (<https://arxiv.org/abs/2206.00364>) share: a sample is the picture and sigma
//! times unit noise.

use crate::Space;
use crate::prediction::zip;
use crate::schedule::Schedule;
use crate::schedule::spacing::Spacing;

/// The sigmas of such a class.
#[derive(Clone, Debug)]
pub(crate) struct SigmaSpace {
    pub(crate) schedule: Schedule,
    /// Of each step, with those behind the last.
    pub(crate) sigmas: Vec<f32>,
    /// What unit noise is multiplied by at first.
    init_noise_sigma: f32,
}

impl SigmaSpace {
    /// `sigmas` are those of the steps, with the ones behind the last.
    pub(crate) fn new(schedule: Schedule, sigmas: Vec<f32>, spacing: Spacing) -> Self {
        let max = sigmas.iter().copied().fold(0.0, f32::max);
        let init_noise_sigma = match spacing {
            Spacing::Linspace | Spacing::Trailing => max,
            Spacing::Leading { .. } => (max * max + 1.0).sqrt(),
        };
        Self {
            schedule,
            sigmas,
            init_noise_sigma,
        }
    }
}

impl Space for SigmaSpace {
    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn init_noise_sigma(&self) -> f32 {
        self.init_noise_sigma
    }

    /// `sample / sqrt(sigma² + 1)`.
    fn scale_model_input(&self, sample: &[f32], i: usize) -> Vec<f32> {
        let sigma = self.schedule.sigmas[i];
        let scale = (sigma * sigma + 1.0).sqrt();
        sample.iter().map(|value| value / scale).collect()
    }

    /// The second call of a step stands at the next one's sigma.
    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_noise(
            original,
            noise,
            self.sigmas[i.div_ceil(self.schedule.order)],
        )
    }
}

/// A clean sample with noise.
pub(crate) fn add_noise(original: &[f32], noise: &[f32], sigma: f32) -> Vec<f32> {
    zip(original, noise, |original, noise| original + noise * sigma)
}

/// The slope of the sample over sigma.
pub(crate) fn derivative(sample: &[f32], original: &[f32], sigma: f32) -> Vec<f32> {
    zip(sample, original, |sample, original| {
        (sample - original) / sigma
    })
}

/// A step whose network was called once of two times.
pub(crate) struct Half {
    /// The sample at the beginning of the step.
    pub(crate) sample: Vec<f32>,
    /// The slope there.
    pub(crate) slope: Vec<f32>,
}

/// What holds at the calls of a class of the second order, which makes two a step and one at the last: `first` at
/// the beginning of each step, `second` at the other call.
pub(crate) fn interleave(
    first: impl ExactSizeIterator<Item = f32>,
    second: impl Iterator<Item = f32>,
) -> Vec<f32> {
    let calls = 2 * first.len() - 1;
    first
        .zip(second.chain([f32::NAN]))
        .flat_map(|(first, second)| [first, second])
        .take(calls)
        .collect()
}

/// Halfway between two sigmas, by their logarithms; 0 where one is 0.
pub(crate) fn middle(from: f32, to: f32) -> f32 {
    // torch.lerp with a weight of one half.
    let (from, to) = (from.ln(), to.ln());
    (to - (to - from) * 0.5).exp()
}

/// How much noise to add, and how far to go down before, so that noise of `sigma_to` is left.
pub(crate) fn ancestral_step(sigma_from: f32, sigma_to: f32) -> (f32, f32) {
    let (from2, to2) = (sigma_from * sigma_from, sigma_to * sigma_to);
    let up = (to2 * (from2 - to2) / from2).sqrt();
    let down = (to2 - up * up).sqrt();
    (up, down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestral_steps() {
        let (up, down) = ancestral_step(14.614_647, 1.612_887);
        assert!(
            (up - 1.603_034_9).abs() < 1e-6 && (down - 0.177_999_78).abs() < 1e-6,
            "{up} {down}"
        );
        assert_eq!(ancestral_step(1.612_887, 0.0), (0.0, 0.0));
    }
}
