//! Ends of pipes, exit statuses, `--on-error`, flags.

use pipeline_tests::{TOOLS, bytes, embeddings, frames, metadata, pipe, reading_tool, tool};
use std::path::Path;
use turbo_testkit::manners::{self, Worker};
use turbo_testkit::{shared_dir, tiny};
use turbo_wire::{Header, f32_bytes, names};

/// The tools that read stdin, each with a model where it takes one, and an item that it reads.
fn readers(model: &Path) -> Vec<Worker> {
    let latents = Header::latents(1, 8, 8, metadata(&[])).expect("a header");
    let latents = bytes(latents, &[(names::LATENTS, &f32_bytes(&[0.5; 256]))]);
    let image = Header::image(1, 8, 8, metadata(&[])).expect("a header");
    let image = bytes(image, &[(names::IMAGE, &[7; 192])]);
    let encode_image = tool("encode-image", "--raw 16x8 -").model(model);
    let denoise = tool("denoise", "--width 64 --height 64 --seed 1").model(model);
    vec![
        Worker::new(encode_image, [7; 16 * 8 * 3]),
        Worker::new(denoise, embeddings(&[0], &[])),
        Worker::new(tool("decode-latents", "").model(model), latents),
        Worker::new(tool("to-png", ""), image.clone()),
        Worker::new(tool("peek", "--quiet"), image).shows(),
    ]
}

/// All tools at work: the readers, and `encode-text` where there is a vocabulary.
fn workers(model: &Path) -> Vec<Worker> {
    let mut all = readers(model);
    if shared_dir().is_some() {
        let stage = tool("encode-text", "").model(model);
        all.push(Worker::new(stage, "a red fox\n").is_typed());
    }
    all
}

