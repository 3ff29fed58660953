//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use turbo_testkit::process;
use turbo_wire::{Frame, FrameWriter, Header, Kind, Metadata, f32_bytes, names};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_to-png");

pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Made-up pixels that differ from place to place.
pub(crate) fn pixels(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 + i / 11 * 3) as u8).collect()
}

/// The bytes of an `image` frame of made-up pixels.
pub(crate) fn image(batch: usize, height: usize, width: usize, pairs: &[(&str, &str)]) -> Vec<u8> {
    let header = Header::image(batch, height, width, metadata(pairs)).unwrap();
    let pixels = pixels(batch * height * width * 3);
    bytes(&Frame::new(header, &[(names::IMAGE, &pixels)]).unwrap())
}

pub(crate) fn latents() -> Vec<u8> {
    let header = Header::latents(1, 2, 2, Metadata::new()).unwrap();
    assert_eq!(header.kind(), Kind::Latents);
    let values = f32_bytes(&[0.0; 16]);
    bytes(&Frame::new(header, &[(names::LATENTS, &values)]).unwrap())
}

fn bytes(frame: &Frame) -> Vec<u8> {
    let mut writer = FrameWriter::new(Vec::new());
    writer.write_frame(frame).unwrap();
    writer.into_inner()
}

/// Runs the tool in `folder` with `stdin` as its input.
pub(crate) fn run(folder: &Path, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = process::tool(TOOL, args);
    command.current_dir(folder);
    process::feed(command, stdin)
}

/// Runs a shell line in `folder` in which `"$0"` is the tool.
pub(crate) fn shell(folder: &Path, line: &str) -> Output {
    Command::new("sh")
        .args(["-c", line, TOOL])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
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
