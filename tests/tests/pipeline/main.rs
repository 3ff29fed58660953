//! Whole pipes: the tools as processes, joined as a shell joins them.
//!
//! `cargo test --release -p pipeline-tests -- --nocapture` prints the measured errors, and what was skipped and why.
#![forbid(unsafe_code)]

mod bfloat16;
mod checkpoints;
mod golden;
mod hostile;
mod manners;
mod prototype;
mod python;
mod readme;
mod real_weights;
mod streams;
