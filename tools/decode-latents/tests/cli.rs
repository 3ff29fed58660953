//! The tool as a process, on the tiny checkpoint: frames in and out, errors, exit statuses.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use support::{assert_fails, frame, frames, latents, model, read, run, stderr, tool};
use turbo_testkit::process::pipe;
use turbo_wire::{FrameReader, Kind, Limits};

#[test]
fn metadata_travels_and_tells_the_true_size() {
    let input = latents(
        &[("prompt", "a fox"), ("x-mood", "wild"), ("width", "999")],
        1,
        6,
        10,
    );
    let frames = frames(&["-m", &model()], &input);
    let metadata = frames[0].header.metadata();
    for (key, value) in [
        ("prompt", "a fox"),
        ("x-mood", "wild"),
        ("kind", "image"),
        ("width", "80"),
        ("height", "48"),
        ("model", &model()),
        (
            "producer",
            concat!("decode-latents ", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        assert_eq!(metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!metadata.contains_key("vae"));
}

#[test]
fn the_header_is_out_before_the_body_is_in() {
    let input = latents(&[], 1, 8, 8);
    let header_len = 8 + u64::from_le_bytes(input[..8].try_into().unwrap()) as usize;
    let mut running = pipe([tool(&["-m", &model()])]).held().start();
    let mut stdin = running.stdin.take().unwrap();
    let mut reader = FrameReader::new(running.stdout.take().unwrap(), Limits::default());
    stdin.write_all(&input[..header_len]).unwrap();
    let header = reader.next_header().unwrap().unwrap();
    assert_eq!(header.tensor("image").unwrap().shape, [1, 64, 64, 3]);
    stdin.write_all(&input[header_len..]).unwrap();
    drop(stdin);
    reader.read_body().unwrap();
    running.wait().ok();
}

#[test]
fn not_a_number_is_an_error_and_not_a_black_picture() {
    let mut bad = latents(&[], 1, 8, 8);
    let end = bad.len();
    bad[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let model = model();
    let output = run(&["-m", &model], &bad);
    assert_fails(
        &output,
        1,
        "decode-latents: frame 0: latents: 1 of 256 values are NaN or infinite",
    );
    let stream = [latents(&[], 1, 8, 8), bad, latents(&[], 1, 8, 16)].concat();
    let output = run(&["-m", &model, "--on-error", "skip"], &stream);
    assert_fails(&output, 1, "decode-latents: frame 1: ");
    let widths: Vec<_> = read(&output.stdout)
        .iter()
        .map(|frame| frame.header.tensor("image").unwrap().shape[2])
        .collect();
    assert_eq!(widths, [64, 128]);
}

#[test]
fn what_is_no_stream_of_latents_is_refused() {
    let model = model();
    let args = ["-m", &model[..]];
    let wrong = frame(
        Kind::TextEmbeddings,
        &[],
        &[
            ("prompt_embeds", &[1, 2, 5], &[0.0; 10]),
            ("pooled_prompt_embeds", &[1, 3], &[0.0; 3]),
        ],
    );
    assert_fails(
        &run(&args, &wrong),
        1,
        "expected kind \"latents\", found \"text-embeddings\"",
    );
    assert_fails(
        &run(&args, b"\x89PNG\r\n\x1a\n and so on"),
        1,
        "decode-latents: frame 0",
    );
    let good = latents(&[], 1, 8, 8);
    for cut in [1, 7, 8, 9, 100, good.len() / 2, good.len() - 1] {
        assert_fails(
            &run(&args, &good[..cut]),
            1,
            "the input ends inside the frame's",
        );
    }
    // A result that to-png would refuse is not begun: 8 x 8 x 3 bytes for each latent pixel.
    let output = run(&["-m", &model, "--max-frame-bytes", "4096"], &good);
    assert_fails(&output, 1, "result: expected at most 4096 bytes");
    assert!(output.stdout.is_empty());
    assert!(frames(&["-m", "/nonexistent/model"], b"").is_empty());
    let output = run(&[], &good);
    assert_fails(&output, 1, "type `fetch-model stabilityai/sdxl-turbo`");
}

#[test]
fn files_in_and_a_file_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        folder
            .path()
            .join(name)
            .into_os_string()
            .into_string()
            .unwrap()
    };
    fs::write(path("a.st"), latents(&[], 1, 8, 8)).unwrap();
    fs::write(path("b.st"), latents(&[], 1, 8, 16).repeat(2)).unwrap();
    let output = run(
        &[
            "-m",
            &model(),
            "-o",
            &path("out"),
            &path("a.st"),
            &path("b.st"),
        ],
        b"",
    );
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
    assert!(output.stdout.is_empty());
    assert_eq!(read(&fs::read(path("out")).unwrap()).len(), 3);

    fs::write(path("b.st"), b"garbage, garbage").unwrap();
    let output = run(
        &[
            "-m",
            &model(),
            "-o",
            &path("none"),
            &path("a.st"),
            &path("b.st"),
        ],
        b"",
    );
    assert_fails(
        &output,
        1,
        &format!("decode-latents: {}: frame 0", path("b.st")),
    );
    assert!(!Path::new(&path("none")).exists());
}

#[test]
fn progress_is_a_line_a_frame() {
    let output = run(
        &["-m", &model(), "--progress", "json"],
        &latents(&[("id", "one")], 1, 8, 8).repeat(2),
    );
    let lines: Vec<serde_json::Value> = stderr(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["open_s"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&lines[1]["frame"], &lines[1]["id"], &lines[1]["open_s"]),
        (&1.into(), &"one".into(), &0.0.into())
    );
    assert!(lines[1].get("step_s").is_none());
}
