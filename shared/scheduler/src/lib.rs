//! diffusers' schedulers and torch's CPU noise, number for number.
//!
//! Everything here is plain `f32` on the host: the same seed gives the same noise whatever device the networks
//! run on, and whatever CPU this runs on.
//!
//! ```
//! use turbo_scheduler::{Generator, SchedulerConfig, Steps, build};
//!
//! let config = SchedulerConfig::from_json(&serde_json::json!({
//!     "_class_name": "EulerAncestralDiscreteScheduler",
//!     "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
//!     "timestep_spacing": "trailing",
//! }))?;
//! let mut scheduler = build(&config, &Steps::count(2))?;
//! let mut generator = Generator::new(0);
//! let mut sample = generator.randn(4 * 64 * 64);
//! scheduler.scale_initial_noise(&mut sample);
//! for i in 0..scheduler.timesteps().len() {
//!     let input = scheduler.scale_model_input(&sample, i);
//!     let output = input; // a network stands here
//!     sample = scheduler.step(&output, i, &sample, &mut generator).prev_sample;
//! }
//! # Ok::<(), turbo_scheduler::Error>(())
//! ```

#![forbid(unsafe_code)]

mod build;
mod class;
mod config;
mod error;
mod keys;
mod noise;
mod prediction;
mod schedule;
mod scheduler;
mod schedulers;
mod span;
mod steps;

pub use build::build;
pub use class::names;
pub use config::SchedulerConfig;
pub use error::Error;
pub use noise::Generator;
pub use schedule::Schedule;
pub use scheduler::{Scheduler, Space, Step};
pub use span::{Span, Start};
pub use steps::{StepChoice, Steps};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;
