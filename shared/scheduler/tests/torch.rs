//! Noise and schedules against what torch and diffusers give: the project's golden file, and numbers printed by
//! torch 2.15.0.

#![expect(
    clippy::excessive_precision,
    reason = "the numbers are as torch prints them"
)]

mod support;

use support::turbo;
use turbo_scheduler::{Generator, Scheduler, SchedulerConfig, Steps, build};
use turbo_testkit::golden;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

#[test]
fn noise_is_torchs_bit_for_bit() {
    let golden = golden("tiny");
    for seed in [0, 42, 0xffff_ffff, 0x1_0000_0000, 123_456_789_012_345] {
        let mut generator = Generator::new(seed);
        for draw in ["first", "second"] {
            let expected = golden[&format!("noise/{seed}/{draw}")].f32();
            assert_eq!(
                bits(&generator.randn(expected.len())),
                bits(&expected),
                "seed {seed}, {draw}"
            );
        }
        for n in [1, 5, 15, 16, 17, 100, 1000] {
            let expected = golden[&format!("noise/{seed}/n{n}")].f32();
            assert_eq!(
                bits(&Generator::new(seed).randn(n)),
                bits(&expected),
                "seed {seed}, n {n}"
            );
        }
    }
}

#[test]
fn noise_sums() {
    let mut generator = Generator::new(0);
    let first = generator.randn(4 * 64 * 64);
    assert_eq!(
        bits(&first[..4]),
        [0xbf90_1b85, 0xbf93_808a, 0xbe80_4bd6, 0xbede_255d]
    );
    assert!((sum(&first) - -124.112_699_899_123_98).abs() < 1e-9);
    let squares: f64 = first.iter().map(|&value| f64::from(value).powi(2)).sum();
    assert!((squares - 16_522.110_311_606_775).abs() < 1e-7);
    assert!((sum(&generator.randn(4 * 64 * 64)) - -286.896_653_527_524_9).abs() < 1e-9);

    let mut generator = Generator::new(42);
    let first = generator.randn(4 * 64 * 64);
    assert_eq!(
        bits(&first[..4]),
        [0x3ff6_a529, 0x3fbe_5f53, 0x3f66_9567, 0xc006_c0db]
    );
    assert!((sum(&first) - 149.764_800_439_130_34).abs() < 1e-9);
    assert!((sum(&generator.randn(4 * 64 * 64)) - -50.675_964_699_141_33).abs() < 1e-9);
}

#[test]
fn the_second_of_a_pair_waits_for_the_next_small_draw() {
    let expected = Generator::new(0).randn(6);
    let mut generator = Generator::new(0);
    let mut drawn = generator.randn(1);
    drawn.extend(generator.randn(2));
    drawn.extend(generator.randn(3));
    assert_eq!(bits(&drawn), bits(&expected));
}

