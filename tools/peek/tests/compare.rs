//! `--compare`: numbers against numpy's, exit statuses, streams of unequal length.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use support::{image, latents, many_types, objects, run, shell, stderr};
use turbo_testkit::process::{feed, python};
use turbo_wire::Dtype;

/// The lines of JSON, without that of the error.
fn differences(output: &Output) -> Vec<Value> {
    let text = stderr(output);
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn compared(a: &[u8], b: &[u8], args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b"), b).unwrap();
    let args = [&["--json", "--compare", "b"], args].concat();
    let output = run(folder.path(), &args, a);
    assert!(output.stdout == a, "frames pass as they are");
    output
}

/// Two streams of three frames that differ a little, in f32, f16 and u8, with a tensor of i64; and numpy's numbers.
const SCRIPT: &str = r#"
import json, numpy as np
from safetensors.numpy import save
rng = np.random.default_rng(4)
def pair(dtype, shape, scale, share):
    a = rng.normal(0.5, 3, shape)
    b = a + rng.normal(0, scale, shape) * (rng.random(shape) < share)
    return a.astype(dtype), b.astype(dtype)
frames = [
    {"latents": pair(np.float32, (2, 4, 9, 7), 1e-4, 1), "steps": pair(np.int64, (5, 3), 40, 0.5)},
    {"prompt_embeds": pair(np.float16, (1, 77, 64), 0.01, 0.001), "pooled_prompt_embeds": pair(np.float16, (1, 32), 0, 1)},
    {"image": tuple(rng.integers(0, 256, (1, 33, 21, 3), dtype=np.uint8) for _ in "ab")},
]
expected = []
for name, side in ("a", 0), ("b", 1):
    with open(name, "wb") as f:
        for tensors in frames:
            f.write(save({key: pair[side] for key, pair in tensors.items()}))
for tensors in frames:
    numbers = {}
    for name, (a, b) in tensors.items():
        x, y = a.astype(np.float64), b.astype(np.float64)
        d = np.abs(x - y)
        at = np.argwhere(a != b)
        numbers[name] = {"differing": len(at), "max_abs": d.max(), "mean_abs": d.mean(),
            "relative": np.linalg.norm(d) / np.linalg.norm(y),
            "first": None if not len(at) else {"index": at[0].tolist(),
                "value": x[tuple(at[0])], "other": y[tuple(at[0])]}}
    expected.append(numbers)
print(json.dumps(expected))
"#;

#[test]
fn numbers_are_numpys() {
    let Some(python) = python("numpy, safetensors.numpy") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = python.args(["-c", SCRIPT]).folder(folder.path());
    let output = feed(script, b"");
    assert!(output.status.success(), "{}", stderr(&output));
    let expected: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let output = run(folder.path(), &["--json", "--compare", "b", "a"], b"");
    assert_eq!(output.status.code(), Some(1));
    let found = differences(&output);
    assert_eq!(found.len(), 3);
    for (frame, expected) in found.iter().zip(&expected) {
        assert_eq!(frame["within"], false);
        let tensors = frame["tensors"].as_array().unwrap();
        assert_eq!(tensors.len(), expected.as_object().unwrap().len());
        for tensor in tensors {
            let (ours, numpy) = (
                &tensor["distance"],
                &expected[tensor["name"].as_str().unwrap()],
            );
            assert_eq!(ours["differing"], numpy["differing"], "{tensor}");
            assert_eq!(ours["first"]["index"], numpy["first"]["index"], "{tensor}");
            let near = |ours: &Value, numpy: &Value| {
                let (ours, numpy) = (ours.as_f64().unwrap(), numpy.as_f64().unwrap());
                assert!(
                    (ours - numpy).abs() <= 1e-6 * numpy.abs(),
                    "{tensor}: {ours}, numpy {numpy}"
                );
            };
            for key in ["max_abs", "mean_abs", "relative"] {
                near(&ours[key], &numpy[key]);
            }
            if !numpy["first"].is_null() {
                near(&ours["first"]["value"], &numpy["first"]["value"]);
                near(&ours["first"]["other"], &numpy["first"]["other"]);
            }
        }
    }
    // The bound that just holds, and one that does not.
    let e = expected[0]["latents"]["relative"].as_f64().unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        let stream = fs::read(folder.path().join(name)).unwrap();
        stream[..one(&stream)].to_vec()
    });
    let pass = |bound: f64| {
        let output = compared(&a, &b, &["--tolerance", &bound.to_string()]);
        let tensors = differences(&output)[0]["tensors"].clone();
        let tensors = tensors.as_array().unwrap();
        let latents = tensors.iter().find(|tensor| tensor["name"] == "latents");
        latents.unwrap()["within"] == true
    };
    assert!(pass(e * 1.0001) && !pass(e * 0.9999));
}

