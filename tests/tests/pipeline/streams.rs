//! Streams of many frames: what comes out does not depend on what else flows.

use pipeline_tests::{
    Ended, Stage, embeddings, frame, frames, metadata, pictures, pipe, progress, tool,
};
use std::fs;
use std::io::Write;
use std::path::Path;
use turbo_testkit::{shared_dir, tiny};
use turbo_wire::{FrameReader, Kind, Limits, names};

/// A size at which the tiny checkpoint draws in milliseconds.
const SMALL: &str = "--width 64 --height 64";

fn denoise(model: &Path, flags: &str) -> Stage {
    tool("denoise", &format!("{SMALL} {flags}")).model(model)
}

/// The whole pipe behind `encode-text`, to image frames.
fn draw(model: &Path, flags: &str, input: &[u8]) -> Ended {
    let stages = [
        denoise(model, flags),
        tool("decode-latents", "").model(model),
    ];
    pipe(stages).input(input).run()
}

#[test]
fn a_stream_is_its_single_runs() {
    let model = tiny();
    let texts = [0, 1, 5, 0];
    let single = |text: usize, seed: usize| {
        draw(
            &model,
            &format!("--steps 2 --seed {seed}"),
            &embeddings(&[text], &[]),
        )
        .ok()
        .to_vec()
    };
    let stream: Vec<u8> = texts
        .iter()
        .flat_map(|&text| embeddings(&[text], &[]))
        .collect();
    let all = draw(&model, "--steps 2 --seed 7", &stream);
    let expected: Vec<Vec<u8>> = texts
        .iter()
        .enumerate()
        .map(|(k, &text)| single(text, 7 + k))
        .collect();
    assert_eq!(frames(all.ok()).len(), 4);
    assert!(
        all.ok() == expected.concat(),
        "the stream differs from its single runs"
    );
    assert!(expected[0] != expected[3], "the seed counts");

    // A frame's own seed, at another place of another stream.
    let own = [(5, "9"), (0, "7"), (1, "8"), (0, "10")];
    let stream: Vec<u8> = own
        .iter()
        .flat_map(|&(text, seed)| embeddings(&[text], &[("seed", seed)]))
        .collect();
    let moved = draw(&model, "--steps 2 --seed 1000", &stream);
    let expected: Vec<u8> = [2, 0, 1, 3]
        .iter()
        .flat_map(|&k| expected[k].clone())
        .collect();
    assert!(
        moved.ok() == expected,
        "a frame's place changes its picture"
    );
}

#[test]
fn prompts_of_one_run_are_those_of_many() {
    if shared_dir().is_none() {
        return;
    }
    let model = tiny();
    let prompts = ["a red fox", "wow! 3 cats", "", "日本語の看板"];
    let encode = || {
        tool("encode-text", "")
            .model(&model)
            .arg("--negative-prompt")
            .arg("blurry")
            .arg("--")
    };
    let single = |prompt: &str| pipe([encode().arg(prompt)]).run().ok().to_vec();
    let together = pipe([prompts.iter().fold(encode(), Stage::arg)]).run();
    assert!(
        together.ok() == prompts.map(single).concat(),
        "arguments: one run and many differ"
    );
    // Blank lines do not count.
    let lines = pipe([encode()])
        .input("a red fox\n\nwow! 3 cats\n日本語の看板")
        .run();
    assert!(
        lines.ok() == [0, 1, 3].map(|k| single(prompts[k])).concat(),
        "lines: one run and many differ"
    );
}

#[test]
fn cached_files_are_streams() {
    let model = tiny();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let both = [embeddings(&[0], &[]), embeddings(&[1], &[])];
    fs::write(path("a"), &both[0]).expect("written");
    fs::write(path("b"), &both[1]).expect("written");
    let expected = pipe([denoise(&model, "--seed 3")])
        .input(both.concat())
        .run();
    // cat a b | denoise; denoise a b; denoise a - < b; denoise -o FILE.
    let files = pipe([denoise(&model, "--seed 3").arg(path("a")).arg(path("b"))]).run();
    assert!(files.ok() == expected.ok());
    let dash = pipe([denoise(&model, "--seed 3").arg(path("a")).arg("-")])
        .input(&both[1][..])
        .run();
    assert!(dash.ok() == expected.ok());
    let out = pipe([denoise(&model, "--seed 3").arg("-o").arg(path("c"))])
        .input(both.concat())
        .run();
    assert!(out.ok().is_empty());
    assert!(fs::read(path("c")).expect("is there") == expected.ok());

    if shared_dir().is_none() {
        return;
    }
    // encode-text > file; denoise < file.
    let prompts = tool("encode-text", "")
        .model(&model)
        .arg("a red fox")
        .arg("a lighthouse");
    let direct = pipe([prompts.clone(), denoise(&model, "--seed 3")]).run();
    let file = fs::File::create(path("d")).expect("a file");
    pipe([prompts]).output(file).run().ok();
    let cached = pipe([denoise(&model, "--seed 3")])
        .input(fs::read(path("d")).expect("is there"))
        .run();
    assert!(cached.ok() == direct.ok());
}