/// 65 x 65 x 4 has a remainder of 4 after blocks of 16: the last 16 are drawn anew.
#[test]
fn remainder_rule() {
    let twenty = Generator::new(0).randn(20);
    for (value, expected) in twenty[4..9].iter().zip([
        0.598_839_46,
        -1.555_095_1,
        -0.341_360_39,
        1.853_006_1,
        0.468_096_4,
    ]) {
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
    assert!((twenty[19] - 0.053_736_9).abs() < 1e-6);
    assert_eq!(Generator::new(1).randn(4 * 65 * 65).len(), 16900);
}

#[test]
fn schedules_are_diffusers() {
    let golden = golden("tiny");
    for steps in 1..=10 {
        let scheduler = build(&turbo(), &Steps::count(steps)).unwrap();
        let timesteps: Vec<f64> = scheduler
            .timesteps()
            .iter()
            .map(|&t| f64::from(t))
            .collect();
        assert_eq!(
            timesteps,
            golden[&format!("schedule/{steps}/timesteps")].f64(),
            "{steps} steps"
        );
        let expected = golden[&format!("schedule/{steps}/sigmas")].f32();
        let (last, expected) = expected.split_last().unwrap();
        assert!(*last == 0.0_f32, "{last}");
        assert_close(
            &scheduler.schedule().sigmas,
            expected,
            1.3e-7,
            &format!("{steps} steps"),
        );
    }
}

/// Each value within `tolerance`, relative.
fn assert_close(values: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(values.len(), expected.len(), "{what}");
    for (value, expected) in values.iter().zip(expected) {
        assert!(
            (value - expected).abs() <= tolerance * expected.abs(),
            "{what}: {value}, expected {expected}"
        );
    }
}

fn run(scheduler: &mut dyn Scheduler, seed: u64, n: usize) -> Vec<f32> {
    let mut generator = Generator::new(seed);
    let mut x = generator.randn(n);
    scheduler.scale_initial_noise(&mut x);
    for index in 0..scheduler.timesteps().len() {
        let m = scheduler.scale_model_input(&x, index);
        let output: Vec<f32> = m.iter().map(|value| 0.5 * value + 0.1).collect();
        x = scheduler
            .step(&output, index, &x, &mut generator)
            .prev_sample;
    }
    x
}

#[test]
fn whole_runs_without_a_model() {
    let expected = [
        (
            [12.651_974_678, 9.431_953_43, 5.135_720_253, -16.883_079_529],
            -22_847.706_083_595_753,
        ),
        (
            [6.020_184_517, 6.686_026_096, 3.073_416_233, -10.225_183_487],
            -15_652.486_876_152_456,
        ),
        (
            [2.896_753_311, 4.863_349_915, 1.262_436_39, -6.342_664_719],
            -12_684.889_349_326_491,
        ),
        (
            [2.112_469_435, 3.940_643_311, 0.480_033_01, -4.076_672_554],
            -11_172.587_844_528_258,
        ),
    ];
    for (steps, (first, total)) in (1..).zip(expected) {
        let mut scheduler = build(&turbo(), &Steps::count(steps)).unwrap();
        let x = run(&mut *scheduler, 42, 4 * 64 * 64);
        for (value, expected) in x.iter().zip(first) {
            assert!(
                (f64::from(*value) - expected).abs() < 5e-6,
                "{steps} steps: {value}, expected {expected}"
            );
        }
        assert!(
            (sum(&x) - total).abs() < 2e-3,
            "{steps} steps: {}, expected {total}",
            sum(&x)
        );
    }
}

/// Configurations other than SDXL Turbo's, computed by diffusers (`make_golden.py`).
#[test]
fn other_configurations() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("golden/schedulers.json")).unwrap();
    for case in &cases {
        let numbers =
            |key: &str| -> Vec<f32> { serde_json::from_value(case[key].clone()).unwrap() };
        let what = format!("{} steps of {}", case["steps"], case["config"]);
        let config = SchedulerConfig::from_json(&case["config"]).unwrap();
        let steps = Steps::count(case["steps"].as_u64().unwrap() as usize);
        let mut scheduler = build(&config, &steps).unwrap();
        assert_eq!(scheduler.timesteps(), numbers("timesteps"), "{what}");
        let sigmas = numbers("sigmas");
        let sigmas = &sigmas[..sigmas.len() - 1];
        assert_close(&scheduler.schedule().sigmas, sigmas, 2.5e-7, &what);
        let init = case["init_noise_sigma"].as_f64().unwrap() as f32;
        assert_close(&[scheduler.init_noise_sigma()], &[init], 2.5e-7, &what);

        let x = run(&mut *scheduler, 7, 4 * 8 * 8);
        let norm = x
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt();
        let expected = case["norm"].as_f64().unwrap();
        assert!(
            (norm / expected - 1.0).abs() < 1e-6,
            "{what}: {norm}, expected {expected}"
        );
        for (value, expected) in x.iter().zip(numbers("first")) {
            assert!(
                (value - expected).abs() < 2e-5,
                "{what}: {value}, expected {expected}"
            );
        }
    }
    assert_eq!(cases.len(), 15);
}

#[test]
fn step_numbers_out_of_range_are_refused() {
    for steps in [0, 1001] {
        let error = build(&turbo(), &Steps::count(steps)).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("expected 1 to 1000 steps, found {steps}")
        );
    }
}
