//! The pipe against diffusers, on the tiny checkpoint, in f32.

use pipeline_tests::{Stage, embeddings, frame, pictures, pipe, share_off_by_more_than_one, tool};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use turbo_testkit::{Tensor, golden, golden_cases, relative_error, shared_dir, tiny, tiny_single};
use turbo_wire::{Kind, names};

/// Bound on whole runs, as relative error of the latents.
pub(crate) const LATENTS: f64 = 1e-3;
/// Bound on the share of pixels that are off by more than one.
const PIXELS: f64 = 1e-3;
/// Bound on the text encoders.
pub(crate) const TEXT: f64 = 1e-4;

/// A text-to-image run that diffusers made.
pub(crate) struct Case {
    pub(crate) index: usize,
    value: Value,
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let cases = &golden_cases("tiny")["cases"]["image"];
    let cases = cases
        .as_array()
        .expect("a list")
        .iter()
        .cloned()
        .enumerate();
    // Other kinds start from a picture.
    cases
        .filter(|(_, value)| value.get("kind").is_none())
        .map(|(index, value)| Case { index, value })
        .collect()
}

impl Case {
    fn prompt(&self) -> &str {
        self.value["prompt"].as_str().expect("a prompt")
    }

    pub(crate) fn encode_text(&self, model: &Path, flags: &str) -> Stage {
        let mut stage = tool("encode-text", flags).model(model);
        if let Some(negative) = self.value.get("negative_prompt") {
            stage = stage
                .arg("--negative-prompt")
                .arg(negative.as_str().expect("text"));
        }
        stage.arg("--").arg(self.prompt())
    }

    pub(crate) fn denoise(&self, flags: &str) -> Stage {
        let flag = |stage: Stage, (name, key): (&str, &str)| match self.value.get(key) {
            None => stage,
            // Sizes are (height, width) and corners (top, left), as in the flags.
            Some(Value::Array(pair)) => stage.arg(name).arg(format!("{}x{}", pair[0], pair[1])),
            Some(number) => stage.arg(name).arg(number.to_string()),
        };
        [
            ("--steps", "num_inference_steps"),
            ("--seed", "seed"),
            ("--width", "width"),
            ("--height", "height"),
            ("--guidance-scale", "guidance_scale"),
            ("--original-size", "original_size"),
            ("--target-size", "target_size"),
            ("--crops-top-left", "crops_coords_top_left"),
        ]
        .into_iter()
        .fold(tool("denoise", flags), flag)
    }
}

/// Asserts that latents and pictures are diffusers', and prints how far off they are.
#[track_caller]
pub(crate) fn compare(what: &str, latents: &[u8], png: &[u8], expected: [&Tensor; 2]) {
    let latents = frame(latents, Kind::Latents);
    let latents = latents.to_f32(names::LATENTS).expect("latents");
    let e = relative_error(&latents, &expected[0].f32());

    let picture = &pictures(png)[0];
    let [.., height, width, _] = expected[1].shape[..] else {
        panic!("pixels have height, width and channels")
    };
    assert_eq!((picture.height, picture.width), (height, width), "{what}");
    let expected = expected[1].u8();
    let share = share_off_by_more_than_one(&picture.pixels, &expected);
    let worst = picture
        .pixels
        .iter()
        .zip(&expected)
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    println!(
        "{what}: latents e = {e:.1e}; pixels: worst {} of 255, {share:.5} off by more than 1",
        worst.unwrap_or(0)
    );
    assert!(e <= LATENTS, "{what}: latents: e = {e}");
    assert!(
        share <= PIXELS,
        "{what}: share of pixels off by more than 1: {share}"
    );
}

/// Asserts that embeddings, latents and picture of a run in f32 are those that diffusers kept under `at`.
#[track_caller]
pub(crate) fn run_is_diffusers(
    at: &str,
    encode_text: Stage,
    denoise: Stage,
    golden: &HashMap<String, Tensor>,
) {
    let text = pipe([encode_text.clone()]).run();
    let embeddings = frame(text.ok(), Kind::TextEmbeddings);
    for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
        let e = relative_error(
            &embeddings.to_f32(name).expect("f32"),
            &golden[&format!("{at}/{name}")].f32(),
        );
        println!("{at}: {name} e = {e:.1e}");
        assert!(e <= TEXT, "{at}: {name}: e = {e}");
    }
    let latents = pipe([encode_text.clone(), denoise.clone()]).run();
    let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
    let png = pipe([encode_text, denoise].into_iter().chain(rest)).run();
    let expected = ["latents", "pixels"].map(|name| &golden[&format!("{at}/{name}")]);
    compare(at, latents.ok(), png.ok(), expected);
}

