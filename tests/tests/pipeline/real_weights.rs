//! The published weights, where they are at hand: `TURBO_MODEL=stabilityai/sdxl-turbo cargo test --release -p
//! pipeline-tests cactus -- --nocapture`.

use pipeline_tests::{pictures, pipe, tool};

/// Bottom right 3 x 3 of the last channel, of 1: `test_stable_diffusion_xl.py` of diffusers, in float16.
const EXPECTED: [f64; 9] = [
    0.3524, 0.3160, 0.3652, 0.3316, 0.3376, 0.3315, 0.3042, 0.3102, 0.3449,
];
/// The bound of that test.
const TOLERANCE: f64 = 0.05;

#[test]
fn the_cactus_is_the_published_one() {
    let Ok(model) = std::env::var("TURBO_MODEL") else {
        eprintln!("skipped: TURBO_MODEL names no weights of SDXL Turbo");
        return;
    };
    let prompt = "A small cactus with a happy face in the Sahara desert.";
    let stages = [
        tool("encode-text", "--dtype f32")
            .arg("--model")
            .arg(model)
            .arg(prompt),
        tool(
            "denoise",
            "--dtype f32 --seed 0 --steps 1 --width 512 --height 512",
        ),
        tool("decode-latents", "--dtype f32"),
        tool("to-png", ""),
    ];
    let out = pipe(stages).limit(1800).run();
    let picture = &pictures(out.ok())[0];
    assert_eq!((picture.width, picture.height), (512, 512));
    let corner = (509..512).flat_map(|y| (509..512).map(move |x| (y, x)));
    let found: Vec<f64> = corner
        .map(|(y, x)| f64::from(picture.pixels[(y * 512 + x) * 3 + 2]) / 255.0)
        .collect();
    println!("found {found:.4?}, expected {EXPECTED:?}");
    for (found, expected) in found.iter().zip(EXPECTED) {
        assert!(
            (found - expected).abs() <= TOLERANCE,
            "found {found}, expected {expected}"
        );
    }
}
