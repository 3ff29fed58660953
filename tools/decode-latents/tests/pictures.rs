//! What is decoded, and by what: numbers, decoders, tiles.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use support::{assert_fails, feed, frame, frames, latents, model, read, run, stderr, tool};
use turbo_testkit::{golden, golden_cases, shared_dir, tiny};
use turbo_wire::Kind;

/// Shares of values that differ at all, and by more than 1.
fn differences(found: &[u8], expected: &[u8]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let share = |limit| {
        let count = found
            .iter()
            .zip(expected)
            .filter(|&(a, b)| a.abs_diff(*b) > limit)
            .count();
        count as f64 / found.len() as f64
    };
    (share(0), share(1))
}

/// What diffusers' image processor makes of an image `[3, height, width]`: numpy's rounding is half to even.
fn to_bytes(image: &[f32]) -> Vec<u8> {
    let plane = image.len() / 3;
    (0..image.len())
        .map(|i| image[i % 3 * plane + i / 3])
        .map(|value| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8)
        .collect()
}

#[test]
fn pictures_are_diffusers() {
    let golden = golden("tiny");
    let cases = golden_cases("tiny");
    let mut checked = 0;
    for (i, case) in cases["cases"]["image"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let latents = &golden[&format!("image/{i}/latents")];
        let input = frame(
            Kind::Latents,
            &[],
            &[("latents", &latents.shape, &latents.f32())],
        );
        let frames = frames(&["--model", &model(), "--dtype", "f32"], &input);
        let pixels = &golden[&format!("image/{i}/pixels")];
        assert_eq!(
            frames[0].header.tensor("image").unwrap().shape,
            pixels.shape,
            "case {i}: {case}"
        );
        let (any, more) = differences(frames[0].bytes("image").unwrap(), &pixels.u8());
        assert!(
            any < 0.001 && more == 0.0,
            "case {i}: {any} differ, {more} by more than 1"
        );
        checked += 1;
    }
    assert!(checked >= 8);
    for i in 0..2 {
        let latents = &golden[&format!("decode/{i}/latents")];
        let input = frame(
            Kind::Latents,
            &[],
            &[("latents", &latents.shape, &latents.f32())],
        );
        let frames = frames(&["--model", &model(), "--dtype", "f32"], &input);
        let expected = to_bytes(&golden[&format!("decode/{i}/image")].f32());
        let (any, more) = differences(frames[0].bytes("image").unwrap(), &expected);
        assert!(
            any < 0.001 && more == 0.0,
            "decode {i}: {any} differ, {more} by more than 1"
        );
    }
}

/// TAESDXL's own files, by folder and by file, against diffusers' `AutoencoderTiny` on a real picture.
#[test]
fn taesdxl_is_diffusers() {
    let Some(shared) = shared_dir() else { return };
    let golden = golden(shared.join("reference/golden/taesdxl.safetensors"));
    let mut names: Vec<_> = golden.keys().cloned().collect();
    names.sort();
    let find = |ending: &str| {
        let name = names
            .iter()
            .find(|name| name.ends_with(ending))
            .unwrap_or_else(|| panic!("{ending} in {names:?}"));
        &golden[name]
    };
    let (latents, image) = (find("latents"), find("decoded"));
    let input = frame(
        Kind::Latents,
        &[("model", "owner/anything")],
        &[("latents", &latents.shape, &latents.f32())],
    );
    let folder = shared.join("data/taesdxl");
    for path in [folder.join("taesdxl_decoder.safetensors"), folder] {
        let path = path.to_str().unwrap();
        let frames = frames(&["--vae", path, "--dtype", "f32"], &input);
        let (any, more) = differences(frames[0].bytes("image").unwrap(), &to_bytes(&image.f32()));
        assert!(
            any < 0.001 && more == 0.0,
            "{path}: {any} differ, {more} by more than 1"
        );
        assert_eq!(frames[0].header.get("vae"), Some(path));
        assert_eq!(frames[0].header.get("model"), Some("owner/anything"));
    }
}

#[test]
fn rows_are_as_they_are_alone() {
    let both = latents(&[], 2, 8, 8);
    let frame_of =
        |values: &[f32]| frame(Kind::Latents, &[], &[("latents", &[1, 4, 8, 8], values)]);
    let values = read(&both)[0].to_f32("latents").unwrap();
    let alone = [frame_of(&values[..256]), frame_of(&values[256..])].concat();
    let args = ["-m", &model()];
    let joined: Vec<u8> = frames(&args, &alone)
        .iter()
        .flat_map(|frame| frame.bytes("image").unwrap().to_vec())
        .collect();
    assert_eq!(frames(&args, &both)[0].bytes("image").unwrap(), joined);
}

