//! Files that Python's safetensors package made. `vectors/make.py` shows the values.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use turbo_wire::{Dtype, Frame, Kind};

use crate::support::{hex, read_all, write_all};

/// The single frames, in the order in which `four-frames.stream` holds them.
const SINGLE: [&str; 4] = [
    "foreign-text-embeddings.safetensors",
    "negative-f16.safetensors",
    "latents-bf16.safetensors",
    "image-extra.safetensors",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect("the vector is there")
}

fn frame(name: &str) -> Frame {
    let mut frames = read_all(bytes(name).as_slice()).expect("Python's frames are read");
    assert_eq!(frames.len(), 1, "{name}");
    frames.remove(0)
}

/// `count` values from `start` by `step`, as `ramp` in make.py.
fn ramp(count: u8, start: f32, step: f32) -> Vec<f32> {
    (0..count)
        .map(|index| start + step * f32::from(index))
        .collect()
}

#[test]
fn a_script_that_knows_nothing_of_the_protocol() {
    let frame = frame(SINGLE[0]);
    assert_eq!(frame.header.kind(), Kind::TextEmbeddings);
    assert!(frame.header.metadata().is_empty());
    assert_eq!(frame.to_f32("prompt_embeds"), Some(ramp(24, -1.0, 0.125)));
    assert_eq!(
        frame.to_f32("pooled_prompt_embeds"),
        Some(ramp(4, 2.0, -0.5))
    );
}

#[test]
fn half_precision_with_a_negative_pair() {
    let frame = frame(SINGLE[1]);
    assert_eq!(frame.header.batch(), 2);
    assert_eq!(frame.header.get("kind"), Some("text-embeddings"));
    for (name, values) in [
        ("prompt_embeds", ramp(24, -1.5, 0.125)),
        ("pooled_prompt_embeds", ramp(4, 0.25, 0.25)),
        ("negative_prompt_embeds", ramp(24, 8.0, -1.0)),
        ("negative_pooled_prompt_embeds", ramp(4, -0.5, 0.25)),
    ] {
        assert_eq!(frame.header.tensor(name).map(|t| t.dtype), Some(Dtype::F16));
        assert_eq!(frame.to_f32(name), Some(values), "{name}");
    }
}

#[test]
fn brain_floats() {
    let frame = frame(SINGLE[2]);
    assert_eq!(frame.header.kind(), Kind::Latents);
    assert_eq!(frame.header.tensors()[0].shape, [1, 4, 2, 3]);
    assert_eq!(frame.to_f32("latents"), Some(ramp(24, -6.0, 0.5)));
}

#[test]
fn an_image_with_a_tensor_beside_it() {
    let frame = frame(SINGLE[3]);
    assert_eq!(frame.header.kind(), Kind::Image);
    assert_eq!(frame.header.get("prompt"), Some("ein \"Fuchs\" \\ 狐\n🦊"));
    let expected: Vec<u8> = (0..12).map(|index| 20 * index).collect();
    assert_eq!(frame.bytes("image"), Some(expected.as_slice()));
    let depth: Vec<u8> = [0.0_f64, 0.25, 0.5, 0.75]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    assert_eq!(frame.bytes("depth"), Some(depth.as_slice()));
}

#[test]
fn four_frames_in_one_stream() {
    let stream = bytes("four-frames.stream");
    let frames = read_all(stream.as_slice()).expect("reads");
    assert_eq!(frames, SINGLE.map(frame));
    assert_eq!(write_all(&frames), stream);
}

/// The hashes in PROTOCOL.md are those of the files, and no file goes unmentioned.
#[test]
fn hashes() {
    let protocol = include_str!("../../PROTOCOL.md");
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).expect("lists") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8");
        if name == "make.py" {
            continue;
        }
        let hash = hex(&Sha256::digest(bytes(&name)));
        let row = protocol
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        assert!(row.is_some_and(|row| row.contains(&hash)), "{name}: {hash}");
        files += 1;
    }
    assert_eq!(files, 5);
}
