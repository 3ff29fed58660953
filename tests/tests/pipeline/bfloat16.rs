//! `--dtype bf16` and `auto`: near, and no nearer than the type allows.

use crate::golden::cases;
use pipeline_tests::{embeddings, frame, pipe};
use turbo_testkit::{golden, relative_error, tiny};
use turbo_wire::{Kind, names};

/// Bound on whole runs in bfloat16, as relative error of the latents.
const LATENTS: f64 = 0.05;

#[test]
fn runs_in_bfloat16_stay_near() {
    let (model, golden) = (tiny(), golden("tiny"));
    for case in &cases()[..2] {
        let expected = golden[&format!("image/{}/latents", case.index)].f32();
        let run = |dtype: &str| {
            let stage = case.denoise(&format!("--dtype {dtype}")).model(&model);
            let out = pipe([stage]).input(embeddings(&[0], &[])).run();
            frame(out.ok(), Kind::Latents)
                .to_f32(names::LATENTS)
                .expect("latents")
        };
        let exact = run("f32");
        for dtype in ["bf16", "auto"] {
            let latents = run(dtype);
            let e = relative_error(&latents, &expected);
            println!("image {}: --dtype {dtype}: latents e = {e:.1e}", case.index);
            assert!(
                e <= LATENTS,
                "image {}: --dtype {dtype}: e = {e}",
                case.index
            );
            // A CPU without the instructions computes in f32.
            assert_eq!(
                latents != exact,
                has_bfloat16(),
                "--dtype {dtype} is f32 where the CPU has no bfloat16"
            );
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_bfloat16() -> bool {
    std::env::var_os("TURBO_ISA").is_none() && std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bfloat16() -> bool {
    false
}
