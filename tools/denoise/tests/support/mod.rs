//! Runs the real binary on made frames.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

use std::process::Output;
use turbo_testkit::process::Stage;
pub(crate) use turbo_testkit::process::{assert_fails, feed, frame, read, stderr};
use turbo_testkit::{golden, process, tiny};
use turbo_wire::{Frame, Kind};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_denoise");

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