#[test]
fn threads_do_not_change_a_bit() {
    let model = tiny();
    for dtype in ["f32", "auto"] {
        // 96 x 56 splits unevenly among threads.
        let flags = |threads: usize| format!("--dtype {dtype} --threads {threads}");
        let run = |threads| {
            let flags = flags(threads);
            let denoise = tool(
                "denoise",
                &format!("--width 96 --height 56 --steps 2 --seed 1 {flags}"),
            )
            .model(&model);
            let stages = [denoise, tool("decode-latents", &flags).model(&model)];
            pipe(stages)
                .input(embeddings(&[0, 1], &[]))
                .run()
                .ok()
                .to_vec()
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(
                run(threads) == one,
                "--dtype {dtype}: {threads} threads differ from one"
            );
        }
        if shared_dir().is_some() {
            let text = |threads| {
                pipe([tool("encode-text", &flags(threads))
                    .model(&model)
                    .arg("a red fox")])
                .run()
            };
            assert!(
                text(2).ok() == text(1).ok(),
                "--dtype {dtype}: 2 threads differ from one in encode-text"
            );
        }
    }
}

#[test]
fn rows_of_a_batch_are_single_runs() {
    let model = tiny();
    for flags in [
        "--steps 2 --seed 18446744073709551615",
        "--steps 2 --seed 5 --guidance-scale 2",
    ] {
        let seed = if flags.contains("615") {
            [u64::MAX, 0]
        } else {
            [5, 6]
        };
        let batch = draw(&model, flags, &embeddings(&[0, 1], &[("id", "x")]));
        let mut rows: Vec<u8> = Vec::new();
        for (text, seed) in [0, 1].into_iter().zip(seed) {
            let input = embeddings(&[text], &[("seed", &seed.to_string())]);
            rows.extend(frame(draw(&model, flags, &input).ok(), Kind::Image).body());
        }
        let bodies: Vec<u8> = frames(batch.ok())
            .iter()
            .flat_map(|frame| frame.body().to_vec())
            .collect();
        assert!(bodies == rows, "{flags}: rows differ from single runs");
        // to-png counts on from the frame's seed too.
        let png = pipe([tool("to-png", "")]).input(batch.ok()).run();
        let pictures = pictures(png.ok());
        for (picture, seed) in pictures.iter().zip(seed) {
            let parameters = &picture.text["parameters"];
            assert!(
                parameters.contains(&format!("Seed: {seed},")),
                "{parameters}"
            );
        }
        assert_eq!(pictures.len(), 2);
    }
}

/// The header of each stage goes out before the body before it has come in: here, when nothing but the first
/// header has been written.
#[test]
fn a_header_is_sent_before_its_body() {
    let model = tiny();
    let bytes = embeddings(&[0], &[("seed", "1"), ("x.own", "kept")]);
    let stages = [
        denoise(&model, ""),
        tool("decode-latents", ""),
        tool("peek", "--quiet"),
    ];
    let mut running = pipe(stages).held().start();
    let mut stdin = running.stdin.take().expect("held");
    let stdout = running.stdout.take().expect("held");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a frame")) as usize + 8;
    stdin.write_all(&bytes[..length]).expect("denoise reads");
    stdin.flush().expect("denoise reads");
    let mut reader = FrameReader::new(stdout, Limits::default()).expect(Kind::Image);
    let header = reader.next_header().expect("a header").expect("a frame");
    assert_eq!(
        header.tensor(names::IMAGE).expect("is there").shape,
        [1, 64, 64, 3]
    );
    assert_eq!(header.get("x.own"), Some("kept"));
    stdin.write_all(&bytes[length..]).expect("denoise reads");
    drop(stdin);
    assert_eq!(
        reader.read_body().expect("a body").body().len(),
        64 * 64 * 3
    );
    assert!(reader.next_header().expect("the end").is_none());
    running.wait().ok();
}