#[test]
fn tiles_change_large_pictures_only() {
    let config = fs::read_to_string(tiny().join("vae/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let side = config["sample_size"].as_u64().unwrap() as usize / 8;
    let model = model();
    let draw = |args: &[&str], height, width| {
        let args = [&["-m", &model[..]], args].concat();
        frames(&args, &latents(&[], 1, height, width))[0]
            .bytes("image")
            .unwrap()
            .to_vec()
    };
    assert_eq!(draw(&["--tile"], side, side), draw(&[], side, side));
    let (tiled, whole) = (draw(&["--tile"], side, side + 8), draw(&[], side, side + 8));
    assert_eq!(tiled.len(), whole.len());
    assert_ne!(tiled, whole);
    let mean = tiled
        .iter()
        .zip(&whole)
        .map(|(a, b)| f64::from(a.abs_diff(*b)))
        .sum::<f64>()
        / whole.len() as f64;
    assert!(mean < 16.0, "{mean}");
}

#[test]
fn decoders_by_name() {
    let model = model();
    // By path: a whole checkpoint's, its vae folder, its file.
    let plain = frames(&["-m", &model], &latents(&[], 1, 8, 8))[0]
        .bytes("image")
        .unwrap()
        .to_vec();
    let vae = tiny().join("vae");
    let vae = vae.to_str().unwrap();
    for spec in [&model[..], vae] {
        let frames = frames(&["--vae", spec], &latents(&[], 1, 8, 8));
        assert_eq!(frames[0].bytes("image").unwrap(), plain);
        assert_eq!(frames[0].header.get("vae"), Some(spec));
    }
    // The stream's own, unless the flag says otherwise.
    let named = latents(&[("vae", vae), ("model", "/nonexistent/model")], 1, 8, 8);
    assert_eq!(frames(&[], &named)[0].bytes("image").unwrap(), plain);
    assert_fails(
        &run(&["--vae", "full"], &named),
        1,
        "/nonexistent/model: no such file or folder",
    );
    let full = frames(&["--vae", "full", "-m", &model], &named);
    assert_eq!(full[0].header.get("vae"), None);

    let output = run(&["--vae", "tiny", "-m", &model], &latents(&[], 1, 8, 8));
    assert_fails(&output, 1, "--vae tiny: madebyollin/taesdxl");
    assert_fails(&output, 1, "type `fetch-model madebyollin/taesdxl`");
    assert!(output.stdout.is_empty());
    assert_fails(
        &run(&["--vae", "/nonexistent/vae"], &latents(&[], 1, 8, 8)),
        1,
        "--vae: /nonexistent/vae",
    );
    let unet = tiny().join("unet");
    assert_fails(
        &run(&["--vae", unet.to_str().unwrap()], &latents(&[], 1, 8, 8)),
        1,
        "UNet2DConditionModel",
    );
}

/// TAESDXL from the cache, where `fetch-model` puts it.
#[cfg(unix)]
#[test]
fn the_tiny_decoder_is_found_in_the_cache_or_is_the_checkpoints_own() {
    let Some(shared) = shared_dir() else { return };
    let input = latents(&[], 1, 8, 8);
    let expected = {
        let path = shared.join("data/taesdxl/taesdxl_decoder.safetensors");
        frames(&["--vae", path.to_str().unwrap()], &input)[0]
            .bytes("image")
            .unwrap()
            .to_vec()
    };
    let cache = tempfile::tempdir().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let repository = cache.path().join("models--madebyollin--taesdxl");
    let snapshot = repository.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), commit).unwrap();
    for half in ["taesdxl_decoder.safetensors", "taesdxl_encoder.safetensors"] {
        std::os::unix::fs::symlink(shared.join("data/taesdxl").join(half), snapshot.join(half))
            .unwrap();
    }
    let command = tool(&["--vae", "tiny"]).env("HF_HUB_CACHE", cache.path());
    let output = feed(command, &input);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
    let found = read(&output.stdout);
    assert_eq!(found[0].bytes("image").unwrap(), expected);
    assert_eq!(found[0].header.get("vae"), Some("tiny"));

    // The small trained checkpoint has TAESDXL as its vae.
    let prototype = shared.join("data/prototype");
    let own = frames(
        &["--vae", "tiny", "-m", prototype.to_str().unwrap()],
        &input,
    );
    assert_eq!(own[0].header.get("vae"), None);
    assert_eq!(own[0].header.tensor("image").unwrap().shape, [1, 64, 64, 3]);
}
