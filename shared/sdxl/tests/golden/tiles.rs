//! Large pictures in tiles.

use crate::cases::open;
use crate::limits::expect_within;
use turbo_sdxl::{DType, Device, Encoded, image_processor, open_vae_decoder, open_vae_encoder};
use turbo_testkit::{golden, golden_cases, relative_error};

/// Encodings and pictures of both autoencoders, in tiles that end in slivers, with small ones, and whole.
pub(crate) fn tiles(device: Device, limit: f64) {
    let golden = golden("tiles");
    for (i, case) in golden_cases("tiles")["cases"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let side = |name: &str| case[name].as_u64().unwrap() as usize;
        let (height, width) = (side("height"), side("width"));
        if case["vae"] == "tiny" && device == Device::CandleCpu {
            continue; // minutes, where one device tells as much of how tiles are cut and laid
        }
        let vae = match case["vae"].as_str().unwrap() {
            "full" => open(turbo_testkit::tiny()).vae().unwrap(),
            _ => turbo_weights::open_vae(turbo_testkit::taesdxl(), None).unwrap(),
        };
        let expect = |name: &str, ours: &[f32], whole: &[f32]| {
            let (what, expected) = (
                format!("tiles {i} {name}"),
                golden[&format!("{i}/{name}")].f32(),
            );
            expect_within(limit, &what, ours, &expected);
            let e = relative_error(whole, &expected);
            assert!(e > 1e-3, "{what}: a whole picture is off by {e:.0e} only");
        };

        let encoder = open_vae_encoder(&device, DType::F32, &vae).unwrap();
        let image = image_processor::preprocess(&picture(height, width), height, width).unwrap();
        let encode = |tile| encoder.encode(&image, height, width, tile).unwrap();
        match (encode(true), encode(false)) {
            (Encoded::Posterior(tiled), Encoded::Posterior(whole)) => {
                expect("mean", &tiled.mean, &whole.mean);
                expect("logvar", &tiled.logvar, &whole.logvar);
            }
            (Encoded::Latents(tiled), Encoded::Latents(whole)) => {
                expect("encoded", &tiled, &whole);
            }
            _ => panic!("one autoencoder gives two kinds of encodings"),
        }

        let decoder = open_vae_decoder(&device, DType::F32, &vae).unwrap();
        let latents = values(4 * height / 8 * width / 8);
        let decode = |tile| {
            let image = decoder
                .decode(&latents, height / 8, width / 8, tile)
                .unwrap();
            // Every ninth pixel.
            let kept = |plane: &[f32]| -> Vec<f32> {
                let rows = plane.chunks_exact(width).step_by(9);
                rows.flat_map(|row| row.iter().copied().step_by(9))
                    .collect()
            };
            image
                .chunks_exact(height * width)
                .flat_map(kept)
                .collect::<Vec<_>>()
        };
        expect("decoded", &decode(true), &decode(false));
    }
}

/// The picture that the expected values were computed from: `[height, width, 3]`.
fn picture(height: usize, width: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (y, x, c) = (i / 3 / width, i / 3 % width, i % 3);
        (x * 7 + y * 13 + c * 61 + x * y / 64) as u8
    };
    (0..height * width * 3).map(pixel).collect()
}

/// The latents that they were.
fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 31 % 61) as f32 / 30. - 1.).collect()
}
