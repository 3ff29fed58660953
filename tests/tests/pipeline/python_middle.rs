//! The programs in examples/python, in the middle of a pipe.

use pipeline_tests::{Stage, embeddings, frames, pictures, pipe, python, tool};
use std::path::Path;
use turbo_testkit::{relative_error, taesdxl, tiny};
use turbo_wire::{Kind, names};

fn example(python: &str, name: &str) -> Stage {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python");
    Stage::program(name, python)
        .arg(folder.join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// Two prompts, of which the second has settings of its own.
fn prompts() -> Vec<u8> {
    let own = [
        ("id", "dusk"),
        ("seed", "8"),
        ("steps", "2"),
        ("width", "64"),
        ("height", "96"),
        ("my.key", "\u{72d0}"),
    ];
    [
        embeddings(&[0], &[("width", "128"), ("height", "128")]),
        embeddings(&[1], &own),
    ]
    .concat()
}

/// The sun over the sea, seen by a preview that knows nothing of how it was made.
#[test]
fn a_toy_takes_the_place_of_denoise() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let preview = format!("--preview={}", folder.path().join("%d.png").display());
    let stages = [
        example(&python, "toy_denoise.py"),
        tool("peek", "--quiet").arg(preview),
        tool("decode-latents", "").model(&tiny()),
        tool("to-png", ""),
    ];
    let found = pipe(stages).input(prompts()).run();
    let found = pictures(found.ok());
    let sizes: Vec<_> = found
        .iter()
        .map(|picture| (picture.width, picture.height))
        .collect();
    assert_eq!(sizes, [(128, 128), (64, 96)]);
    let text: serde_json::Value = serde_json::from_str(&found[1].text["sdxl-turbo"]).expect("JSON");
    for (key, value) in [
        ("id", "dusk"),
        ("seed", "8"),
        ("steps", "2"),
        ("my.key", "\u{72d0}"),
    ] {
        assert_eq!(text[key], value);
    }

    let preview = |name: &str| {
        pictures(&std::fs::read(folder.path().join(name)).expect("is there")).remove(0)
    };
    let (noon, dusk) = (preview("1.png"), preview("2.png"));
    assert_eq!(
        [(noon.width, noon.height), (dusk.width, dusk.height)],
        [(16, 16), (8, 12)]
    );
    for picture in [&noon, &dusk] {
        let (width, height) = (picture.width, picture.height);
        let row = |y: usize| picture.pixels[y * width * 3..][..width * 3].chunks(3);
        let is_sun = |pixel: &[u8]| pixel[0] > 200 && pixel[1] > 150 && pixel[2] < 160;
        let is_sea = |pixel: &[u8]| pixel[2] > pixel[0] && pixel[0] < 60;
        assert!(row(height * 3 / 10).any(is_sun), "no sun");
        assert!(!row(0).any(is_sun) && !row(height - 1).any(is_sun));
        assert!(row(height - 1).all(is_sea), "no sea: {:?}", &picture.pixels);
        let light = |y: usize| -> u64 { row(y).flatten().map(|&value| u64::from(value)).sum() };
        assert!(light(0) > light(height - 1), "the sky is lighter");
    }
}

#[test]
fn the_module_refuses_what_is_no_stream() {
    let Some(python) = python() else { return };
    let stream = prompts();
    let toy = || example(&python, "toy_denoise.py");
    let first = frames(&stream)[0].header.encoded().len();
    for (end, text) in [
        (3, "frame 0: expected the length"),
        (first + 100, "frame 0: expected"),
        (stream.len() - 1, "frame 1: expected"),
    ] {
        let ended = pipe([toy()]).input(&stream[..end]).run();
        let stage = &ended.stages[0];
        assert_eq!(stage.status.code(), Some(1), "{}", stage.stderr);
        assert!(
            stage.stderr.contains(text) && stage.stderr.lines().count() == 1,
            "{}",
            stage.stderr
        );
        assert_eq!(
            frames(&ended.stdout).len(),
            usize::from(text.contains("frame 1")),
            "whole frames are out"
        );
    }
    let ended = pipe([toy()]).input("a red fox\n").run();
    assert_eq!(ended.stages[0].status.code(), Some(1));
    assert!(pipe([toy()]).input("").run().ok().is_empty());
}

/// Whether diffusers is at hand; says on stderr where it is not.
fn has_diffusers(python: &str) -> bool {
    let probe = Stage::program("python", python)
        .arg("-c")
        .arg("import torch, transformers, diffusers");
    let probe = pipe([probe]).run();
    let ended = &probe.stages[0];
    if !ended.status.success() {
        let reason = ended.stderr.trim().lines().last().unwrap_or_default();
        eprintln!("skipped: {python}: {reason}");
    }
    ended.status.success()
}

/// diffusers gets our frames and a seed, and its latents are ours.
#[track_caller]
fn diffusers_gives_our_latents(python: &str, model: &Path, input: &[u8], count: usize) {
    let theirs = pipe([example(python, "diffusers_denoise.py").arg(model).arg("3")])
        .input(input)
        .limit(600)
        .run();
    let ours = pipe([tool("denoise", "--dtype f32 --seed 3").model(model)])
        .input(input)
        .run();
    let (theirs, ours) = (frames(theirs.ok()), frames(ours.ok()));
    assert_eq!([theirs.len(), ours.len()], [count, count]);
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs.header.kind(), Kind::Latents);
        for key in ["seed", "steps", "width", "height"] {
            assert_eq!(theirs.header.get(key), ours.header.get(key), "{key}");
        }
        let [theirs, ours] = [theirs, ours].map(|frame| frame.to_f32(names::LATENTS).expect("f32"));
        let e = relative_error(&ours, &theirs);
        println!("e = {e:.1e}");
        assert!(e < 1e-4, "e = {e}");
    }
}

