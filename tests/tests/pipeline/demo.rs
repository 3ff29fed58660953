//! The checkpoint that is built into the tools: diffusers' pictures, and what people type.

use crate::golden::run_is_diffusers;
use pipeline_tests::{Stage, pictures, pipe, tool};
use std::path::Path;
use turbo_testkit::{golden, golden_cases};

fn encode_text(flags: &str) -> Stage {
    tool("encode-text", flags).model(Path::new("demo"))
}

#[test]
fn demo_pictures_are_diffusers() {
    let (golden, cases) = (golden("demo"), golden_cases("demo"));
    let cases = cases["cases"]["image"].as_array().expect("a list");
    assert_eq!(cases.len(), 8);
    for (index, case) in cases.iter().enumerate() {
        let encode_text = encode_text("--dtype f32").arg(case["prompt"].as_str().expect("text"));
        let (steps, seed) = (&case["num_inference_steps"], &case["seed"]);
        // No size: the checkpoint's own.
        let denoise = tool(
            "denoise",
            &format!("--dtype f32 --steps {steps} --seed {seed}"),
        );
        run_is_diffusers(&format!("image/{index}"), encode_text, denoise, &golden);
    }
}

/// The training pictures as the autoencoder shows them, each with its name.
fn training_pictures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/demo-model");
    let latents = std::fs::read(folder.join("pictures.safetensors")).expect("the latents");
    let names = std::fs::read_to_string(folder.join("prompts.txt")).expect("the names");
    let decode_latents = tool("decode-latents", "").model(Path::new("demo"));
    let shown = pipe([decode_latents, tool("to-png", "")])
        .input(latents)
        .run();
    let pictures = pictures(shown.ok()).into_iter().map(|p| p.pixels);
    let names: Vec<_> = names.lines().map(str::to_owned).collect();
    assert_eq!(names.len(), pictures.len());
    names.into_iter().zip(pictures).collect()
}

fn nearest<'a>(picture: &[u8], among: &'a [(String, Vec<u8>)]) -> &'a str {
    let distance = |other: &[u8]| -> u64 {
        let pairs = picture.iter().zip(other);
        pairs.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum()
    };
    &among
        .iter()
        .min_by_key(|(_, other)| distance(other))
        .expect("pictures")
        .0
}

#[test]
fn one_step_draws_what_was_asked_for() {
    let asked = [
        ("a fox", "fox"),
        ("fox", "fox"),
        ("a cute fox", "fox"),
        ("a red fox", "fox"),
        ("a picture of a fox", "fox"),
        ("A Red Apple", "red apple"),
        ("a green apple", "green apple"),
        ("a photo of a guitar", "guitar"),
        ("rocket", "rocket"),
    ];
    let encode_text = asked
        .iter()
        .fold(encode_text("").arg("--"), |stage, (prompt, _)| {
            stage.arg(prompt)
        });
    let drawn = pipe([
        encode_text,
        tool("denoise", "--steps 1 --seed 7"),
        tool("decode-latents", ""),
        tool("to-png", ""),
    ])
    .run();
    let drawn = pictures(drawn.ok());
    assert_eq!(drawn.len(), asked.len());
    let known = training_pictures();
    for (picture, (prompt, name)) in drawn.iter().zip(asked) {
        assert_eq!(nearest(&picture.pixels, &known), name, "{prompt}");
    }
}

/// Nothing, another alphabet, more than fits, names that nobody knows.
#[test]
fn any_prompt_draws_something() {
    let long = "a fox and a hen and ".repeat(50);
    let prompts = ["", "лисица 🦊", "zyxgloop", &long];
    let encode_text = prompts.iter().fold(encode_text("").arg("--"), Stage::arg);
    let drawn = pipe([
        encode_text,
        tool("denoise", "--seed 1"),
        tool("decode-latents", ""),
        tool("to-png", ""),
    ])
    .run();
    let drawn = pictures(drawn.ok());
    assert_eq!(drawn.len(), prompts.len());
    assert!(drawn.iter().all(|p| (p.width, p.height) == (128, 128)));
}