/// Bytes of the first frame of a stream.
fn one(stream: &[u8]) -> usize {
    let size = u64::from_le_bytes(*stream.first_chunk().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&stream[8..8 + size]).unwrap();
    let ends = header.as_object().unwrap().values();
    let end = ends
        .filter_map(|tensor| tensor["data_offsets"][1].as_u64())
        .max();
    8 + size + end.unwrap() as usize
}

#[test]
fn equal_streams_are_equal() {
    let stream = [latents(&[0.5; 32], &[]), image(3, 5, &[])].concat();
    let output = compared(&stream, &stream, &[]);
    assert_eq!(output.status.code(), Some(0));
    let found = objects(&output);
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|frame| frame["within"] == true && frame["metadata"] == json!({}))
    );
    // An empty stream too.
    assert_eq!(compared(b"", b"", &[]).status.code(), Some(0));
}

#[test]
fn bounds_bind_as_they_are_given() {
    let (mut a, b) = ([1.0_f32; 16], [1.0; 16]);
    a[5] = 1.5; // relative: 0.5 / 4
    let status = |args: &[&str]| {
        compared(&latents(&a, &[]), &latents(&b, &[]), args)
            .status
            .code()
    };
    assert_eq!(status(&[]), Some(1));
    assert_eq!(status(&["--tolerance", "0.125"]), Some(0));
    assert_eq!(status(&["--tolerance", "0.124"]), Some(1));
    assert_eq!(status(&["--tolerance-abs", "0.5"]), Some(0));
    assert_eq!(status(&["--tolerance-abs", "0.49"]), Some(1));
    assert_eq!(
        status(&["--tolerance", "0.2", "--tolerance-abs", "0.4"]),
        Some(1)
    );
    assert_eq!(
        status(&["--tolerance", "0.1", "--tolerance-abs", "0.6"]),
        Some(1)
    );
    assert_eq!(
        status(&["--tolerance", "0.2", "--tolerance-abs", "0.6"]),
        Some(0)
    );
    let folder = tempfile::tempdir().unwrap();
    for bad in [
        &["--tolerance", "1"][..],
        &["--compare", "b", "--tolerance=-1"],
        &["--compare", "b", "--tolerance", "nan"],
    ] {
        assert_eq!(
            run(folder.path(), bad, b"").status.code(),
            Some(2),
            "{bad:?}"
        );
    }
}

#[test]
fn what_is_no_number_is_far_from_all_but_itself() {
    let mut values = [1.0_f32; 16];
    (values[3], values[4]) = (f32::NAN, f32::INFINITY);
    let bad = latents(&values, &[]);
    let same = compared(&bad, &bad, &[]);
    assert_eq!(same.status.code(), Some(0));
    let good = latents(&[1.0; 16], &[]);
    for (a, b) in [(&bad, &good), (&good, &bad)] {
        let output = compared(a, b, &["--tolerance", "1e30"]);
        assert_eq!(output.status.code(), Some(1));
        let distance = &differences(&output)[0]["tensors"][0]["distance"];
        assert_eq!(
            (&distance["differing"], &distance["relative"]),
            (&json!(2), &Value::Null)
        );
        assert_eq!(distance["first"]["index"], json!([0, 0, 1, 1]));
    }
}

