//! Real processes, joined by real pipes, and frames for them.
//!
//! [`Stage`] is a program with its arguments, [`pipe`] joins some, [`Running`] is a pipe at work and [`Ended`] one that
//! has ended. Each has a time limit, and nothing that a test starts outlives it. Tests of a single tool [`feed`] it.

mod ended;
mod pipe;
mod stage;

pub use ended::{Ended, StageEnd};
pub use pipe::{Pipe, Running, pipe};
pub use stage::Stage;

use std::path::Path;
use std::process::{Command, Output};
use turbo_wire::{
    Dtype, Frame, FrameReader, FrameWriter, Header, Kind, Limits, Metadata, TensorSpec, f32_bytes,
};

/// The binary at `path`, which finds no checkpoint that is not named.
///
/// # Panics
/// If the path has no name in Unicode.
pub fn tool(path: &str, args: &[&str]) -> Stage {
    let name = Path::new(path).file_stem().and_then(|name| name.to_str());
    Stage::program(name.expect("a binary's name"), path)
        .args(args)
        .env("HF_HUB_CACHE", "/nonexistent/cache")
}

/// Runs one program with `stdin` as its input.
///
/// # Panics
/// If it does not start, not end in time, or writes something else than UTF-8 on stderr.
pub fn feed(stage: Stage, stdin: &[u8]) -> Output {
    let Ended { mut stages, stdout } = pipe([stage]).input(stdin).run();
    let end = stages.remove(0);
    Output {
        status: end.status,
        stdout,
        stderr: end.stderr.into_bytes(),
    }
}

/// Python that can import `modules`, separated by commas: `python3`, or what `PYTHON` names. None, with a reason on
/// stderr, where it cannot.
pub fn python(modules: &str) -> Option<Stage> {
    let program = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&program)
        .args(["-c", &format!("import {modules}")])
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(Stage::program("python", program));
    }
    eprintln!("skipped: {program} cannot import {modules} (set PYTHON to one that can)");
    None
}

/// A shell line on a terminal of its own; what the terminal shows comes out on stdout. None, with a reason on stderr,
/// where there is no `script` (util-linux).
pub fn on_terminal(line: &str) -> Option<Stage> {
    let probe = Command::new("script").arg("--version").output();
    if let Err(error) = probe {
        eprintln!("skipped: script (util-linux): {error}");
        return None;
    }
    Some(Stage::program("script", "script").args(["-qec", line, "/dev/null"]))
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

/// The bytes of a frame of floats.
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
    bytes(header, &body)
}

/// The bytes of a frame.
///
/// # Panics
/// If the frame's parts do not fit.
pub fn bytes(header: Header, tensors: &[(&str, &[u8])]) -> Vec<u8> {
    let frame = Frame::new(header, tensors).expect("parts that fit");
    let mut writer = FrameWriter::new(Vec::new());
    writer.write_frame(&frame).expect("a vector takes it");
    writer.into_inner()
}