#[test]
fn a_gone_reader_ends_a_tool_silently() {
    workers(&tiny()).iter().for_each(manners::gone_reader);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error() {
    workers(&tiny()).iter().for_each(manners::full_device);
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_is_no_place_for_data() {
    workers(&tiny()).iter().for_each(manners::terminal);
}

#[cfg(unix)]
#[test]
fn a_closed_stdout_is_an_error() {
    readers(&tiny()).iter().for_each(manners::closed_stdout);
}

#[test]
fn no_input_is_the_normal_end_and_opens_no_model() {
    for name in TOOLS {
        let stage = reading_tool(name);
        let takes_a_model = !["to-png", "peek"].contains(&name);
        manners::no_input(&if takes_a_model {
            stage.model(Path::new("/no/such/model"))
        } else {
            stage
        });
    }
    assert!(pipe(TOOLS.map(reading_tool)).run().ok().is_empty());
}

/// The same in the middle of a pipe, where the tools before are at work.
#[test]
fn a_pipe_whose_end_goes_away_ends() {
    let model = tiny();
    let stages = [
        tool("denoise", "--width 64 --height 64").model(&model),
        tool("decode-latents", ""),
    ];
    let mut running = pipe(stages).held().start();
    let mut stdin = running.stdin.take().expect("held");
    drop(running.stdout.take());
    let input = embeddings(&[0], &[]);
    // Until denoise hangs up, which it does once decode-latents has.
    while std::io::Write::write_all(&mut stdin, &input).is_ok() {}
    let ended = running.wait();
    for stage in &ended.stages {
        stage.expect(141, &[]);
    }
}

#[test]
fn wrong_flags_are_usage_errors() {
    let cases: [(&str, &str, &[&str]); 14] = [
        ("denoise", "--nonsense", &["--nonsense"]),
        ("denoise", "--steps 0", &["steps", "whole number from 1"]),
        ("denoise", "--steps two", &["--steps", "two"]),
        ("denoise", "--seed -1", &["-1"]),
        ("denoise", "--seed 18446744073709551616", &["--seed"]),
        (
            "denoise",
            "--width 100",
            &["--width", "multiple of 8", "96", "104"],
        ),
        (
            "denoise",
            "--height 513",
            &["--height", "multiple of 8", "512", "520"],
        ),
        ("denoise", "--guidance-scale nan", &["guidance", "finite"]),
        (
            "denoise",
            "--original-size 512",
            &["--original-size", "512x512"],
        ),
        (
            "denoise",
            "--threads 0",
            &["--threads", "whole number from 1"],
        ),
        ("decode-latents", "--dtype f64", &["--dtype", "bf16"]),
        ("encode-text", "--device gpu x", &["--device", "cpu"]),
        ("encode-text", "--clip-skip minus x", &["--clip-skip"]),
        ("to-png", "-o %s.png", &["%s"]),
    ];
    for (name, flags, texts) in cases {
        let ended = pipe([tool(name, flags)]).input(embeddings(&[0], &[])).run();
        let end = &ended.stages[0];
        assert_eq!(end.status.code(), Some(2), "{name} {flags}: {}", end.stderr);
        assert!(
            end.stderr.starts_with(&format!("{name}: ")),
            "{}",
            end.stderr
        );
        for text in texts {
            assert!(
                end.stderr.contains(text),
                "{name} {flags}: expected {text:?} in: {}",
                end.stderr
            );
        }
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn more_threads_than_anybody_has_cores_are_not_started() {
    let model = tiny();
    let flag = tool("encode-text", "--threads 1000000 x");
    let variable = tool("encode-text", "x").env("RAYON_NUM_THREADS", "1000000");
    for (said, stage) in [
        ("--threads 1000000", flag),
        ("RAYON_NUM_THREADS=1000000", variable),
    ] {
        let ended = pipe([stage.model(&model)]).run();
        let text = &ended.stages[0].stderr;
        assert!(
            text.contains(&format!("{said}: expected about as many as cores")),
            "{text}"
        );
        ended.ok();
    }
    for no_number in ["0", "two"] {
        let stage = tool("encode-text", "x").env("RAYON_NUM_THREADS", no_number);
        pipe([stage.model(&model)]).run().ok();
    }
}

#[test]
fn a_device_that_is_not_built_in_says_how_to_build_it() {
    let model = tiny();
    for name in ["encode-text", "denoise", "decode-latents"] {
        for device in ["cuda", "cuda:1", "metal"] {
            let feature = device.split(':').next().expect("never empty");
            let stage = tool(name, &format!("--device {device}")).model(&model);
            let build = format!("cargo build --release -p {name} --features {feature}");
            pipe([stage])
                .input(embeddings(&[0], &[]))
                .run()
                .expect(1, &[device, &build]);
        }
    }
}

#[test]
fn help_and_version_are_data() {
    for name in TOOLS {
        for flag in ["-h", "--help", "--version"] {
            let ended = pipe([tool(name, flag)]).run();
            let text = String::from_utf8(ended.expect(0, &[]).to_vec()).expect("UTF-8");
            assert!(text.contains(name), "{name} {flag}: {text}");
        }
    }
}

#[test]
fn a_skipped_frame_is_reported_and_leaves_nothing_behind() {
    let model = tiny();
    let stage =
        |flags: &str| tool("denoise", &format!("--width 64 --height 64 {flags}")).model(&model);
    let good = embeddings(&[0], &[]);
    // A setting that cannot be, known by the header; and a value that is none, known by the body.
    let early = embeddings(&[0], &[("width", "100")]);
    let mut late = embeddings(&[1], &[]);
    let end = late.len() - 4;
    late[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    let stream = [&good[..], &early, &good, &late, &good].concat();

    let alone = |seed: usize| {
        pipe([stage(&format!("--seed {seed}"))])
            .input(&good[..])
            .run()
            .ok()
            .to_vec()
    };
    let ended = pipe([stage("--seed 10 --on-error skip")])
        .input(&stream[..])
        .run();
    let end = &ended.stages[0];
    assert_eq!(end.status.code(), Some(1), "{}", end.stderr);
    let lines: Vec<&str> = end.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", end.stderr);
    assert!(
        lines[0].starts_with("denoise: frame 1: ") && lines[0].contains("96 or 104"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("denoise: frame 3: ") && lines[1].contains("NaN"),
        "{}",
        lines[1]
    );
    assert!(
        ended.stdout == [10, 12, 14].map(alone).concat(),
        "skipped frames changed the others"
    );

    let ended = pipe([stage("--seed 10")]).input(stream).run();
    assert!(
        ended.expect(1, &["frame 1: ", "96 or 104"]) == alone(10),
        "the first frame is whole"
    );
}

#[test]
fn a_negative_prompt_without_guidance_warns() {
    if shared_dir().is_none() {
        return;
    }
    let model = tiny();
    let text = pipe([tool("encode-text", "--negative-prompt blurry fox dog").model(&model)]).run();
    assert_eq!(frames(text.ok()).len(), 2);
    let run = |flags: &str| {
        let stage = tool(
            "denoise",
            &format!("--width 64 --height 64 --seed 1 {flags}"),
        )
        .model(&model);
        let ended = pipe([stage]).input(text.ok()).run();
        ended.ok();
        ended.stages[0].stderr.clone()
    };
    let warning = run("");
    assert!(
        warning.starts_with("denoise: warning: ") && warning.contains("--guidance-scale"),
        "{warning}"
    );
    assert_eq!(
        warning.lines().count(),
        1,
        "said once, not for each frame: {warning}"
    );
    assert_eq!(run("--guidance-scale 2"), "");
    assert_eq!(run("--quiet"), "");
}

#[test]
fn a_prompt_that_is_cut_warns() {
    if shared_dir().is_none() {
        return;
    }
    let long = "fox ".repeat(80);
    let ended = pipe([tool("encode-text", "").model(&tiny()).arg(long)]).run();
    let stderr = &ended.stages[0].stderr;
    assert!(ended.stages[0].status.success(), "{stderr}");
    assert!(
        stderr.starts_with("encode-text: warning: ") && stderr.contains("75 tokens"),
        "{stderr}"
    );
    assert!(
        stderr.contains("fox fox fox fox fox"),
        "what is cut off is told: {stderr}"
    );
}
