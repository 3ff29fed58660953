//! Pictures to start from: latents beside the frames, and one prompt for many of them.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use support::{assert_fails, frame, frames, latents, model, prompts, run, stderr, values, widths};
use turbo_testkit::{golden, golden_cases, relative_error, tiny, write_safetensors};
use turbo_wire::Kind;

/// The network's weights in a checkpoint.
const WEIGHTS: &str = "diffusion_pytorch_model.fp16.safetensors";
/// The tiny checkpoint's `scaling_factor`.
const FACTOR: f32 = 0.13025;

/// A frame of latents `[rows, 4, 8, 8]`.
fn init(rows: usize, picture: usize) -> Vec<u8> {
    let values = values(rows * 256, picture);
    frame(
        Kind::Latents,
        &[],
        &[("latents", &[rows, 4, 8, 8], &values)],
    )
}

fn file(folder: &Path, name: &str, frames: &[Vec<u8>]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, frames.concat()).unwrap();
    path
}

/// A frame whose picture has no distribution, as TAESDXL's.
fn pictured(picture: usize) -> Vec<u8> {
    let (tokens, width, pooled) = widths();
    frame(
        Kind::TextEmbeddings,
        &[],
        &[
            (
                "prompt_embeds",
                &[1, tokens, width],
                &values(tokens * width, 1),
            ),
            ("pooled_prompt_embeds", &[1, pooled], &values(pooled, 1)),
            ("image_mean", &[1, 4, 8, 8], &values(256, picture)),
        ],
    )
}

#[test]
fn latents_beside_a_frame_are_its_picture() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let bare = ["-m", &model, "--seed", "3", "--seed-step", "0"];
    let beside = |input: &[u8], init: &[Vec<u8>]| {
        let path = file(folder.path(), "init.st", init);
        let args = [&bare[..], &["--init", path.to_str().unwrap()]].concat();
        frames(&args, input)
    };
    let expected: Vec<_> = [pictured(5), pictured(6)]
        .iter()
        .map(|input| latents(&frames(&bare, input)[0]))
        .collect();
    assert_ne!(expected[0], expected[1]);

    let prompts = frame_without_size(1).repeat(2);
    let two = beside(&prompts, &[init(1, 5), init(1, 6)]);
    assert_eq!(two.iter().map(latents).collect::<Vec<_>>(), expected);
    assert_eq!(two[0].header.get("strength"), Some("0.5"));
    assert_eq!(two[0].header.get("steps"), Some("2"));
    // A single one on either side is repeated.
    let films = beside(&frame_without_size(1), &[init(1, 5), init(1, 6)]);
    assert_eq!(films.iter().map(latents).collect::<Vec<_>>(), expected);
    let one = beside(&prompts, &[init(1, 5)]);
    assert_eq!(latents(&one[0]), expected[0]);
    assert_eq!(latents(&one[1]), expected[0]);
    // A single row stands for all rows.
    let rows = beside(&rows_without_size(&[1, 1]), &[init(1, 5)]);
    assert_eq!(latents(&rows[0])[..256], expected[0]);
}

fn frame_without_size(prompt: usize) -> Vec<u8> {
    rows_without_size(&[prompt])
}

fn rows_without_size(prompts: &[usize]) -> Vec<u8> {
    let (tokens, width, pooled) = widths();
    let rows = |count: usize| -> Vec<f32> {
        prompts
            .iter()
            .flat_map(|&prompt| values(count, prompt))
            .collect()
    };
    let batch = prompts.len();
    frame(
        Kind::TextEmbeddings,
        &[],
        &[
            (
                "prompt_embeds",
                &[batch, tokens, width],
                &rows(tokens * width),
            ),
            ("pooled_prompt_embeds", &[batch, pooled], &rows(pooled)),
        ],
    )
}

#[test]
fn what_does_not_pair_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let two = file(folder.path(), "two.st", &[init(1, 5), init(1, 6)]);
    let wide = file(folder.path(), "wide.st", &[init(3, 5)]);
    let (model, two) = (model(), two.to_str().unwrap());
    let args = ["-m", &model, "--seed", "1", "--init"];
    let with = |path| [&args[..], &[path]].concat();

    let three = frame_without_size(1).repeat(3);
    let output = run(&with(two), &three);
    assert_fails(
        &output,
        1,
        "frame 2: expected a frame of --init beside it, found the end after 2",
    );
    assert_eq!(
        support::read(&output.stdout).len(),
        2,
        "{}",
        stderr(&output)
    );
    assert_fails(
        &run(&with(two), &pictured(5)),
        1,
        "--init: expected a frame without a picture",
    );
    let output = run(&with(wide.to_str().unwrap()), &rows_without_size(&[1, 2]));
    assert_fails(
        &output,
        1,
        "--init: expected latents of 2 rows or of one, found 3",
    );
    assert_fails(
        &run(&with("-"), &three),
        2,
        "--init -: expected the frames from a FILE",
    );
    let missing = folder.path().join("missing.st");
    assert_fails(
        &run(&with(missing.to_str().unwrap()), &three),
        1,
        "missing.st",
    );
    let output = run(&with(two), &prompts(&[("width", "128")], &[1]));
    assert_fails(
        &output,
        1,
        "width: expected 64, which the picture to start from has, found 128",
    );
}

