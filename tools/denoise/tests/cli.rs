//! The tool as a process, on the tiny checkpoint: frames in and out, errors, exit statuses.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use support::{assert_fails, feed, frame, frames, model, prompts, read, run, stderr, tool};
use turbo_testkit::process::pipe;
use turbo_testkit::tiny;
use turbo_wire::{FrameReader, Kind, Limits};

#[test]
fn the_header_is_out_before_the_body_is_in() {
    let input = prompts(&[("seed", "1")], &[1]);
    let header_len = 8 + u64::from_le_bytes(input[..8].try_into().unwrap()) as usize;
    let mut running = pipe([tool(&["-m", &model()])]).held().start();
    let mut stdin = running.stdin.take().unwrap();
    let mut reader = FrameReader::new(running.stdout.take().unwrap(), Limits::default());
    stdin.write_all(&input[..header_len]).unwrap();
    let header = reader.next_header().unwrap().unwrap();
    assert_eq!(header.get("model"), Some(&model()[..]));
    stdin.write_all(&input[header_len..]).unwrap();
    drop(stdin);
    assert_eq!(
        reader.read_body().unwrap().to_f32("latents").unwrap().len(),
        4 * 8 * 8
    );
    assert!(reader.next_header().unwrap().is_none());
    running.wait().ok();
}

#[test]
fn a_skipped_frame_leaves_nothing_behind_and_the_rest_as_it_was() {
    let model = model();
    let mut nan = prompts(&[], &[2]);
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    for bad in [prompts(&[("steps", "0")], &[2]), nan] {
        let stream = [prompts(&[], &[1]), bad, prompts(&[], &[3])].concat();
        let output = run(
            &["-m", &model, "--seed", "5", "--on-error", "skip"],
            &stream,
        );
        assert_fails(&output, 1, "denoise: frame 1: ");
        let frames = read(&output.stdout);
        let seeds: Vec<_> = frames
            .iter()
            .map(|frame| frame.header.get("seed").unwrap())
            .collect();
        assert_eq!(seeds, ["5", "7"]);

        let output = run(&["-m", &model, "--seed", "5"], &stream);
        assert_fails(&output, 1, "denoise: frame 1: ");
        let mut reader = FrameReader::new(&output.stdout[..], Limits::default());
        assert!(reader.next_frame().unwrap().is_some());
        // What follows is at most a header, which its reader takes for the fault it is.
        assert!(!matches!(reader.next_frame(), Ok(Some(_))));
    }
}

