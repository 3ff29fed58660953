//! Python reads what this crate writes, and the other way round, by the code that PROTOCOL.md
//! shows.
//!
//! Needs Python with numpy and safetensors: `python3`, or the interpreter that the environment
//! variable `PYTHON` names. Where `python3` lacks them the tests say so and pass; an interpreter
//! that was asked for by name has to have them.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use turbo_wire::{Dtype, Frame, Header, Kind, Metadata, TensorSpec, f32_bytes, keys};

use crate::protocol::{blocks, dump};
use crate::support::{Random, hex, metadata, read_all, write_all};

/// The interpreter, or `None` after the reason has been printed.
fn python() -> Option<String> {
    let named = std::env::var("PYTHON").ok();
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let probe = Command::new(&python)
        .args(["-c", "import numpy, safetensors.numpy"])
        .output();
    match probe {
        Ok(output) if output.status.success() => return Some(python),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let reason = text.lines().last().unwrap_or("no reason given").to_owned();
            assert!(named.is_none(), "PYTHON={python}: {reason}");
            eprintln!("skipped: {python}: {reason}");
        }
        Err(error) => {
            assert!(named.is_none(), "PYTHON={python}: {error}");
            eprintln!("skipped: {python}: {error}");
        }
    }
    None
}

/// Runs a script with this input.
fn run(python: &str, script: &str, input: &[u8]) -> Output {
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("is piped");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("Python ends");
    // A script that fails early leaves its input unread; what matters is its own report.
    let _ = feeder.join().expect("the feeder does not panic");
    output
}

/// Runs a script that has to succeed, and gives its output.
fn stdout(python: &str, script: &str, input: &[u8]) -> Vec<u8> {
    let output = run(python, script, input);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{stderr}");
    output.stdout
}

fn latents(batch: usize, start: f32, pairs: &[(&str, &str)]) -> Frame {
    let header = Header::latents(batch, 2, 3, metadata(pairs)).expect("correct");
    let count = batch * 24;
    let values: Vec<f32> = (0..count).map(|i| start + 0.25 * i as f32).collect();
    Frame::new(header, &[("latents", &f32_bytes(&values))]).expect("fits")
}

/// The reader, the writer and the stage between two tools, just as PROTOCOL.md prints them.
#[test]
fn a_stage_in_python() {
    let Some(python) = python() else { return };
    let script = blocks("python")[..3].concat();
    let frames = [
        latents(
            1,
            -3.0,
            &[
                (keys::PROMPT, "ein \"Fuchs\" \\ 狐\n🦊"),
                ("mytool.mood", "glad"),
            ],
        ),
        latents(2, 0.5, &[(keys::SEED, "18446744073709551615")]),
        latents(1, 100.0, &[]),
    ];
    let output = stdout(&python, &script, &write_all(&frames));
    let read = read_all(output.as_slice()).expect("Python's frames are read");
    assert_eq!(read.len(), frames.len());
    for (after, before) in read.iter().zip(&frames) {
        assert_eq!(after.header.metadata(), before.header.metadata());
        assert_eq!(after.header.kind(), Kind::Latents);
        let expected: Vec<f32> = before
            .to_f32("latents")
            .expect("floats")
            .iter()
            .map(|value| value * 1.05)
            .collect();
        assert_eq!(after.to_f32("latents"), Some(expected));
    }
    assert!(stdout(&python, &script, &[]).is_empty(), "an empty stream");

    // A stream that is cut makes the script fail, wherever it is cut inside a frame.
    let stream = write_all(&frames[..1]);
    for cut in [1, 7, 8, 20, stream.len() - 96, stream.len() - 1] {
        let output = run(&python, &script, &stream[..cut]);
        assert!(!output.status.success(), "cut at {cut}");
        assert!(output.stdout.is_empty(), "cut at {cut}");
    }
}

/// The writer without packages gives the dump, and this crate's bytes.
#[test]
fn the_same_bytes_without_packages() {
    let Some(python) = python() else { return };
    let encode = &blocks("python")[3];
    let script = format!(
        "{encode}
import sys
metadata = {{'version': '1', 'prompt': 'a fox', 'kind': 'image', 'format': 'pt'}}
image = bytes([255, 128, 0, 0, 64, 128])
sys.stdout.buffer.write(encode_frame({{'image': ('U8', [1, 1, 2, 3], image)}}, metadata))
"
    );
    assert_eq!(stdout(&python, &script, &[]), dump());

    let text = "\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}ß\u{2028}狐🦊";
    let header = Header::text_embeddings(1, 1, 2, 1, false, metadata(&[("a", text), ("Z", "")]));
    let frame = Frame::new(
        header.expect("correct"),
        &[
            ("prompt_embeds", b"12345678"),
            ("pooled_prompt_embeds", b"abcd"),
        ],
    )
    .expect("fits");
    let script = format!(
        "{encode}
import sys
metadata = {{'format': 'pt', 'version': '1', 'kind': 'text-embeddings', 'Z': '',
    'a': '\"\\\\/\\b\\f\\n\\r\\t\\0\\x1f\\x7f\\xdf\\u2028\\u72d0\\U0001f98a'}}
sys.stdout.buffer.write(encode_frame({{
    'pooled_prompt_embeds': ('F32', [1, 1], b'abcd'),
    'prompt_embeds': ('F32', [1, 1, 2], b'12345678'),
}}, metadata))
"
    );
    assert_eq!(stdout(&python, &script, &[]), write_all(&[frame]));
}

