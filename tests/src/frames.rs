//! Frames to feed, and frames that came out.

use serde_json::Value;
use turbo_testkit::process::{bytes, metadata, read};
use turbo_testkit::{Tensor, golden};
use turbo_wire::{Frame, Header, Kind, f32_bytes, names};

/// The only frame of a stream, of this kind.
///
/// # Panics
/// If there are more or less, or it is of another kind.
#[track_caller]
pub fn frame(stream: &[u8], kind: Kind) -> Frame {
    let mut frames = read(stream);
    assert_eq!(frames.len(), 1, "frames");
    assert_eq!(frames[0].header.kind(), kind);
    frames.remove(0)
}

/// A frame of the tiny checkpoint's expected embeddings, a row for each of these `text` cases. The tests that take
/// it need no vocabulary.
///
/// # Panics
/// If there is no such case.
pub fn embeddings(cases: &[usize], pairs: &[(&str, &str)]) -> Vec<u8> {
    let golden = golden("tiny");
    let rows = |name: &str| -> (Vec<f32>, Vec<usize>) {
        let rows: Vec<&Tensor> = cases
            .iter()
            .map(|case| &golden[&format!("text/{case}/{name}")])
            .collect();
        (
            rows.iter().flat_map(|row| row.f32()).collect(),
            rows[0].shape.clone(),
        )
    };
    let (prompt, shape) = rows(names::PROMPT_EMBEDS);
    let (pooled, pooled_shape) = rows(names::POOLED_PROMPT_EMBEDS);
    let (batch, metadata) = (cases.len(), metadata(pairs));
    let header =
        Header::text_embeddings(batch, shape[1], shape[2], pooled_shape[1], false, metadata);
    let body = [
        (names::PROMPT_EMBEDS, f32_bytes(&prompt)),
        (names::POOLED_PROMPT_EMBEDS, f32_bytes(&pooled)),
    ];
    bytes(
        header.expect("shapes that fit"),
        &body.each_ref().map(|(name, bytes)| (*name, &bytes[..])),
    )
}

/// The lines of `--progress json`.
///
/// # Panics
/// If a line is no JSON.
pub fn progress(stderr: &str) -> Vec<Value> {
    stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}
