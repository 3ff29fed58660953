//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use turbo_testkit::tiny;
use turbo_wire::{
    Dtype, Frame, FrameReader, FrameWriter, Header, Kind, Limits, Metadata, TensorSpec, f32_bytes,
};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_decode-latents");

/// The tool, with nothing of the environment that could name a model.
pub(crate) fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(TOOL);
    command
        .args(args)
        .env_remove("TURBO_MODEL")
        .env("HF_HUB_CACHE", "/nonexistent/cache");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command with `stdin` as its input.
pub(crate) fn feed(mut command: Command, stdin: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // From a thread of its own, as the tool writes before it has read all. A tool that stops early closes its stdin:
    // that is its right.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(crate) fn run(args: &[&str], stdin: &[u8]) -> Output {
    feed(tool(args), stdin)
}

/// Runs it, asserts that all went well and silently, and gives the frames.
pub(crate) fn frames(args: &[&str], stdin: &[u8]) -> Vec<Frame> {
    let output = run(args, stdin);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
    read(&output.stdout)
}

pub(crate) fn read(bytes: &[u8]) -> Vec<Frame> {
    let mut reader = FrameReader::new(bytes, Limits::default());
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts the exit status and that stderr holds `text`.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, status: i32, text: &str) {
    let found = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{found}");
    assert!(found.contains(text), "expected {text:?} in {found:?}");
}

pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A frame's bytes.
pub(crate) fn frame(
    kind: Kind,
    pairs: &[(&str, &str)],
    tensors: &[(&str, &[usize], &[f32])],
) -> Vec<u8> {
    let specs = tensors
        .iter()
        .map(|(name, shape, _)| TensorSpec::new(name, Dtype::F32, shape))
        .collect();
    let header = Header::new(kind, specs, metadata(pairs)).unwrap();
    let body: Vec<_> = tensors
        .iter()
        .map(|(name, _, values)| (*name, f32_bytes(values)))
        .collect();
    let body: Vec<_> = body
        .iter()
        .map(|(name, bytes)| (*name, &bytes[..]))
        .collect();
    let mut writer = FrameWriter::new(Vec::new());
    writer
        .write_frame(&Frame::new(header, &body).unwrap())
        .unwrap();
    writer.into_inner()
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
