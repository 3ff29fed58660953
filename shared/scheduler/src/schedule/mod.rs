//! Betas, sigmas and timesteps, in the precision and the order in which torch and numpy compute them.

pub(crate) mod beta_distribution;
pub(crate) mod betas;
pub(crate) mod sigmas;
pub(crate) mod spacing;

/// What a scheduler settled when it was built.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// What the network is told at each call, descending.
    pub timesteps: Vec<f32>,
    /// Standard deviation of the noise before each call, relative to the picture's share of the sample.
    pub sigmas: Vec<f32>,
    /// Steps that were asked for. Rounding can make one more, and the second order calls the network twice a step.
    pub num_inference_steps: usize,
    /// Timesteps that the network was trained on.
    pub num_train_timesteps: usize,
    /// Calls of the network a step: 1 or 2.
    pub order: usize,
}
