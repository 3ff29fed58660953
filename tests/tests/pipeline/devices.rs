//! Whole runs from embeddings to a picture on a device, in each of its types, on the tiny checkpoint: in f32 as diffusers,
//! in 16 bits as exact as PyTorch. The device is what `TEST_DEVICE` names, for tools that were built with it:
//!
//!     cargo build --release --workspace --features encode-text/cuda,encode-image/cuda,denoise/cuda,decode-latents/cuda
//!     TEST_DEVICE=cuda cargo test --release -p pipeline-tests -- devices::
//!
//! Without it candle stands in, on the CPU.

use crate::golden::{cases, compare};
use pipeline_tests::{embeddings, frame, pictures, pipe, tool};
use turbo_testkit::{golden, golden_cases, relative_error, tiny};
use turbo_wire::{Kind, names};

/// The device, and what it has besides f32. On a CPU candle has no products of bf16, and on ARM's those of f16 are summed in
/// f16.
fn device() -> (String, &'static [&'static str]) {
    match std::env::var("TEST_DEVICE") {
        Ok(device) => (device, &["bf16", "f16"]),
        Err(_) if cfg!(target_arch = "x86_64") => ("candle-cpu".to_owned(), &["f16"]),
        Err(_) => ("candle-cpu".to_owned(), &[]),
    }
}

/// Latents and picture of the first runs, which have the first text's prompt.
fn runs(flags: &str) -> impl Iterator<Item = (usize, Vec<u8>, Vec<u8>)> {
    let flags = flags.to_owned();
    cases().into_iter().take(2).map(move |case| {
        let denoise = case.denoise(&flags).model(&tiny());
        let latents = pipe([denoise]).input(embeddings(&[0], &[])).run();
        let rest = [tool("decode-latents", &flags), tool("to-png", "")];
        let png = pipe(rest).input(latents.ok()).run();
        (case.index, latents.ok().to_vec(), png.ok().to_vec())
    })
}

#[test]
fn runs_in_f32_are_diffusers() {
    let (device, _) = device();
    let golden = golden("tiny");
    for (i, latents, png) in runs(&format!("--device {device} --dtype f32")) {
        let expected = ["latents", "pixels"].map(|name| &golden[&format!("image/{i}/{name}")]);
        compare(&format!("image {i} on {device}"), &latents, &png, expected);
    }
}

#[test]
fn runs_in_sixteen_bits_are_as_exact_as_pytorch() {
    let (device, dtypes) = device();
    let (golden, types) = (golden("tiny"), golden_cases("types"));
    for dtype in dtypes {
        for (i, latents, png) in runs(&format!("--device {device} --dtype {dtype}")) {
            let latents = frame(&latents, Kind::Latents);
            let picture = &pictures(&png)[0];
            let pixels = picture.pixels.iter();
            let found = [
                ("latents", latents.to_f32(names::LATENTS).expect("latents")),
                ("pixels", pixels.map(|&byte| f32::from(byte)).collect()),
            ];
            for (name, ours) in found {
                let key = format!("image/{i}/{name}");
                let expected = match name {
                    "pixels" => golden[&key].u8().into_iter().map(f32::from).collect(),
                    _ => golden[&key].f32(),
                };
                let e = relative_error(&ours, &expected);
                let pytorch = types[dtype][&key].as_f64().expect("PyTorch's error");
                println!("{key} on {device} in {dtype}: e = {e:.2e}, PyTorch has {pytorch:.2e}");
                // A single run is a matter of chance, PyTorch's too; less than a tenth would be another type's.
                assert!(
                    (0.1..=1.5).contains(&(e / pytorch)),
                    "{key} on {device} in {dtype}: expected 0.1 to 1.5 of PyTorch's {pytorch:.2e}, found {e:.2e}"
                );
            }
        }
    }
}
