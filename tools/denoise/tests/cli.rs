//! The tool as a process, on the tiny checkpoint: numbers, settings, errors, exit statuses.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{TOOL, assert_fails, feed, frame, frames, read, run, stderr, tool};
use turbo_testkit::{golden, relative_error, tiny};
use turbo_wire::{Frame, FrameReader, Kind, Limits};

fn model() -> String {
    tiny().into_os_string().into_string().unwrap()
}

/// Made-up embeddings that differ from prompt to prompt.
fn values(count: usize, prompt: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 31 + prompt * 17) % 61) as f32 / 30.0 - 1.0)
        .collect()
}

/// A frame for the tiny checkpoint, one row for each prompt, 64 x 64 pixels unless `pairs` say otherwise.
fn prompts(pairs: &[(&str, &str)], prompts: &[usize]) -> Vec<u8> {
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
fn widths() -> (usize, usize, usize) {
    let golden = golden("tiny");
    let shape = &golden["text/0/prompt_embeds"].shape;
    (7, shape[2], golden["text/0/pooled_prompt_embeds"].shape[1])
}

fn latents(frame: &Frame) -> Vec<f32> {
    frame.to_f32("latents").unwrap()
}

#[test]
fn latents_are_diffusers() {
    let golden = golden("tiny");
    let tensor = |name: &str| (golden[name].shape.clone(), golden[name].f32());
    let (shape, embeds) = tensor("text/0/prompt_embeds");
    let (pooled_shape, pooled) = tensor("text/0/pooled_prompt_embeds");
    let input = frame(
        Kind::TextEmbeddings,
        &[],
        &[
            ("prompt_embeds", &shape, &embeds),
            ("pooled_prompt_embeds", &pooled_shape, &pooled),
        ],
    );
    for (case, steps, seed) in [(0, "1", "0"), (1, "2", "42")] {
        let args = [
            "--model",
            &model(),
            "--dtype",
            "f32",
            "--steps",
            steps,
            "--seed",
            seed,
            "--width",
            "128",
            "--height",
            "128",
        ];
        let frames = frames(&args, &input);
        let (shape, expected) = tensor(&format!("image/{case}/latents"));
        assert_eq!(frames[0].header.tensor("latents").unwrap().shape, shape);
        let error = relative_error(&latents(&frames[0]), &expected);
        assert!(error < 1e-4, "case {case}: {error}");
    }
}

#[test]
fn settings_and_foreign_keys_travel() {
    let input = prompts(
        &[
            ("prompt", "a fox"),
            ("steps", "2"),
            ("x-mood", "wild"),
            ("kind", "nonsense"),
        ],
        &[1],
    );
    let args = [
        "-m",
        &model(),
        "--steps",
        "3",
        "--seed",
        "9",
        "--target-size",
        "512x640",
        "--guidance-scale",
        "0.5",
    ];
    let frames = frames(&args, &input);
    let metadata = frames[0].header.metadata();
    for (key, value) in [
        ("prompt", "a fox"),
        ("x-mood", "wild"),
        ("kind", "latents"),
        ("steps", "2"),
        ("seed", "9"),
        ("width", "64"),
        ("height", "64"),
        ("guidance_scale", "0.5"),
        ("target_size", "512x640"),
        ("model", &model()),
        ("producer", concat!("denoise ", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!metadata.contains_key("original_size"));
}

#[test]
fn odd_sizes_and_the_checkpoints_own() {
    let input = prompts(&[("width", "120"), ("height", "88")], &[1]);
    let shape = |frames: Vec<Frame>| frames[0].header.tensor("latents").unwrap().shape.clone();
    assert_eq!(shape(frames(&["-m", &model()], &input)), [1, 4, 11, 15]);
    let (tokens, width, pooled) = widths();
    let bare = frame(
        Kind::TextEmbeddings,
        &[],
        &[
            (
                "prompt_embeds",
                &[1, tokens, width],
                &values(tokens * width, 1),
            ),
            ("pooled_prompt_embeds", &[1, pooled], &values(pooled, 1)),
        ],
    );
    let config = fs::read_to_string(tiny().join("unet/config.json")).unwrap();
    let side = serde_json::from_str::<serde_json::Value>(&config).unwrap()["sample_size"]
        .as_u64()
        .unwrap() as usize;
    assert_eq!(shape(frames(&["-m", &model()], &bare)), [1, 4, side, side]);

    let output = run(&["-m", &model(), "--width", "515"], b"");
    assert_fails(
        &output,
        2,
        "--width: expected a multiple of 8, found 515; give 512 or 520",
    );
    let output = run(&["-m", &model()], &prompts(&[("height", "100")], &[1]));
    assert_fails(
        &output,
        1,
        "denoise: frame 0: height: expected a multiple of 8, found 100; give 96 or 104",
    );
    assert!(output.stdout.is_empty());
    let output = run(
        &["-m", &model()],
        &prompts(&[("width", "4294967288")], &[1]),
    );
    assert_fails(&output, 1, "expected 8 to 16384 pixels");
    assert_fails(
        &run(&["-m", &model(), "--steps", "1001"], &prompts(&[], &[1])),
        1,
        "expected 1 to 1000 steps, found 1001",
    );
    assert_fails(
        &run(&["--steps", "0"], b""),
        2,
        "--steps: expected at least 1, found 0",
    );
    assert_fails(
        &run(&["--guidance-scale", "nan"], b""),
        2,
        "expected a finite number",
    );
    assert_fails(
        &run(&["--target-size", "512"], b""),
        2,
        "expected two numbers with an x between",
    );
}

#[test]
fn a_picture_depends_on_its_seed_and_not_on_its_stream_or_batch() {
    let model = model();
    let stream = [prompts(&[], &[1]), prompts(&[], &[2]), prompts(&[], &[3])].concat();
    let args = ["-m", &model, "--steps", "2", "--seed"];
    let with = |seed: &'static str| [&args[..], &[seed]].concat();
    let all = frames(&with("5"), &stream);
    let seeds: Vec<_> = all
        .iter()
        .map(|frame| frame.header.get("seed").unwrap())
        .collect();
    assert_eq!(seeds, ["5", "6", "7"]);
    let alone = frames(&with("7"), &prompts(&[], &[3]));
    assert_eq!(latents(&alone[0]), latents(&all[2]));
    // A frame of several rows counts on by itself.
    let batch = frames(&with("5"), &prompts(&[], &[1, 2, 3]));
    let rows: Vec<f32> = all.iter().flat_map(latents).collect();
    assert_eq!(latents(&batch[0]), rows);
    assert_eq!(batch[0].header.batch(), 3);
    // The frame's own seed wins, and the others count as if it had none.
    let own = [prompts(&[("seed", "7")], &[3]), prompts(&[], &[2])].concat();
    let own = frames(&with("5"), &own);
    assert_eq!(latents(&own[0]), latents(&all[2]));
    assert_eq!(latents(&own[1]), latents(&all[1]));
}

#[test]
fn a_random_seed_is_told_and_draws_the_same_again() {
    let first = frames(&["-m", &model()], &prompts(&[], &[1]));
    let seed = first[0].header.get("seed").unwrap();
    let again = frames(&["-m", &model()], &prompts(&[("seed", seed)], &[1]));
    assert_eq!(latents(&first[0]), latents(&again[0]));
}

/// A frame with a negative pair.
fn with_negative(negative: &dyn Fn(usize) -> Vec<f32>) -> Vec<u8> {
    let (tokens, width, pooled) = widths();
    let (embeds, pooled_shape) = ([1, tokens, width], [1, pooled]);
    frame(
        Kind::TextEmbeddings,
        &[
            ("width", "64"),
            ("height", "64"),
            ("seed", "3"),
            ("negative_prompt", "blurry"),
        ],
        &[
            ("prompt_embeds", &embeds, &values(tokens * width, 1)),
            ("pooled_prompt_embeds", &pooled_shape, &values(pooled, 1)),
            ("negative_prompt_embeds", &embeds, &negative(tokens * width)),
            (
                "negative_pooled_prompt_embeds",
                &pooled_shape,
                &negative(pooled),
            ),
        ],
    )
}

#[test]
fn guidance_is_on_above_one_and_leads_away_from_zeros_or_the_negative_prompt() {
    let model = model();
    let plain = prompts(&[("seed", "3")], &[1]);
    let draw = |scale: &str, input: &[u8]| {
        let output = run(
            &[
                "-m",
                &model,
                "-q",
                "--dtype",
                "f32",
                "--guidance-scale",
                scale,
            ],
            input,
        );
        assert_eq!(
            (output.status.code(), stderr(&output).as_str()),
            (Some(0), "")
        );
        latents(&read(&output.stdout)[0])
    };
    let zeros = with_negative(&|n| vec![0.0; n]);
    let other = with_negative(&|n| values(n, 2));
    assert_eq!(draw("0", &plain), draw("1", &other));
    assert_eq!(draw("2", &plain), draw("2", &zeros));
    assert_ne!(draw("2", &plain), draw("0", &plain));
    assert_ne!(draw("2", &other), draw("2", &zeros));
    // Away from the prompt itself is nowhere: what is left is rounding.
    let same = draw("3", &with_negative(&|n| values(n, 1)));
    assert!(relative_error(&same, &draw("0", &plain)) < 1e-5);
}

#[test]
fn an_idle_negative_prompt_is_warned_of_once() {
    let input = with_negative(&|n| values(n, 2)).repeat(3);
    let output = run(&["-m", &model()], &input);
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output);
    assert!(
        text.starts_with(
            "denoise: warning: the negative prompt has no effect with guidance scale 0;"
        ),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn the_header_is_out_before_the_body_is_in() {
    let input = prompts(&[("seed", "1")], &[1]);
    let header_len = 8 + u64::from_le_bytes(input[..8].try_into().unwrap()) as usize;
    let mut child = tool(&["-m", &model()]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut reader = FrameReader::new(child.stdout.take().unwrap(), Limits::default());
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
    assert!(child.wait().unwrap().success());
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
fn an_empty_stream_needs_no_model() {
    assert!(frames(&["-m", "/nonexistent/model"], b"").is_empty());
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
    let mut command = tool(&[]);
    command.env("TURBO_MODEL", model());
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
        edit(scheduler, "EulerAncestralDiscreteScheduler", "LCMScheduler"),
        "_class_name: \"LCMScheduler\" is not supported",
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
fn a_gone_reader_is_silent_and_a_full_device_is_not() {
    let mut child = tool(&["-m", &model()]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(&prompts(&[], &[1]));
    drop(stdin);
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), text.as_str()),
        (Some(141), "")
    );

    if Path::new("/dev/full").exists() {
        let mut command = Command::new(TOOL);
        command
            .args(["-m", &model()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
        let output = feed(command, &prompts(&[], &[1]));
        assert_fails(&output, 1, "No space left on device");
    }
}

#[test]
fn a_thousand_frames_take_no_more_memory_than_a_hundred() {
    let model = model();
    let args = ["-m", &model, "--progress", "json", "--threads", "1"];
    let mut child = tool(&args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let frame = prompts(&[("width", "32"), ("height", "32")], &[1]);
    let writer =
        std::thread::spawn(move || (0..1000).for_each(|_| stdin.write_all(&frame).unwrap()));
    let mut stdout = child.stdout.take().unwrap();
    let reader =
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
    let mut lines = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut lines)
        .unwrap();
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(child.wait().unwrap().success());
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
