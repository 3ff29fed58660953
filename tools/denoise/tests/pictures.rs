//! What is drawn, on the tiny checkpoint: numbers, seeds, sizes, guidance.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use support::{
    assert_fails, frame, frames, latents, model, prompts, read, run, stderr, values, widths,
};
use turbo_testkit::{golden, relative_error, tiny};
use turbo_wire::{Frame, Kind};

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
        "'515' for '--width <W>': expected a multiple of 8 from 8 to 16384, found 515; give 512 or 520",
    );
    let output = run(&["-m", &model()], &prompts(&[("height", "100")], &[1]));
    assert_fails(
        &output,
        1,
        "denoise: frame 0: metadata: height: expected a multiple of 8 from 8 to 16384, found \"100\"; give 96 or 104",
    );
    assert!(output.stdout.is_empty());
    let output = run(
        &["-m", &model()],
        &prompts(&[("width", "4294967288")], &[1]),
    );
    assert_fails(
        &output,
        1,
        "width: expected a multiple of 8 from 8 to 16384",
    );
    assert_fails(
        &run(&["-m", &model(), "--steps", "1001"], &prompts(&[], &[1])),
        1,
        "expected 1 to 1000 steps, found 1001",
    );
    assert_fails(
        &run(&["--steps", "0"], b""),
        2,
        "'--steps <N>': expected a whole number from 1, found 0",
    );
    assert_fails(
        &run(&["--guidance-scale", "nan"], b""),
        2,
        "'nan' for '--guidance-scale <G>': expected a finite number, found nan",
    );
    assert_fails(
        &run(&["--target-size", "512"], b""),
        2,
        "expected two whole numbers with an x between",
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
