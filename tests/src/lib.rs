//! Support for the whole-pipe tests: the tools as processes, joined by pipes, and a look at what comes out.
//!
//! Helpers of tests panic, with a message, where anything else would return an error.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod breaking;
mod checkpoint;
mod ended;
mod frames;
#[cfg(target_os = "linux")]
mod hosts;
mod pipe;
mod png;
mod python;
#[cfg(target_os = "linux")]
mod slurm;
mod tools;

#[cfg(target_os = "linux")]
pub use breaking::Breaker;
pub use checkpoint::Altered;
pub use ended::{Ended, StageEnd};
pub use frames::{bytes, embeddings, frame, frames, metadata, progress};
#[cfg(target_os = "linux")]
pub use hosts::{Hosts, installed, missing, script};
pub use pipe::{Pipe, Running, Stage, pipe, reading_tool, tool};
pub use png::{Picture, pictures, share_off_by_more_than_one};
pub use python::{protocol_block, python};
#[cfg(target_os = "linux")]
pub use slurm::Slurm;
pub use tools::{BESIDE, TOOLS, tool_path};
