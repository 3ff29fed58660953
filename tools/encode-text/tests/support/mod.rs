//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::process::Output;
use turbo_testkit::process;
use turbo_testkit::process::Stage;
pub(crate) use turbo_testkit::process::{assert_fails, feed, read, stderr};
use turbo_wire::Frame;

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_encode-text");

pub(crate) fn tool(args: &[&str]) -> Stage {
    process::tool(TOOL, args)
}

pub(crate) fn run(args: &[&str], stdin: &[u8]) -> Output {
    feed(tool(args), stdin)
}

/// Runs it, asserts that all went well and silently, and gives the frames.
#[track_caller]
pub(crate) fn frames(args: &[&str], stdin: &[u8]) -> Vec<Frame> {
    process::frames(&run(args, stdin))
}
