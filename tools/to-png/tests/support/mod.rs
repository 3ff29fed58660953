//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::process::Output;

use turbo_testkit::process::{self, bytes};
pub(crate) use turbo_testkit::process::{metadata, stderr};
use turbo_wire::{Header, Kind, Metadata, f32_bytes, names};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_to-png");

/// Made-up pixels that differ from place to place.
pub(crate) fn pixels(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 + i / 11 * 3) as u8).collect()
}

/// The bytes of an `image` frame of made-up pixels.
pub(crate) fn image(batch: usize, height: usize, width: usize, pairs: &[(&str, &str)]) -> Vec<u8> {
    let header = Header::image(batch, height, width, metadata(pairs)).unwrap();
    let pixels = pixels(batch * height * width * 3);
    bytes(header, &[(names::IMAGE, &pixels)])
}

pub(crate) fn latents() -> Vec<u8> {
    let header = Header::latents(1, 2, 2, Metadata::new()).unwrap();
    assert_eq!(header.kind(), Kind::Latents);
    let values = f32_bytes(&[0.0; 16]);
    bytes(header, &[(names::LATENTS, &values)])
}

/// Runs the tool in `folder` with `stdin` as its input.
pub(crate) fn run(folder: &Path, args: &[&str], stdin: &[u8]) -> Output {
    process::feed(process::tool(TOOL, args).folder(folder), stdin)
}

/// Runs a shell line in `folder` in which `"$0"` is the tool.
pub(crate) fn shell(folder: &Path, line: &str) -> Output {
    let stage = process::tool(TOOL, &[]).in_shell(line).folder(folder);
    process::feed(stage, &[])
}

/// Asserts the exit status and that stderr holds `text` (or, for an empty one, nothing).
#[track_caller]
pub(crate) fn expect(output: &Output, status: i32, text: &str) {
    let stderr = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    if text.is_empty() {
        assert_eq!(stderr, "");
    } else {
        assert!(stderr.contains(text), "{stderr}");
        assert!(stderr.starts_with("to-png: "), "{stderr}");
    }
}
