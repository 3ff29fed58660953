//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::process::Output;
use turbo_testkit::process::Stage;
pub(crate) use turbo_testkit::process::{assert_fails, feed, frame, read, stderr};
use turbo_testkit::{process, tiny};
use turbo_wire::{Frame, Kind};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_decode-latents");

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

pub(crate) fn model() -> String {
    tiny().into_os_string().into_string().unwrap()
}

/// Made-up latents `[batch, 4, height, width]`.
pub(crate) fn latents(
    pairs: &[(&str, &str)],
    batch: usize,
    height: usize,
    width: usize,
) -> Vec<u8> {
    let values: Vec<f32> = (0..batch * 4 * height * width)
        .map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0)
        .collect();
    frame(
        Kind::Latents,
        pairs,
        &[("latents", &[batch, 4, height, width], &values)],
    )
}
