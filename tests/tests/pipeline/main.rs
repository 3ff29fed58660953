//! Whole pipes: the tools as processes, joined as a shell joins them.
//!
//! `cargo test --release -p pipeline-tests -- --nocapture` prints the measured errors, and what was skipped and why.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod batch;
mod bench;
mod bfloat16;
mod cache;
mod checkpoints;
mod cluster;
#[cfg(target_os = "linux")]
mod cut;
mod demo;
mod devices;
mod encode_image;
#[cfg(target_os = "linux")]
mod film;
mod golden;
#[cfg(target_os = "linux")]
mod guide;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod held_open;
mod hostile;
mod image_to_image;
mod images;
mod jsonl;
mod loras;
mod manners;
#[cfg(target_os = "linux")]
mod parallel;
mod peek;
mod progress;
mod prompts;
mod prototype;
mod python;
mod python_middle;
mod quantized;
mod readme;
mod real_weights;
#[cfg(target_os = "linux")]
mod remote;
mod restart;
mod schedulers;
mod streams;
mod trace;
