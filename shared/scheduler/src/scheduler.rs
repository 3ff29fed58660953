//! What a scheduler is.

use crate::Generator;
use crate::schedule::Schedule;

/// What a sample is made of before each call of the network, which whole families of classes have in common.
pub trait Space {
    /// What was settled when the scheduler was built.
    fn schedule(&self) -> &Schedule;

    /// What unit noise is multiplied by to be the first sample.
    fn init_noise_sigma(&self) -> f32 {
        1.0
    }

    /// The network's input at call `i`.
    ///
    /// # Panics
    /// If there is no such call.
    fn scale_model_input(&self, sample: &[f32], i: usize) -> Vec<f32> {
        assert!(
            i < self.schedule().timesteps.len(),
            "call {i} of the network"
        );
        sample.to_vec()
    }

    /// A clean sample with as much noise as there is before call `i`, from unit noise of the same length.
    ///
    /// # Panics
    /// If there is no such call.
    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32>;
}

/// A scheduler of diffusers, built for its steps: what the network is told, and how a sample goes down by one step.
///
/// Samples are flat `f32` slices of any shape, one picture each. Calls of the network are counted from 0. A class of
/// the second order calls the network twice a step; the loop that drives a scheduler need not know. History lives in
/// the scheduler, so that one serves for one picture; calls go upwards without a gap, from any even one on.
pub trait Scheduler {
    /// What its samples are made of.
    fn space(&self) -> &dyn Space;

    /// What was settled when the scheduler was built.
    fn schedule(&self) -> &Schedule {
        self.space().schedule()
    }

    /// What the network is told at each call.
    fn timesteps(&self) -> &[f32] {
        &self.schedule().timesteps
    }

    /// See [`Space::init_noise_sigma`].
    fn init_noise_sigma(&self) -> f32 {
        self.space().init_noise_sigma()
    }

    /// Multiplies unit noise by [`Space::init_noise_sigma`], to be the first sample.
    fn scale_initial_noise(&self, noise: &mut [f32]) {
        let sigma = self.init_noise_sigma();
        for value in noise {
            *value *= sigma;
        }
    }

    /// See [`Space::scale_model_input`].
    ///
    /// # Panics
    /// If there is no such call.
    fn scale_model_input(&self, sample: &[f32], i: usize) -> Vec<f32> {
        self.space().scale_model_input(sample, i)
    }

    /// See [`Space::add_noise`].
    ///
    /// # Panics
    /// If there is no such call.
    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        self.space().add_noise(original, noise, i)
    }

    /// The sample after call `i`, from the network's output and the sample before it. Noise is drawn where diffusers
    /// draws it, at the last call too where it does: what the generator gives afterwards depends on it.
    ///
    /// # Panics
    /// If there is no such call, or the lengths differ.
    fn step(&mut self, output: &[f32], i: usize, sample: &[f32], generator: &mut Generator)
    -> Step;
}

/// What a step gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The sample for the next call.
    pub prev_sample: Vec<f32>,
    /// The sample without any noise, as it is foreseen at this step.
    pub pred_original_sample: Vec<f32>,
}