#[test]
fn not_a_number_is_an_error() {
    let mut input = prompts(&[], &[1]);
    let end = input.len();
    input[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_fails(&run(&["-m", &model()], &input), 1, "1 of ");
}

#[test]
fn what_is_no_stream_of_embeddings_is_refused() {
    let model = model();
    let args = ["-m", &model[..]];
    let wrong = frame(
        Kind::Latents,
        &[],
        &[("latents", &[1, 4, 8, 8], &[0.0; 256])],
    );
    assert_fails(
        &run(&args, &wrong),
        1,
        "expected kind \"text-embeddings\", found \"latents\"",
    );
    let narrow = frame(
        Kind::TextEmbeddings,
        &[],
        &[
            ("prompt_embeds", &[1, 2, 5], &[0.0; 10]),
            ("pooled_prompt_embeds", &[1, 3], &[0.0; 3]),
        ],
    );
    let output = run(&args, &narrow);
    assert_fails(&output, 1, "found 5; encode the prompt with the same model");
    assert!(output.stdout.is_empty());
    assert_fails(
        &run(&args, b"GIF89a not a frame at all"),
        1,
        "denoise: frame 0",
    );
    let good = prompts(&[], &[1]);
    for cut in [1, 7, 8, 9, 100, good.len() / 2, good.len() - 1] {
        assert_fails(
            &run(&args, &good[..cut]),
            1,
            "the input ends inside the frame's",
        );
    }
    // After a whole frame, too, and skipping does not help.
    let output = run(
        &["-m", &model, "--on-error", "skip"],
        &[&good[..], &good[..99]].concat(),
    );
    assert_fails(&output, 1, "denoise: frame 1, byte ");
    assert_eq!(read(&output.stdout).len(), 1);
}

#[test]
fn the_model_is_the_flags_or_the_streams_or_the_environments() {
    let named = prompts(&[("model", &model())], &[1]);
    assert_eq!(frames(&[], &named).len(), 1);
    assert_fails(
        &run(&["-m", "/nonexistent/model"], &named),
        1,
        "/nonexistent/model: no such file or folder",
    );
    let command = tool(&[]).env("TURBO_MODEL", model());
    assert_eq!(read(&feed(command, &prompts(&[], &[1])).stdout).len(), 1);
    let output = run(&[], &prompts(&[], &[1]));
    assert_fails(&output, 1, "type `fetch-model stabilityai/sdxl-turbo`");
    assert_fails(&output, 1, "--model demo");
    assert_fails(
        &run(&["-m", &model(), "--device", "cuda"], b""),
        1,
        "--features cuda",
    );
}

/// A copy of the tiny checkpoint, as links, less the file or folder to be made wrong.
#[cfg(unix)]
fn spoiled(less: &str) -> (tempfile::TempDir, PathBuf) {
    fn link(from: &Path, to: &Path, less: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if less == Path::new(&name) {
                continue;
            }
            match less.strip_prefix(&name) {
                Ok(rest) => link(&entry.path(), &to.join(&name), rest),
                Err(_) => std::os::unix::fs::symlink(entry.path(), to.join(&name)).unwrap(),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    link(&tiny(), folder.path(), Path::new(less));
    let path = folder.path().join(less);
    (folder, path)
}

#[cfg(unix)]
#[test]
fn a_spoiled_checkpoint_is_told_by_file_and_key() {
    let weights = fs::read_dir(tiny().join("unet"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.ends_with(".safetensors"))
        .unwrap();
    let weights = format!("unet/{weights}");
    let fails = |less: &str, content: Option<Vec<u8>>, text: &str| {
        let (folder, path) = spoiled(less);
        if let Some(content) = content {
            fs::write(path, content).unwrap();
        }
        let output = run(
            &["-m", folder.path().to_str().unwrap()],
            &prompts(&[], &[1]),
        );
        assert_fails(&output, 1, text);
        assert!(output.stdout.is_empty());
    };
    let whole = fs::read(tiny().join(&weights)).unwrap();
    fails(&weights, None, "no weights");
    fails(&weights, Some(whole[..whole.len() - 1].to_vec()), "found");
    fails(
        &weights,
        Some(b"garbage".to_vec()),
        "not a safetensors file",
    );
    fails("unet/config.json", None, "unet/config.json: not found");
    fails("unet/config.json", Some(b"{".to_vec()), "unet/config.json");
    let edit = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(tiny().join(file)).unwrap();
        assert!(text.contains(from), "{from} in {file}");
        Some(text.replace(from, to).into_bytes())
    };
    let scheduler = "scheduler/scheduler_config.json";
    fails(
        scheduler,
        edit(
            scheduler,
            "EulerAncestralDiscreteScheduler",
            "VQDiffusionScheduler",
        ),
        "_class_name: \"VQDiffusionScheduler\" is not supported",
    );
    fails(
        "unet/config.json",
        edit("unet/config.json", "\"silu\"", "\"mish\""),
        "`act_fn` is \"mish\"",
    );
}

#[test]
fn progress_is_a_line_a_frame_with_a_time_a_step() {
    let input = [prompts(&[("id", "one")], &[1]), prompts(&[], &[2])].concat();
    let output = run(
        &["-m", &model(), "--steps", "3", "--progress", "json"],
        &input,
    );
    let lines: Vec<serde_json::Value> = stderr(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["frame"], &lines[0]["id"]),
        (&0.into(), &"one".into())
    );
    assert_eq!(
        (&lines[1]["frame"], &lines[1]["open_s"]),
        (&1.into(), &0.0.into())
    );
    for line in &lines {
        assert_eq!(
            (&line["event"], &line["tool"]),
            (&"frame".into(), &"denoise".into())
        );
        let steps: Vec<f64> = serde_json::from_value(line["step_s"].clone()).unwrap();
        assert_eq!(steps.len(), 3);
        let compute = line["compute_s"].as_f64().unwrap();
        assert!(steps.iter().all(|&step| step > 0.0) && steps.iter().sum::<f64>() <= compute);
    }
    assert!(lines[0]["open_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_thousand_frames_take_no_more_memory_than_a_hundred() {
    let model = model();
    let args = ["-m", &model, "--progress", "json", "--threads", "1"];
    let frame = prompts(&[("width", "32"), ("height", "32")], &[1]);
    let ended = pipe([tool(&args)]).repeated_input(frame, 1000).run();
    ended.ok();
    let lines = &ended.stages[0].stderr;
    let resident = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["max_rss_bytes"].as_u64()
    };
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 1000);
    if let (Some(early), Some(late)) = (resident(lines[99]), resident(lines[999])) {
        assert!(
            late < early + (8 << 20),
            "{early} bytes after 100 frames, {late} after 1000"
        );
    }
}
