//! Every class against what diffusers computes without a network: `tests/golden/schedulers.*`, and more
//! configurations in `tests/golden/classes.*` (`make_classes.py`).

mod support;

use serde_json::Value;
use std::collections::HashMap;
use support::turbo;
use turbo_scheduler::{Generator, StepChoice, Steps, build};
use turbo_testkit::{Tensor, golden, golden_cases, relative_error};

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value
        .as_array()
        .map(|list| list.iter().map(|value| value.as_f64().unwrap()).collect())
}

fn steps(case: &Value) -> Steps {
    let timesteps = numbers(&case["timesteps"]).map(StepChoice::Timesteps);
    let sigmas = numbers(&case["sigmas"]).map(StepChoice::Sigmas);
    let count = case["steps"].as_u64().unwrap_or(0) as usize;
    Steps {
        choice: timesteps.or(sigmas).unwrap_or(StepChoice::Count(count)),
        eta: case["eta"].as_f64().unwrap_or(0.0),
    }
}

/// The greatest error of a step and of a timestep.
fn compare(i: usize, case: &Value, golden: &HashMap<String, Tensor>) -> (f64, f64) {
    let tensor = |name: &str| golden.get(&format!("loop/{i}/{name}"));
    let mut config = turbo().with_class(case["class"].as_str().unwrap()).unwrap();
    for (key, value) in case["overrides"].as_object().into_iter().flatten() {
        config = config.with_key(key, value.clone());
    }
    let what = format!("case {i}: {case}");
    let mut scheduler =
        build(&config, &steps(case)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let expected = tensor("timesteps").unwrap().f64();
    let ours: Vec<f64> = scheduler
        .timesteps()
        .iter()
        .map(|&t| f64::from(t))
        .collect();
    assert_eq!(ours.len(), expected.len(), "{what}: {ours:?} {expected:?}");
    let off = |(ours, expected): (&f64, &f64)| (ours - expected).abs();
    let timesteps = ours.iter().zip(&expected).map(off).fold(0.0, f64::max);
    // KDPM2's middles can fall on whole timesteps, but for the last bit of a logarithm.
    let between = scheduler.schedule().order == 2 && case["class"] != "HeunDiscreteScheduler";
    let whole = !between && expected.iter().all(|t| t.fract() == 0.0);
    assert!(
        timesteps <= if whole { 0.0 } else { 1e-3 },
        "{what}: {ours:?} {expected:?}"
    );

    let init = match tensor("init_noise_sigma") {
        Some(init) if init.shape.is_empty() => init.f32()[0],
        _ => scheduler.init_noise_sigma(),
    };
    let ours = scheduler.init_noise_sigma();
    assert!(
        (ours - init).abs() <= 2.5e-7 * init,
        "{what}: init_noise_sigma {ours}, expected {init}"
    );

    let mut generator = Generator::new(case["seed"].as_u64().unwrap());
    let noise = generator.randn(tensor("final").unwrap().f32().len());
    let begin = case["begin"].as_u64().unwrap_or(0) as usize;
    let mut x = noise.clone();
    if begin == 0 {
        scheduler.scale_initial_noise(&mut x);
    } else {
        let original: Vec<f32> = noise.iter().map(|noise| 0.3 * noise).collect();
        let flipped: Vec<f32> = noise
            .chunks(4)
            .flat_map(|row| row.iter().rev().copied())
            .collect();
        x = scheduler.add_noise(&original, &flipped, begin);
    }
    let mut worst = 0.0_f64;
    for (k, timestep) in expected.iter().enumerate().skip(begin) {
        let input = scheduler.scale_model_input(&x, k);
        let sin = (0.05 * timestep.sin()) as f32;
        let output: Vec<f32> = input
            .iter()
            .zip(&noise)
            .map(|(x, noise)| 0.5 * x + 0.1 * noise + sin)
            .collect();
        x = scheduler.step(&output, k, &x, &mut generator).prev_sample;
        if let Some(after) = tensor(&format!("after/{k}")) {
            let error = relative_error(&x, &after.f32());
            assert!(error <= 1e-5, "{what}: step {k}: {error}");
            worst = worst.max(error);
        }
    }
    let error = relative_error(&x, &tensor("final").unwrap().f32());
    assert!(error <= 1e-5, "{what}: {error}");
    (worst.max(error), timesteps)
}

fn compare_all(name: &str, count: usize) {
    let (golden, cases) = (golden(name), golden_cases(name));
    let cases = cases["cases"].as_array().unwrap();
    assert_eq!(cases.len(), count);
    let mut worst = (0.0_f64, 0.0_f64);
    for (i, case) in cases.iter().enumerate() {
        let (step, timestep) = compare(i, case, &golden);
        worst = (worst.0.max(step), worst.1.max(timestep));
    }
    eprintln!(
        "{count} cases: steps within {:.1e}, timesteps within {:.1e}",
        worst.0, worst.1
    );
}

#[test]
fn every_step_of_every_class() {
    compare_all("schedulers", 37);
}

#[test]
fn keys_combinations_and_later_starts() {
    compare_all("classes", 348);
}