/// A frame is passed on as soon as it is done, whether or not another comes.
#[test]
fn a_picture_comes_out_before_the_next_prompt_goes_in() {
    let model = tiny();
    let stages = [denoise(&model, "--seed 1"), tool("decode-latents", "")];
    let mut running = pipe(stages).held().start();
    let mut stdin = running.stdin.take().expect("held");
    let mut reader = FrameReader::new(running.stdout.take().expect("held"), Limits::default());
    for text in 0..3 {
        stdin
            .write_all(&embeddings(&[text], &[]))
            .expect("denoise reads");
        stdin.flush().expect("denoise reads");
        let frame = reader.next_frame().expect("a frame").expect("a frame");
        assert_eq!(frame.header.get("seed"), Some(&(1 + text).to_string()[..]));
    }
    drop(stdin);
    running.wait().ok();
}

/// What the tools do not know travels on, into the PNG.
#[test]
fn metadata_reaches_the_png() {
    let model = tiny();
    let own = [
        ("mytool.mood", "wild\n\"狐\" \u{1b}[31m"),
        ("prompt", "a fox"),
        ("id", "f1"),
        ("seed", "42"),
    ];
    let image = draw(
        &model,
        "--steps 2 --original-size 1024x768",
        &embeddings(&[0], &own),
    );
    let png = pipe([tool("to-png", "")]).input(image.ok()).run();
    let picture = &pictures(png.ok())[0];
    let all: turbo_wire::Metadata =
        serde_json::from_str(&picture.text["sdxl-turbo"]).expect("a JSON object");
    let rest = [
        ("steps", "2"),
        ("width", "64"),
        ("height", "64"),
        ("original_size", "1024x768"),
    ];
    for (key, value) in metadata(&own).into_iter().chain(metadata(&rest)) {
        assert_eq!(all.get(&key), Some(&value), "{key}");
    }
    // The next tool is told where the checkpoint lies; whoever gets the picture is told its name.
    let path = model.to_str().expect("UTF-8");
    let frame = frame(image.ok(), Kind::Image);
    assert_eq!(frame.header.get("model"), Some(path));
    assert_eq!(Some(all["model"].as_ref()), model.file_name());
    assert!(!picture.text.values().any(|text| text.contains(path)));
    assert!(
        picture.text["parameters"].starts_with("a fox\nSteps: 2, Sampler: Euler a, "),
        "{:?}",
        picture.text
    );

    let bare = pipe([tool("to-png", "--no-metadata")])
        .input(image.ok())
        .run();
    let bare = &pictures(bare.ok())[0];
    assert!(bare.text.is_empty() && bare.pixels == picture.pixels);
}

/// A thousand frames: memory at the end is what it was after fifty, give or take what an allocator keeps.
#[test]
fn a_thousand_frames_take_no_more_memory_than_fifty() {
    const SLACK: u64 = 8 << 20;
    let model = tiny();
    let stages = [
        denoise(&model, "--seed 1 --progress json"),
        tool("decode-latents", "--progress json"),
    ];
    let ended = pipe(stages)
        .repeated_input(embeddings(&[0], &[]), 1000)
        .limit(900)
        .run();
    let out = ended.ok();
    assert_eq!(frames(out).len(), 1000);
    for stage in &ended.stages {
        let lines = progress(&stage.stderr);
        assert_eq!(lines.len(), 1000);
        let numbers: Vec<u64> = lines
            .iter()
            .filter_map(|line| line["frame"].as_u64())
            .collect();
        assert!(
            numbers.iter().copied().eq(0..1000),
            "frames are counted from 0"
        );
        assert!(
            lines[0]["open_s"].as_f64() > Some(0.0)
                && lines[1..].iter().all(|l| l["open_s"] == 0.0),
            "one load"
        );
        let Some(early) = lines[50]["max_rss_bytes"].as_u64() else {
            eprintln!("skipped: this system does not tell a process's memory");
            return;
        };
        let late = lines[999]["max_rss_bytes"].as_u64().expect("as before");
        println!(
            "{}: {} KiB after 50 frames, {} KiB after 1000",
            stage.name,
            early >> 10,
            late >> 10
        );
        assert!(
            late <= early + SLACK,
            "{}: {early} bytes after 50 frames, {late} after 1000",
            stage.name
        );
    }
}
