//! Several samples that the network sees at once: each picture has the bytes that it has alone.

use pipeline_tests::{Stage, embeddings, pipe, progress, tool};
use std::io::Write;
use turbo_testkit::tiny;
use turbo_wire::{FrameReader, Limits};

/// Sizes at which the tiny checkpoint draws in milliseconds; at the second, positions do not fill whole vectors.
const SIZES: [&str; 2] = ["--width 64 --height 96", "--width 104 --height 72"];

fn denoise(flags: &str) -> Stage {
    tool("denoise", flags).model(&tiny())
}

#[track_caller]
fn expect_the_same(flags: &str, input: &[u8]) {
    let draw = |batch: &str| {
        let stage = denoise(&format!("{flags} --seed 5 {batch}"));
        pipe([stage]).input(input).run().ok().to_vec()
    };
    let alone = draw("");
    for batch in ["--batch 1", "--batch 2", "--batch 3", "--batch 100"] {
        assert!(draw(batch) == alone, "{flags} {batch}: other bytes");
    }
}

#[test]
fn pictures_and_rows_are_the_same_together() {
    let input = [
        embeddings(&[0], &[("id", "a")]),
        embeddings(&[1, 0], &[("images", "2")]),
        embeddings(&[1], &[("steps", "1"), ("width", "64"), ("height", "64")]),
    ]
    .concat();
    for size in SIZES {
        for flags in ["--images 3", "--images 3 --guidance-scale 2"] {
            expect_the_same(&format!("{size} --steps 2 {flags}"), &input);
        }
    }
    // Schedulers that draw noise at every step, and one that remembers steps.
    for scheduler in ["euler-ancestral", "lcm", "dpmpp-2m"] {
        let flags = format!("{} --steps 3 --images 2 --scheduler {scheduler}", SIZES[0]);
        expect_the_same(&flags, &input);
    }
}

#[test]
fn each_starts_from_its_own_picture() {
    let latents = |flags: &str| {
        let stage = denoise(&format!("{} --steps 1 {flags}", SIZES[0]));
        pipe([stage])
            .input(embeddings(&[0, 1], &[]))
            .run()
            .ok()
            .to_vec()
    };
    let folder = tempfile::tempdir().unwrap();
    let init = folder.path().join("init");
    std::fs::write(&init, latents("--seed 1")).unwrap();
    let flags = format!(
        "--init {} --steps 2 --strength 0.5 --images 2",
        init.display()
    );
    let rows = embeddings(&[0, 1], &[]);
    expect_the_same(&flags, &[&rows[..], &rows].concat());
}

/// Frames of one size and of others, with guidance and without, one by one and several of each.
fn many() -> Vec<u8> {
    let frames: [&[(&str, &str)]; 8] = [
        &[],
        &[("guidance_scale", "2")],
        &[("images", "3")],
        &[("width", "64"), ("height", "64")],
        &[("width", "64"), ("height", "64"), ("seed", "9")],
        &[("steps", "1")],
        &[("scheduler", "ddim")],
        &[("original_size", "100x200")],
    ];
    let mut input = Vec::new();
    for (i, pairs) in frames.iter().enumerate() {
        input.extend(embeddings(&[i % 2], pairs));
        input.extend(embeddings(&[1, 0], pairs));
    }
    input
}

#[test]
fn frames_that_wait_are_the_same_together() {
    expect_the_same(&format!("{} --steps 2", SIZES[0]), &many());
}

/// Those that were drawn together share their time, to the nanosecond.
#[test]
fn frames_that_wait_are_drawn_together() {
    let input = embeddings(&[0], &[]).repeat(9);
    let stage = denoise(&format!("{} --batch 4 --progress json", SIZES[0]));
    let ended = pipe([stage]).input(&input[..]).run();
    ended.ok();
    let times: Vec<_> = progress(&ended.stages[0].stderr)
        .iter()
        .map(|event| event["step_s"].clone())
        .collect();
    assert_eq!(times.len(), 9);
    assert!(
        times
            .windows(3)
            .any(|all| all[0] == all[1] && all[1] == all[2]),
        "{times:?}"
    );
}

#[test]
fn a_frame_is_answered_before_the_next_one_comes() {
    let stage = denoise(&format!("{} --batch 4", SIZES[0]));
    let mut running = pipe([stage]).held().start();
    let mut stdin = running.stdin.take().expect("held");
    let mut reader = FrameReader::new(running.stdout.take().expect("held"), Limits::default());
    for _ in 0..3 {
        stdin.write_all(&embeddings(&[0], &[])).expect("it reads");
        stdin.flush().expect("it reads");
        reader.next_frame().expect("a frame").expect("a frame");
    }
    drop(stdin);
    assert!(reader.next_frame().expect("the end").is_none());
    running.wait().ok();
}

#[test]
fn frames_before_a_cut_are_drawn() {
    let good = embeddings(&[0], &[]);
    let input = [&good[..], &good, &good[..good.len() - 1]].concat();
    let stage = denoise(&format!("{} --seed 5 --batch 4", SIZES[0]));
    let ended = pipe([stage]).input(input).run();
    ended.stages[0].expect(1, &["frame 2, byte "]);
    let mut reader = FrameReader::new(&ended.stdout[..], Limits::default());
    for _ in 0..2 {
        reader.next_frame().expect("whole").expect("whole");
    }
}

#[test]
fn an_error_in_one_frame_leaves_the_others() {
    let broken = embeddings(&[0], &[("steps", "none")]);
    let good = embeddings(&[1], &[]);
    let input = [&good[..], &broken, &good].concat();
    let draw = |flags: &str, input: &[u8]| {
        let stage = denoise(&format!("{} --images 2 --seed 5 {flags}", SIZES[0]));
        pipe([stage]).input(input).run()
    };
    let alone = draw("--on-error skip", &input);
    let together = draw("--on-error skip --batch 4", &input);
    assert_eq!(together.stages[0].status.code(), Some(1));
    assert!(together.stdout == alone.stdout && !alone.stdout.is_empty());
}

/// A trace has one picture after the other, whatever is asked for.
#[test]
fn a_trace_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let trace = |batch: &str| {
        let path = folder.path().join("trace");
        let flags = format!(
            "{} --seed 5 --steps 2 --images 3 {batch} --trace {}",
            SIZES[0],
            path.display()
        );
        pipe([denoise(&flags)])
            .input(embeddings(&[0], &[]))
            .run()
            .ok();
        std::fs::read(path).unwrap()
    };
    assert!(trace("") == trace("--batch 3"));
}

#[test]
fn a_batch_of_none_is_refused() {
    let ended = pipe([denoise("--batch 0")])
        .input(embeddings(&[0], &[]))
        .run();
    assert_eq!(ended.stages[0].status.code(), Some(2));
    let text = &ended.stages[0].stderr;
    assert!(
        text.contains("--batch") && text.contains("whole number from 1"),
        "{text}"
    );
}
