//! The tool as a process, on the tiny checkpoint: numbers, metadata, lines, errors, exit statuses.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use support::{assert_fails, frames, read, run, stderr, tool};
use turbo_testkit::process::pipe;
use turbo_testkit::{golden, golden_cases, relative_error, shared_dir, tiny, tiny_lettered};
use turbo_wire::Frame;

/// The tiny checkpoint with a vocabulary of letters.
fn lettered() -> String {
    tiny_lettered().into_os_string().into_string().unwrap()
}

fn embeds(frame: &Frame) -> [Vec<f32>; 2] {
    ["prompt_embeds", "pooled_prompt_embeds"].map(|name| frame.to_f32(name).unwrap())
}

#[test]
fn embeddings_are_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let golden = golden("tiny");
    let cases = golden_cases("tiny");
    let model = tiny();
    for (i, case) in cases["cases"]["text"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let mut args = vec![
            "--model",
            model.to_str().unwrap(),
            "--dtype",
            "f32",
            "--quiet",
        ];
        let skip = case["clip_skip"].as_u64().map(|n| n.to_string());
        if let Some(skip) = &skip {
            args.extend(["--clip-skip", skip]);
        }
        if let Some(prompt_2) = case["prompt_2"].as_str() {
            args.extend(["--prompt-2", prompt_2]);
        }
        args.extend(["--", case["prompt"].as_str().unwrap()]);
        let frames = frames(&args, b"");
        for name in ["prompt_embeds", "pooled_prompt_embeds"] {
            let expected = &golden[&format!("text/{i}/{name}")];
            assert_eq!(frames[0].header.tensor(name).unwrap().shape, expected.shape);
            let error = relative_error(&frames[0].to_f32(name).unwrap(), &expected.f32());
            assert!(error < 1e-4, "case {i}, {name}: {error}");
        }
    }
}

#[test]
fn metadata_tells_what_was_encoded() {
    let model = lettered();
    let args = [
        "-m",
        &model,
        "--prompt-2",
        "b",
        "--negative-prompt",
        "c",
        "--clip-skip",
        "1",
        "a a",
    ];
    let all = frames(&args, b"");
    let metadata = all[0].header.metadata();
    let expected = [
        ("clip_skip", "1"),
        ("format", "pt"),
        ("kind", "text-embeddings"),
        ("model", &model),
        ("negative_prompt", "c"),
        (
            "producer",
            concat!("encode-text ", env!("CARGO_PKG_VERSION")),
        ),
        ("prompt", "a a"),
        ("prompt_2", "b"),
        ("version", "1"),
    ];
    let found: Vec<_> = metadata
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, expected);
    // What was not said is not there; an empty second prompt is none, as in diffusers.
    let plain = frames(&["-m", &model, "--prompt-2", "", "a a"], b"");
    for key in ["prompt_2", "negative_prompt", "clip_skip"] {
        assert_eq!(plain[0].header.get(key), None, "{key}");
    }
    assert!(plain[0].header.tensor("negative_prompt_embeds").is_none());
    assert_eq!(
        embeds(&plain[0]),
        embeds(&frames(&["-m", &model, "a a"], b"")[0])
    );
    assert_ne!(embeds(&plain[0])[1], embeds(&all[0])[1]);
}

#[test]
fn a_negative_prompt_is_encoded_as_a_prompt_is_and_without_clip_skip() {
    let model = lettered();
    let negative = |frame: &Frame| {
        ["negative_prompt_embeds", "negative_pooled_prompt_embeds"]
            .map(|name| frame.to_f32(name).unwrap())
    };
    for prompt in ["c b", ""] {
        let with = frames(
            &[
                "-m",
                &model,
                "--clip-skip",
                "1",
                "--negative-prompt",
                prompt,
                "a",
                "b",
            ],
            b"",
        );
        let alone = frames(&["-m", &model, prompt], b"");
        assert_eq!(negative(&with[0]), embeds(&alone[0]));
        assert_eq!(negative(&with[1]), embeds(&alone[0]));
    }
}

#[test]
fn a_frame_for_each_argument_or_line() {
    let model = lettered();
    let prompts = |frames: &[Frame]| -> Vec<String> {
        frames
            .iter()
            .map(|frame| frame.header.get("prompt").unwrap().to_owned())
            .collect()
    };
    let arguments = frames(&["-m", &model, "a", "", "b c"], b"not read");
    assert_eq!(prompts(&arguments), ["a", "", "b c"]);
    let lines = frames(&["-m", &model], b"a\r\n\n   \n b c\n\xc3\xa9");
    assert_eq!(prompts(&lines), ["a", " b c", "é"]);
    assert_eq!(embeds(&lines[0]), embeds(&arguments[0]));
    // A prompt that looks like a flag.
    assert_eq!(
        prompts(&frames(&["-m", &model, "--", "--steps"], b"")),
        ["--steps"]
    );
    // Nothing in, nothing out, and no model is needed for it.
    assert!(frames(&["-m", "/nonexistent/model"], b"\n\n").is_empty());
}