fn expected(golden: &HashMap<String, Tensor>, index: usize) -> [&Tensor; 2] {
    ["latents", "pixels"].map(|name| &golden[&format!("image/{index}/{name}")])
}

/// Guidance, negative prompts, sizes, odd sides, seeds beyond 32 bits, size conditions.
#[test]
fn whole_runs_are_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let (model, golden, cases) = (tiny(), golden("tiny"), cases());
    assert_eq!(cases.len(), 8);
    for case in cases {
        let made = [
            case.encode_text(&model, "--dtype f32"),
            case.denoise("--dtype f32"),
        ];
        let latents = pipe(made.clone()).run();
        let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
        let png = pipe(made.into_iter().chain(rest)).run();
        compare(
            &format!("image {}", case.index),
            latents.ok(),
            png.ok(),
            expected(&golden, case.index),
        );
    }
}

/// From the expected embeddings on, which needs no vocabulary: the first two runs have the first text's prompt.
#[test]
fn runs_from_embeddings_are_diffusers() {
    let (model, golden) = (tiny(), golden("tiny"));
    for case in &cases()[..2] {
        let denoise = case.denoise("--dtype f32").model(&model);
        let latents = pipe([denoise]).input(embeddings(&[0], &[])).run();
        let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
        let png = pipe(rest).input(latents.ok()).run();
        compare(
            &format!("image {} from embeddings", case.index),
            latents.ok(),
            png.ok(),
            expected(&golden, case.index),
        );
    }
}

#[test]
fn text_embeddings_are_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let (model, golden) = (tiny(), golden("tiny"));
    let cases = golden_cases("tiny");
    for (index, case) in cases["cases"]["text"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
    {
        let mut stage = tool("encode-text", "--dtype f32").model(&model);
        if let Some(prompt) = case.get("prompt_2") {
            stage = stage.arg("--prompt-2").arg(prompt.as_str().expect("text"));
        }
        if let Some(skip) = case.get("clip_skip") {
            stage = stage.arg("--clip-skip").arg(skip.to_string());
        }
        let prompt = case["prompt"].as_str().expect("text");
        let out = pipe([stage.arg("--").arg(prompt)]).run();
        let frame = frame(out.ok(), Kind::TextEmbeddings);
        assert_eq!(frame.header.get("prompt"), Some(prompt));
        for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
            let expected = &golden[&format!("text/{index}/{name}")];
            assert_eq!(
                frame.header.tensor(name).expect("is there").shape,
                expected.shape
            );
            let e = relative_error(&frame.to_f32(name).expect("f32"), &expected.f32());
            println!("text {index}: {name} e = {e:.1e}");
            assert!(e <= TEXT, "text {index}: {name}: e = {e}");
        }
    }
}

/// The same weights in one file, under LDM's names: the same bytes.
#[test]
fn a_single_file_is_its_folder() {
    let (folder, file) = (tiny(), tiny_single());
    let text = shared_dir().is_some();
    for case in cases().iter().skip(5).take(2) {
        let run = |model: &Path| {
            let input = if text {
                pipe([case.encode_text(model, "--dtype f32")])
                    .run()
                    .ok()
                    .to_vec()
            } else {
                embeddings(&[0], &[])
            };
            let latents = pipe([case.denoise("--dtype f32").model(model)])
                .input(input.clone())
                .run();
            let image = pipe([tool("decode-latents", "--dtype f32").model(model)])
                .input(latents.ok())
                .run();
            [&input[..], latents.ok(), image.ok()].map(bodies)
        };
        assert!(
            run(&folder) == run(&file),
            "image {}: folder and file differ",
            case.index
        );
    }
}

/// What is computed; the metadata has the model's name.
fn bodies(stream: &[u8]) -> Vec<Vec<u8>> {
    pipeline_tests::frames(stream)
        .iter()
        .map(|frame| frame.body().to_vec())
        .collect()
}