#[test]
fn a_strength_without_a_picture_is_told_once() {
    let input = prompts(&[], &[1]).repeat(2);
    let output = run(
        &["-m", &model(), "--seed", "1", "--strength", "0.5"],
        &input,
    );
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output);
    assert_eq!(
        text.matches("--strength has no effect").count(),
        1,
        "{text}"
    );
}

/// The tiny checkpoint with a network of nine channels, as `tests/golden/make_inpainting.py` makes it.
fn nine_channels() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let unet = folder.path().join("unet");
    fs::create_dir_all(&unet).unwrap();
    let scheduler = folder.path().join("scheduler");
    fs::create_dir_all(&scheduler).unwrap();
    for name in ["model_index.json", "scheduler/scheduler_config.json"] {
        fs::copy(tiny().join(name), folder.path().join(name)).unwrap();
    }
    let config = fs::read_to_string(tiny().join("unet/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["in_channels"] = 9.into();
    fs::write(unet.join("config.json"), config.to_string()).unwrap();

    let bytes = fs::read(tiny().join("unet").join(WEIGHTS)).unwrap();
    let size = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let entries: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    let mut tensors = Vec::new();
    for (name, entry) in entries.iter().filter(|(name, _)| *name != "__metadata__") {
        let shape: Vec<usize> = entry["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect();
        let ends = &entry["data_offsets"];
        let body = &bytes[8 + size + number(&ends[0])..8 + size + number(&ends[1])];
        if name != "conv_in.weight" {
            tensors.push((name.clone(), shape, body.to_vec()));
            continue;
        }
        // A row of four channels of nine weights each, in float16, and 45 more weights.
        let mut wide = Vec::new();
        for (row, narrow) in body.chunks_exact(72).enumerate() {
            wide.extend(narrow);
            for at in row * 45..(row + 1) * 45 {
                let value = ((at * 7 % 17) as f32 - 8.0) / 64.0;
                wide.extend(half::f16::from_f32(value).to_le_bytes());
            }
        }
        tensors.push((name.clone(), vec![shape[0], 9, 3, 3], wide));
    }
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, shape, body)| (name.as_str(), &shape[..], body.clone()))
        .collect();
    write_safetensors(unet.join(WEIGHTS), "F16", &tensors);
    folder
}

#[test]
fn a_network_of_nine_channels_sees_mask_and_picture() {
    let folder = nine_channels();
    let model = folder.path().to_str().unwrap();
    let golden = golden("inpainting");
    for (i, case) in golden_cases("inpainting")["cases"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let get = |name: &str| &golden[&format!("{i}/{name}")];
        let shape = get("mean").shape.clone();
        let (height, width) = (shape[2], shape[3]);
        let mean = |name: &str| {
            get(name)
                .f32()
                .iter()
                .map(|v| v * FACTOR)
                .collect::<Vec<_>>()
        };
        let logvar = |name: &str| {
            let shift = 2.0 * FACTOR.ln();
            get(name)
                .f32()
                .iter()
                .map(|v| v + shift)
                .collect::<Vec<_>>()
        };
        let pixels = get("mask").u8();
        let mask: Vec<f32> = (0..height * width)
            .map(|at| f32::from(pixels[(at / width * width * 8 + at % width) * 8]))
            .collect();
        let (prompt, pooled) = (&golden["prompt_embeds"], &golden["pooled_prompt_embeds"]);
        let tensors = [
            ("prompt_embeds", &prompt.shape[..], prompt.f32()),
            ("pooled_prompt_embeds", &pooled.shape, pooled.f32()),
            ("image_mean", &shape, mean("mean")),
            ("image_logvar", &shape, logvar("logvar")),
            ("masked_image_mean", &shape, mean("masked_mean")),
            ("masked_image_logvar", &shape, logvar("masked_logvar")),
            ("mask", &[1, 1, height, width], mask),
        ];
        let all = tensors
            .each_ref()
            .map(|(name, shape, values)| (*name, *shape, &values[..]));
        let [steps, strength, seed] =
            ["steps", "strength", "seed"].map(|key| case[key].to_string());
        let args = [
            "-m",
            model,
            "--dtype",
            "f32",
            "--steps",
            &steps,
            "--strength",
            &strength,
            "--seed",
            &seed,
        ];
        let drawn = frames(&args, &frame(Kind::TextEmbeddings, &[], &all));
        let e = relative_error(&latents(&drawn[0]), &get("latents").f32());
        println!("nine channels, case {i}: e = {e:.1e}");
        assert!(e <= 1e-4, "case {i}: {e}");
        // Without what it has to see the network is of no use.
        let output = run(&args, &frame(Kind::TextEmbeddings, &[], &all[..4]));
        assert_fails(&output, 1, "tensor \"masked_image_mean\": expected it");
    }
}