#[test]
fn a_bad_line_is_named_and_can_be_skipped() {
    let model = lettered();
    let input = b"a\nb \xff c\nd\n";
    let output = run(&["-m", &model], input);
    assert_fails(
        &output,
        1,
        "encode-text: frame 1: stdin: line 2: expected UTF-8, found other bytes at 2",
    );
    assert_eq!(read(&output.stdout).len(), 1);
    let output = run(&["-m", &model, "--on-error", "skip"], input);
    assert_fails(&output, 1, "frame 1: stdin: line 2");
    let frames = read(&output.stdout);
    assert_eq!(frames[1].header.get("prompt"), Some("d"));
    assert_eq!(frames.len(), 2);
}

#[test]
fn what_is_cut_off_is_told_unless_quiet() {
    let model = lettered();
    let length = frames(&["-m", &model, "a"], b"")[0]
        .header
        .tensor("prompt_embeds")
        .unwrap()
        .shape[1];
    let room = length - 2;
    let fits = "a ".repeat(room);
    assert_eq!(stderr(&run(&["-m", &model, &fits], b"")), "");
    let long = format!("{fits}b C");
    let output = run(&["-m", &model, &long], b"");
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output);
    assert_eq!(
        text,
        format!(
            "encode-text: warning: frame 0: only the first {room} tokens count without --weighted blend (or scale); cut off: \"b C\"\n"
        )
    );
    assert_eq!(stderr(&run(&["-q", "-m", &model, &long], b"")), "");
    assert_eq!(
        embeds(&read(&output.stdout)[0]),
        embeds(&frames(&["-m", &model, &fits], b"")[0])
    );
    let negative = stderr(&run(
        &["-m", &model, "--negative-prompt", &long, "a", "b"],
        b"",
    ));
    assert_eq!(negative.lines().count(), 1, "{negative}");
    assert!(
        negative.starts_with("encode-text: warning: negative prompt: only"),
        "{negative}"
    );
}

#[test]
fn wrong_models_and_flags_say_what_to_do() {
    assert_fails(
        &run(&["-m", "/nonexistent/model", "a"], b""),
        1,
        "/nonexistent/model: no such file or folder",
    );
    let output = run(&["a"], b"");
    assert_fails(&output, 1, "type `fetch-model stabilityai/sdxl-turbo`");
    assert_fails(&output, 1, "--model demo");
    assert!(output.stdout.is_empty());
    assert_fails(
        &run(&["-m", &lettered(), "--device", "metal", "a"], b""),
        1,
        "--features metal",
    );
    assert_fails(&run(&["--clip-skip=-1", "a"], b""), 2, "--clip-skip");
    assert_fails(
        &run(&["-m", &lettered(), "--clip-skip", "99", "a"], b""),
        1,
        "clip_skip",
    );
    // A model that is not there is no fault of a record.
    let output = run(
        &["-m", "/nonexistent/model", "--on-error", "skip"],
        b"a\nb\n",
    );
    assert_eq!(stderr(&output).lines().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_spoiled_tokenizer_is_told_by_file() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(tiny_lettered()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "tokenizer_2" {
            std::os::unix::fs::symlink(entry.path(), folder.path().join(entry.file_name()))
                .unwrap();
        }
    }
    let model = folder.path().to_str().unwrap();
    assert_fails(
        &run(&["-m", model, "a"], b""),
        1,
        "tokenizer_2/vocab.json: not found",
    );
    let tokenizer = folder.path().join("tokenizer_2");
    fs::create_dir(&tokenizer).unwrap();
    for entry in fs::read_dir(tiny_lettered().join("tokenizer_2")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), tokenizer.join(entry.file_name())).unwrap();
    }
    fs::write(tokenizer.join("vocab.json"), "{\"a\": \"b\"}").unwrap();
    let output = run(&["-m", model, "a"], b"");
    assert_fails(
        &output,
        1,
        "tokenizer 2: vocab.json: expected a JSON object of pieces and ids",
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn progress_is_a_line_a_frame() {
    let output = run(&["-m", &lettered(), "--progress", "json", "a", "b"], b"");
    let lines: Vec<serde_json::Value> = stderr(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["frame"], 1);
    assert!(lines[0]["open_s"].as_f64().unwrap() > 0.0 && lines[1]["open_s"] == 0.0);
}

/// A line is answered before the next one comes: somebody may be typing.
#[test]
fn each_line_is_answered_at_once() {
    use std::io::Write;
    use turbo_wire::{FrameReader, Limits};
    let mut running = pipe([tool(&["-m", &lettered()])]).held().start();
    let mut stdin = running.stdin.take().unwrap();
    let mut reader = FrameReader::new(running.stdout.take().unwrap(), Limits::default());
    for prompt in ["a", "b"] {
        writeln!(stdin, "{prompt}").unwrap();
        assert_eq!(
            reader.next_frame().unwrap().unwrap().header.get("prompt"),
            Some(prompt)
        );
    }
    drop(stdin);
    assert!(reader.next_frame().unwrap().is_none());
    running.wait().ok();
}
