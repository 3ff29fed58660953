//! Inputs that nobody thought of, for everything that reads what others wrote: see README.md.

#![forbid(unsafe_code)]

pub mod mutate;
pub mod targets;

pub use targets::{TARGETS, Target, target};