#[test]
fn frames_tensors_shapes_and_kinds_have_to_be_there() {
    let frame = latents(&[1.0; 16], &[]);
    let far = ["--tolerance", "1e30"];
    let fails = |a: &[u8], b: &[u8], text: &str| {
        let output = compared(a, b, &far);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            stderr(&output).contains(text),
            "{text}: {}",
            stderr(&output)
        );
        differences(&output)
    };
    let two = frame.repeat(2);
    let longer = fails(
        &two,
        &frame,
        "1 of 2 frames further apart; the first: frame 1: OTHER has ended",
    );
    assert_eq!(
        (&longer[1]["other_kind"], &longer[1]["within"]),
        (&Value::Null, &json!(false))
    );
    fails(&frame, &two, "frame 1: the input has ended, b goes on");
    fails(b"", &frame, "frame 0: the input has ended");
    fails(
        &frame,
        &latents(&[1.0; 32], &[]),
        "tensor \"latents\" has shape [1, 4, 2, 2], and there [2, 4, 2, 2]",
    );
    fails(
        &frame,
        &image(2, 2, &[]),
        "kind \"latents\", and there \"image\"",
    );
    let more = many_types(&[(Dtype::I64, &[1; 8])]);
    let plain = many_types(&[]);
    let extra = fails(&more, &plain, "tensor \"x-I64\" is only here");
    assert_eq!(extra[0]["tensors"].as_array().map(Vec::len), Some(2));
    fails(&plain, &more, "tensor \"x-I64\" is only there");
    // Integers are told apart where floats could not, and types without arithmetic byte by byte.
    let (a, b) = (9_007_199_254_740_993_i64, 9_007_199_254_740_992_i64);
    let output = compared(
        &many_types(&[(Dtype::I64, &a.to_le_bytes())]),
        &many_types(&[(Dtype::I64, &b.to_le_bytes())]),
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("\"value\":9007199254740993,\"other\":9007199254740992"),
        "{}",
        stderr(&output)
    );
    fails(
        &many_types(&[(Dtype::F8_E4M3, &[1])]),
        &many_types(&[(Dtype::F8_E4M3, &[2])]),
        "tensor \"x-F8_E4M3\" is of a type that is compared byte by byte, and differs",
    );
}

#[test]
fn a_table_tells_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write(
        "a",
        &latents(&[1.0; 16], &[("seed", "1"), ("id", "x\x1b[2J")]),
    );
    let mut values = [1.0; 16];
    values[7] = 0.75;
    write("b", &latents(&values, &[("seed", "2"), ("id", "x\x1b[2J")]));
    let output = run(
        folder.path(),
        &["--compare", "b", "--tolerance-abs", "0.25", "a"],
        b"",
    );
    assert_eq!(output.status.code(), Some(0));
    // numpy: 0.25 / np.linalg.norm([1] * 15 + [0.75]) = 0.06337242505244779
    assert_eq!(
        stderr(&output),
        "a: frame 0: latents: within tolerance\n  \
         tensor   type  shape         max   mean      relative  differing  first difference\n  \
         latents  F32   [1, 4, 2, 2]  0.25  0.015625  0.063372  1          [0, 1, 1, 1]: 1.0, 0.75\n  \
         seed  1  2\n"
    );
    let output = run(folder.path(), &["--compare", "b", "a"], b"");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains(
            "a: frame 0: latents: apart: tensor \"latents\": relative 0.063372, greatest 0.25\n"
        ),
        "{text}"
    );
    assert!(text.ends_with(
        "peek: --compare b: expected a relative difference of at most 0, found 1 of 1 frames further apart; the \
         first: frame 0: tensor \"latents\": relative 0.063372, greatest 0.25\n"
    ), "{text}");
    let output = run(folder.path(), &["--compare", "a", "a"], b"");
    assert!(stderr(&output).contains("a: frame 0: latents: equal\n"));
}

#[test]
fn faults_of_either_stream_are_told_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let frame = latents(&[1.0; 16], &[]);
    fs::write(folder.path().join("whole"), &frame).unwrap();
    fs::write(folder.path().join("cut"), &frame[..frame.len() - 1]).unwrap();
    let told = |args: &[&str], text: &str| {
        let output = run(folder.path(), args, &frame);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(text), "{}", stderr(&output));
    };
    told(&["--compare", "cut"], "peek: cut: frame 0, byte ");
    told(&["--compare", "whole", "cut"], "peek: cut: frame 0, byte ");
    told(&["--compare", "none"], "peek: none: ");
    let both = run(folder.path(), &["--compare", "-"], b"");
    assert_eq!(both.status.code(), Some(2), "{}", stderr(&both));
    // stdin is one of the two.
    let output = run(folder.path(), &["--compare", "-", "whole"], &frame);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    if Path::new("/dev/fd").exists() {
        let output = shell(
            folder.path(),
            r#"cat whole | "$0" --compare /dev/stdin whole > /dev/null"#,
        );
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn a_thousand_frames_take_no_more_memory_than_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let stream = image(128, 128, &[]).repeat(1000);
    fs::write(folder.path().join("b"), &stream).unwrap();
    let args = ["--json", "--progress", "json", "--compare", "b"];
    let output = run(folder.path(), &args, &stream);
    assert_eq!(output.status.code(), Some(0));
    let rss: Vec<u64> = objects(&output)
        .iter()
        .filter_map(|object| object["max_rss_bytes"].as_u64())
        .collect();
    if let (Some(early), Some(late)) = (rss.get(20), rss.get(999)) {
        assert!(*late < early + (4 << 20), "{early} bytes, then {late}");
    }
}
