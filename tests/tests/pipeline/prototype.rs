//! The pipe against diffusers, on a small trained checkpoint: v-prediction, TAESDXL, a vocabulary of its own.

use crate::golden::{TEXT, compare};
use pipeline_tests::{frame, pipe, tool};
use turbo_testkit::{golden, golden_cases, relative_error, shared_dir};
use turbo_wire::{Kind, names};

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
        let text = pipe([encode_text.clone()]).run();
        let embeddings = frame(text.ok(), Kind::TextEmbeddings);
        for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
            let e = relative_error(
                &embeddings.to_f32(name).expect("f32"),
                &golden[&format!("{index}/{name}")].f32(),
            );
            println!("prototype {index}: {name} e = {e:.1e}");
            assert!(e <= TEXT, "prototype {index}: {name}: e = {e}");
        }
        let latents = pipe([encode_text.clone(), denoise.clone()]).run();
        let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
        let png = pipe([encode_text, denoise].into_iter().chain(rest)).run();
        let expected = ["latents", "pixels"].map(|name| &golden[&format!("{index}/{name}")]);
        compare(
            &format!("prototype {index}"),
            latents.ok(),
            png.ok(),
            expected,
        );
    }
}