/// A stream of one frame is a file for the safetensors package, by each of its ways in.
#[test]
fn one_frame_is_a_safetensors_file() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("frame.safetensors");
    let tensors = vec![
        TensorSpec::new("prompt_embeds", Dtype::F16, &[2, 1, 3]),
        TensorSpec::new("pooled_prompt_embeds", Dtype::F32, &[2, 1]),
        TensorSpec::new("mask", Dtype::U8, &[3]),
    ];
    let header = Header::new(
        Kind::TextEmbeddings,
        tensors,
        metadata(&[("prompt", "狐 \"x\"")]),
    );
    // f16 words of 0.5, 1, 1.5, 2, -2 and 65504.
    let words = [0x3800_u16, 0x3c00, 0x3e00, 0x4000, 0xc000, 0x7bff];
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let frame = Frame::new(
        header.expect("correct"),
        &[
            ("mask", &[1, 0, 255]),
            ("prompt_embeds", &words),
            ("pooled_prompt_embeds", &f32_bytes(&[0.1, -7.0])),
        ],
    )
    .expect("fits");
    fs::write(&path, write_all(&[frame])).expect("writes");
    let script = format!(
        "
import numpy, sys
from safetensors import safe_open
from safetensors.numpy import load_file
path = {path:?}
with safe_open(path, 'np') as file:
    assert file.metadata() == {{'format': 'pt', 'version': '1', 'kind': 'text-embeddings',
        'prompt': '\\u72d0 \"x\"'}}, file.metadata()
    opened = {{name: file.get_tensor(name) for name in file.keys()}}
loaded = load_file(path)
for tensors in (opened, loaded):
    assert sorted(tensors) == ['mask', 'pooled_prompt_embeds', 'prompt_embeds'], tensors
    embeds, pooled, mask = (tensors[n] for n in ('prompt_embeds', 'pooled_prompt_embeds', 'mask'))
    assert embeds.dtype == numpy.float16 and pooled.dtype == numpy.float32
    assert embeds.tolist() == [[[0.5, 1.0, 1.5]], [[2.0, -2.0, 65504.0]]], embeds
    assert pooled.tolist() == [[float(numpy.float32(0.1))], [-7.0]], pooled
    assert mask.dtype == numpy.uint8 and mask.tolist() == [1, 0, 255], mask
print('equal')
"
    );
    assert_eq!(stdout(&python, &script, &[]), b"equal\n");
}

/// Many random frames in one file, through the reader of PROTOCOL.md. Python tells what it saw by
/// hashes of the names, types, shapes, bytes and metadata.
#[test]
fn several_frames_in_one_file() {
    let Some(python) = python() else { return };
    let mut random = Random(99);
    // numpy has no bfloat16.
    let frames: Vec<Frame> = std::iter::repeat_with(|| random.frame())
        .filter(|frame| {
            frame
                .header
                .tensors()
                .iter()
                .all(|t| t.dtype != Dtype::BF16)
        })
        .take(40)
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("frames.stream");
    fs::write(&path, write_all(&frames)).expect("writes");
    let script = format!(
        "{}
with open({path:?}, 'rb') as stream:
    for metadata, tensors in read_frames(stream):
        print(len(tensors), len(metadata))
        for key in sorted(metadata):
            print(key.encode().hex() + '=' + metadata[key].encode().hex())
        for name in sorted(tensors):
            t = tensors[name]
            shape = 'x'.join(map(str, t.shape))
            print(name.encode().hex(), t.dtype.name, shape or '-', t.tobytes().hex() or '-')
",
        blocks("python")[0]
    );
    let expected: String = frames.iter().map(describe).collect();
    let found = stdout(&python, &script, &[]);
    assert_eq!(String::from_utf8_lossy(&found), expected);
}

fn describe(frame: &Frame) -> String {
    use std::fmt::Write;

    let or_dash = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let all: &Metadata = frame.header.metadata();
    let mut text = format!("{} {}\n", frame.header.tensors().len(), all.len());
    for (key, value) in all {
        let (key, value) = (hex(key.as_bytes()), hex(value.as_bytes()));
        writeln!(text, "{key}={value}").expect("a String takes everything");
    }
    let mut tensors: Vec<&TensorSpec> = frame.header.tensors().iter().collect();
    tensors.sort_by_key(|tensor| &tensor.name);
    for tensor in tensors {
        let dtype = match tensor.dtype {
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::F64 => "float64",
            Dtype::U8 => "uint8",
            Dtype::I64 => "int64",
            Dtype::BOOL => "bool",
            other => panic!("{other} was left out"),
        };
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let (name, shape) = (hex(tensor.name.as_bytes()), or_dash(shape.join("x")));
        let bytes = or_dash(hex(frame.bytes(&tensor.name).expect("is there")));
        writeln!(text, "{name} {dtype} {shape} {bytes}").expect("a String takes everything");
    }
    text
}

/// The script makes the very files that are committed.
#[test]
fn the_vectors_can_be_made_again() {
    let Some(python) = python() else { return };
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let folder = tempfile::tempdir().expect("a folder");
    let status = Command::new(&python)
        .arg(format!("{vectors}/make.py"))
        .arg(folder.path())
        .status();
    assert!(status.expect("Python starts").success());
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).expect("lists") {
        let entry = entry.expect("an entry");
        let committed = format!("{vectors}/{}", entry.file_name().display());
        let made = fs::read(entry.path()).expect("reads");
        assert_eq!(made, fs::read(&committed).expect("reads"), "{committed}");
        files += 1;
    }
    assert_eq!(files, 5);
}
