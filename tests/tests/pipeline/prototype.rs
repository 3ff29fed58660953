//! The pipe against diffusers, on a small trained checkpoint: v-prediction, TAESDXL, a vocabulary of its own.

use crate::golden::run_is_diffusers;
use pipeline_tests::tool;
use turbo_testkit::{golden, golden_cases, shared_dir};

#[test]
fn trained_pictures_are_diffusers() {
    let Some(shared) = shared_dir() else { return };
    let model = shared.join("data/prototype");
    if !model.is_dir() {
        eprintln!("skipped: {} is not there", model.display());
        return;
    }
    let (golden, cases) = (
        golden(model.join("golden")),
        golden_cases(model.join("golden")),
    );
    let cases = cases.as_array().expect("a list");
    assert_eq!(cases.len(), 6);
    for (index, case) in cases.iter().enumerate() {
        let encode_text = tool("encode-text", "--dtype f32")
            .model(&model)
            .arg(case["prompt"].as_str().expect("text"));
        // No size: the checkpoint's own.
        let denoise = tool(
            "denoise",
            &format!(
                "--dtype f32 --steps {} --seed {}",
                case["steps"], case["seed"]
            ),
        );
        run_is_diffusers(&index.to_string(), encode_text, denoise, &golden);
    }
}
