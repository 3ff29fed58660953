//! Whole runs with every scheduler against diffusers, on the tiny checkpoint, in f32.

use crate::golden::LATENTS;
use pipeline_tests::{Stage, frame, pipe, tool};
use serde_json::{Value, json};
use turbo_testkit::{golden, golden_cases, relative_error, shared_dir, tiny};
use turbo_wire::{Kind, names};

/// The flags that mean a case.
fn denoise(case: &Value) -> Stage {
    let mut stage = tool("denoise", "--width 128 --height 128 --dtype f32").model(&tiny());
    stage = stage
        .arg("--scheduler")
        .arg(case["class"].as_str().expect("a class"));
    for (key, value) in case["overrides"].as_object().into_iter().flatten() {
        stage = stage.arg("--scheduler-set").arg(format!("{key}={value}"));
    }
    let mut given = case.clone();
    for list in ["timesteps", "sigmas"] {
        if let Some(values) = case[list].as_array() {
            let values: Vec<_> = values.iter().map(Value::to_string).collect();
            stage = stage.arg(format!("--{list}")).arg(values.join(","));
            given["steps"] = Value::Null;
        }
    }
    for key in [
        "steps",
        "seed",
        "eta",
        "guidance_scale",
        "guidance_rescale",
        "denoising_end",
    ] {
        if !given[key].is_null() {
            stage = stage
                .arg(format!("--{}", key.replace('_', "-")))
                .arg(given[key].to_string());
        }
    }
    stage
}

fn embeddings(negative: &Value) -> Vec<u8> {
    let mut stage = tool("encode-text", "--dtype f32").model(&tiny());
    if let Some(negative) = negative.as_str() {
        stage = stage.arg("--negative-prompt").arg(negative);
    }
    let prompt = "a red apple on a table";
    pipe([stage.arg("--").arg(prompt)]).run().ok().to_vec()
}

#[test]
fn runs_with_every_scheduler_are_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let (golden, cases) = (golden("schedulers"), golden_cases("schedulers"));
    let mut encoded: Vec<(Value, Vec<u8>)> = Vec::new();
    let (mut count, mut worst) = (0, 0.0_f64);
    for (i, case) in cases["cases"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
    {
        let negative = &case["negative_prompt"];
        if !encoded.iter().any(|(of, _)| of == negative) {
            encoded.push((negative.clone(), embeddings(negative)));
        }
        let input = &encoded
            .iter()
            .find(|(of, _)| of == negative)
            .expect("encoded")
            .1;
        let run = pipe([denoise(case)]).input(input.clone()).run();
        let latents = frame(run.ok(), Kind::Latents);
        let class = latents.header.get("scheduler");
        assert_eq!(
            class.map(|class| json!(class)),
            Some(case["class"].clone()),
            "{case}"
        );
        let latents = latents.to_f32(names::LATENTS).expect("latents");
        let e = relative_error(&latents, &golden[&format!("run/{i}/latents")].f32());
        assert!(e <= LATENTS, "{case}: e = {e}");
        (count, worst) = (count + 1, worst.max(e));
    }
    println!("{count} runs: latents e <= {worst:.1e}");
    assert_eq!(count, 37);
}
