//! Runs a tool's binary on made frames.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use turbo_wire::{
    Dtype, Frame, FrameReader, FrameWriter, Header, Kind, Limits, Metadata, TensorSpec, f32_bytes,
};

/// The binary at `path`, with pipes on all sides and nothing of the environment that could name a model.
pub fn tool(path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command
        .args(args)
        .env_remove("TURBO_MODEL")
        .env_remove("TURBO_CACHE")
        .env("HF_HUB_CACHE", "/nonexistent/cache");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command with `stdin` as its input.
///
/// # Panics
/// If it cannot be run.
pub fn feed(mut command: Command, stdin: &[u8]) -> Output {
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

/// The names in a folder, sorted.
///
/// # Panics
/// If there is no such folder, or a name is not Unicode.
pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Asserts that all went well and silently, and gives the frames.
///
/// # Panics
/// If it did not.
#[track_caller]
pub fn frames(output: &Output) -> Vec<Frame> {
    assert_eq!(
        (output.status.code(), stderr(output).as_str()),
        (Some(0), "")
    );
    read(&output.stdout)
}

/// All frames of a whole stream.
///
/// # Panics
/// If it is not whole.
pub fn read(bytes: &[u8]) -> Vec<Frame> {
    let mut reader = FrameReader::new(bytes, Limits::default());
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

/// What was said on stderr.
///
/// # Panics
/// If it is not UTF-8.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Asserts the exit status and that stderr holds `text`.
///
/// # Panics
/// If one of them is another.
#[track_caller]
pub fn assert_fails(output: &Output, status: i32, text: &str) {
    let found = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{found}");
    assert!(found.contains(text), "expected {text:?} in {found:?}");
}

/// Keys and values as metadata.
pub fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A frame's bytes.
///
/// # Panics
/// If the tensors are not right for the kind.
pub fn frame(kind: Kind, pairs: &[(&str, &str)], tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
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
