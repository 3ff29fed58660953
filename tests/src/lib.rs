//! Support for the whole-pipe tests: where the tools are, hosts that are containers, a program that breaks pipes, and a
//! look at what comes out. Processes are started by `turbo_testkit::process`.
//!
//! Helpers of tests panic, with a message, where anything else would return an error.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod breaking;
mod checkpoint;
mod frames;
#[cfg(target_os = "linux")]
mod hosts;
mod png;
mod python;
#[cfg(target_os = "linux")]
mod slurm;
mod tools;

#[cfg(target_os = "linux")]
pub use breaking::Breaker;
pub use checkpoint::Altered;
pub use frames::{embeddings, frame, progress};
#[cfg(target_os = "linux")]
pub use hosts::{Hosts, installed, missing, script};
pub use png::{Picture, pictures, share_off_by_more_than_one};
pub use python::{protocol_block, python};
#[cfg(target_os = "linux")]
pub use slurm::Slurm;
pub use tools::{BESIDE, TOOLS, reading_tool, tool, tool_path};
pub use turbo_testkit::process::{
    Ended, Pipe, Running, Stage, StageEnd, bytes, metadata, pipe, read as frames,
};
