//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use turbo_testkit::{golden, tiny};
use turbo_wire::{
    Dtype, Frame, FrameReader, FrameWriter, Header, Kind, Limits, Metadata, TensorSpec, f32_bytes,
};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_denoise");

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

/// Made-up embeddings that differ from prompt to prompt.
pub(crate) fn values(count: usize, prompt: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 31 + prompt * 17) % 61) as f32 / 30.0 - 1.0)
        .collect()
}

/// A frame for the tiny checkpoint, one row for each prompt, 64 x 64 pixels unless `pairs` say otherwise.
pub(crate) fn prompts(pairs: &[(&str, &str)], prompts: &[usize]) -> Vec<u8> {
    let size = [("width", "64"), ("height", "64")];
    let own = |key: &str| pairs.iter().any(|(other, _)| *other == key);
    let pairs: Vec<_> = size
        .into_iter()
        .filter(|(key, _)| !own(key))
        .chain(pairs.iter().copied())
        .collect();
    let rows = |width| {
        prompts
            .iter()
            .flat_map(|&prompt| values(width, prompt))
            .collect::<Vec<_>>()
    };
    let (tokens, width, pooled) = widths();
    frame(
        Kind::TextEmbeddings,
        &pairs,
        &[
            (
                "prompt_embeds",
                &[prompts.len(), tokens, width],
                &rows(tokens * width),
            ),
            (
                "pooled_prompt_embeds",
                &[prompts.len(), pooled],
                &rows(pooled),
            ),
        ],
    )
}

/// Tokens, and the widths of the tiny checkpoint.
pub(crate) fn widths() -> (usize, usize, usize) {
    let golden = golden("tiny");
    let shape = &golden["text/0/prompt_embeds"].shape;
    (7, shape[2], golden["text/0/pooled_prompt_embeds"].shape[1])
}

pub(crate) fn latents(frame: &Frame) -> Vec<f32> {
    frame.to_f32("latents").unwrap()
}
