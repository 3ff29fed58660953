//! Euler ancestral steps and torch's CPU noise, number for number.
//!
//! Everything here is plain `f32` on the host: the same seed gives the same noise whatever device the networks
//! run on, and whatever CPU this runs on.
//!
//! ```
//! use turbo_scheduler::{EulerAncestralDiscreteScheduler, Generator};
//!
//! let config = serde_json::json!({
//!     "_class_name": "EulerAncestralDiscreteScheduler",
//!     "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
//!     "timestep_spacing": "trailing",
//! });
//! let mut scheduler = EulerAncestralDiscreteScheduler::from_config(&config)?;
//! scheduler.set_timesteps(2)?;
//! let mut generator = Generator::new(0);
//! let mut sample = generator.randn(4 * 64 * 64);
//! scheduler.scale_initial_noise(&mut sample);
//! for index in 0..scheduler.timesteps().len() {
//!     let input = scheduler.scale_model_input(&sample, index);
//!     let model_output = input; // a network stands here
//!     sample = scheduler.step(&model_output, index, &sample, &mut generator);
//! }
//! # Ok::<(), turbo_scheduler::Error>(())
//! ```

#![forbid(unsafe_code)]

mod config;
mod error;
mod euler_ancestral_discrete;
mod noise;
mod schedule;

pub use config::{BetaSchedule, PredictionType, SchedulerConfig, TimestepSpacing};
pub use error::Error;
pub use euler_ancestral_discrete::EulerAncestralDiscreteScheduler;
pub use noise::Generator;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
