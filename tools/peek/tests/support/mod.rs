//! Runs the real binary on made frames.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::process::Output;

use turbo_testkit::process;
pub(crate) use turbo_testkit::process::{bytes, metadata, stderr};
use turbo_wire::{Dtype, Header, Kind, Metadata, TensorSpec, f32_bytes, names};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_peek");

/// The bytes of a `latents` frame of these values, 16 a row of the batch.
pub(crate) fn latents(values: &[f32], pairs: &[(&str, &str)]) -> Vec<u8> {
    let header = Header::latents(values.len() / 16, 2, 2, metadata(pairs)).unwrap();
    bytes(header, &[(names::LATENTS, &f32_bytes(values))])
}

/// The bytes of an `image` frame of made-up pixels.
pub(crate) fn image(height: usize, width: usize, pairs: &[(&str, &str)]) -> Vec<u8> {
    let header = Header::image(1, height, width, metadata(pairs)).unwrap();
    let pixels: Vec<u8> = (0..height * width * 3).map(|i| (i * 7) as u8).collect();
    bytes(header, &[(names::IMAGE, &pixels)])
}

/// A `latents` frame with a tensor more for each type, of which this is the value's bytes.
pub(crate) fn many_types(extra: &[(Dtype, &[u8])]) -> Vec<u8> {
    let latents = f32_bytes(&[0.25; 16]);
    let extra: Vec<_> = extra
        .iter()
        .map(|(d, b)| (format!("x-{d}"), *d, *b))
        .collect();
    let mut specs = vec![TensorSpec::new(names::LATENTS, Dtype::F32, &[1, 4, 2, 2])];
    specs.extend(extra.iter().map(|(name, dtype, bytes)| {
        TensorSpec::new(name, *dtype, &[bytes.len() * 8 / dtype.bitsize()])
    }));
    let header = Header::new(Kind::Latents, specs, Metadata::new()).unwrap();
    let mut bodies = vec![(names::LATENTS, latents.as_slice())];
    bodies.extend(extra.iter().map(|(name, _, bytes)| (name.as_str(), *bytes)));
    bytes(header, &bodies)
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

/// The JSON objects on stderr, one a line.
pub(crate) fn objects(output: &Output) -> Vec<serde_json::Value> {
    stderr(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