#[test]
fn diffusers_takes_the_place_of_denoise() {
    let Some(python) = python().filter(|python| has_diffusers(python)) else {
        return;
    };
    let settings = [
        ("seed", "5"),
        ("steps", "2"),
        ("width", "64"),
        ("height", "96"),
    ];
    let input = [
        embeddings(&[0], &[("width", "128"), ("height", "128")]),
        embeddings(&[1], &settings),
    ];
    diffusers_gives_our_latents(&python, &tiny(), &input.concat(), 2);
}

/// Pictures to start from, under masks too, of both autoencoders.
#[test]
fn diffusers_starts_from_the_pictures_of_frames() {
    let Some(python) = python().filter(|python| has_diffusers(python)) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, header: &str, pixels: Vec<u8>| {
        let path = folder.path().join(name);
        std::fs::write(&path, [header.as_bytes(), &pixels].concat()).expect("written");
        path
    };
    let pixels = (0..96 * 64 * 3).map(|i| (i * 7 % 256) as u8).collect();
    let picture = write("picture.ppm", "P6 96 64 255\n", pixels);
    let right_half = (0..96 * 64).map(|i| if i % 96 < 48 { 0 } else { 255 });
    let mask = write("mask.pgm", "P5 96 64 255\n", right_half.collect());
    // Defaults, and settings of the frame's own.
    let own = [("seed", "9"), ("steps", "4"), ("strength", "0.75")];
    let prompts = [embeddings(&[0], &[]), embeddings(&[1], &own)].concat();
    for vae in [None, Some(taesdxl())] {
        for masked in [false, true] {
            let mut stage = tool("encode-image", "--dtype f32 --join -").model(&tiny());
            if let Some(vae) = &vae {
                stage = stage.arg("--vae").arg(vae);
            }
            if masked {
                stage = stage.arg("--mask").arg(&mask);
            }
            let input = pipe([stage.arg(&picture)]).input(&prompts[..]).run();
            diffusers_gives_our_latents(&python, &tiny(), input.ok(), 2);
        }
    }
}
