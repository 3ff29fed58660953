use super::*;
use serde_json::json;

fn base() -> SchedulerConfig {
    SchedulerConfig::from_json(&json!({
        "_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    }))
    .unwrap()
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn written(own: &[(&str, &str)], flags: &SamplingFlags, steps: Option<usize>) -> Metadata {
    let levels = Levels::new(&metadata(own), flags, steps, None).unwrap();
    let mut metadata = Metadata::new();
    levels
        .settle(base(), 1, Start::Noise)
        .unwrap()
        .write(&mut metadata);
    metadata
}

fn refused(own: &[(&str, &str)]) -> String {
    let levels = Levels::new(&metadata(own), &SamplingFlags::default(), None, None);
    let sampling = levels.and_then(|levels| levels.settle(base(), 1, Start::Noise));
    sampling.unwrap_err().to_string()
}

fn flags(recipe: &str) -> SamplingFlags {
    SamplingFlags {
        recipe: Some(recipe.to_owned()),
        ..SamplingFlags::default()
    }
}

#[test]
fn without_a_wish_it_is_the_checkpoints() {
    assert_eq!(
        written(&[], &SamplingFlags::default(), None),
        metadata(&[
            ("scheduler", "EulerAncestralDiscreteScheduler"),
            ("steps", "1")
        ])
    );
}

#[test]
fn the_record_wins_then_its_recipe_then_the_flags_then_theirs() {
    assert_eq!(
        written(&[], &flags("lightning-4"), None),
        metadata(&[
            ("recipe", "lightning-4"),
            ("scheduler", "EulerDiscreteScheduler"),
            ("scheduler_set", r#"{"timestep_spacing":"trailing"}"#),
            ("steps", "4"),
        ])
    );
    let eight = written(&[], &flags("lightning-4"), Some(8));
    assert_eq!(eight["steps"], "8");
    let own = written(&[("recipe", "dmd2-4")], &flags("lightning-4"), Some(8));
    assert_eq!(own["scheduler"], "LCMScheduler");
    assert_eq!(
        (&own["steps"][..], &own["timesteps"][..]),
        ("4", "999,749,499,249")
    );
    assert!(!own.contains_key("scheduler_set"), "{own:?}");
    let own = written(
        &[("recipe", "dmd2-4"), ("steps", "2")],
        &flags("lightning-4"),
        None,
    );
    assert_eq!(own["steps"], "2");
    assert!(!own.contains_key("timesteps"), "{own:?}");
}

/// Keys and eta of a class mean nothing to another one.
#[test]
fn another_scheduler_takes_what_was_set_for_the_one_before_with_it() {
    let hyper = written(&[], &flags("hyper-1"), None);
    assert_eq!(
        (&hyper["scheduler"][..], &hyper["eta"][..]),
        ("TCDScheduler", "1")
    );
    let euler = written(&[("scheduler", "euler")], &flags("hyper-1"), None);
    assert_eq!(euler["scheduler"], "EulerDiscreteScheduler");
    assert!(!euler.contains_key("eta"), "{euler:?}");
}

/// Settings that were written are read back equal.
#[test]
fn a_short_name_with_a_meaning_of_its_own_is_told_by_its_key() {
    let own = [
        ("scheduler", "dpmpp-2m-sde"),
        ("scheduler_set", r#"{"use_karras_sigmas":true}"#),
    ];
    let once = written(&own, &SamplingFlags::default(), Some(5));
    assert_eq!(once["scheduler"], "DPMSolverMultistepScheduler");
    assert_eq!(
        once["scheduler_set"],
        r#"{"algorithm_type":"sde-dpmsolver++","use_karras_sigmas":true}"#
    );
    let pairs: Vec<_> = once
        .iter()
        .map(|(key, value)| (&key[..], &value[..]))
        .collect();
    assert_eq!(written(&pairs, &SamplingFlags::default(), None), once);
}

#[test]
fn what_cannot_be_is_named() {
    for (own, expected) in [
        (
            &[("recipe", "lightning")][..],
            "recipe: expected one of turbo, lightning-1, lightning-2",
        ),
        (
            &[("scheduler", "eular")],
            "scheduler: \"eular\" is not known, expected one of euler, euler-ancestral, heun",
        ),
        (
            &[("scheduler_set", r#"{"use_karras_sigmas":true}"#)],
            "scheduler_set: \"use_karras_sigmas\": EulerAncestralDiscreteScheduler has no such key; it has beta_end",
        ),
        (
            &[("timesteps", "999,499")],
            "EulerAncestralDiscreteScheduler: takes no list of timesteps; euler, heun,",
        ),
        (
            &[("scheduler", "lcm"), ("timesteps", "499,999")],
            "LCMScheduler: timesteps: expected each to be below the one before, found 999 after 499",
        ),
        (
            &[
                ("scheduler", "lcm"),
                ("timesteps", "999,499"),
                ("sigmas", "1,0"),
            ],
            "timesteps: expected either timesteps or sigmas, found both; leave one out",
        ),
        (
            &[
                ("scheduler", "lcm"),
                ("timesteps", "999,499"),
                ("steps", "3"),
            ],
            "steps: expected 2, as timesteps has, found 3; leave steps out",
        ),
        (
            &[("eta", "0.5")],
            "EulerAncestralDiscreteScheduler: has no eta; ddim and tcd have",
        ),
        (
            &[("eta", "2")],
            "metadata: eta: expected a number from 0 to 1, found \"2\"",
        ),
        (
            &[("steps", "2"), ("denoising_end", "0.0001")],
            "denoising_start and denoising_end: expected a step between them, found none; the steps lie at timesteps \
             [999.0, 499.0] of 1000",
        ),
        (&[("steps", "1001")], "expected 1 to 1000 steps, found 1001"),
    ] {
        let found = refused(own);
        assert!(found.starts_with(expected), "{own:?}: {found}");
    }
}

#[test]
fn a_key_is_json_or_a_string() {
    let value = |text: &str| parse_key(text).map(|(_, value)| value);
    assert_eq!(value("a=true"), Ok(json!(true)));
    assert_eq!(value("a=0.5"), Ok(json!(0.5)));
    assert_eq!(value("a=trailing"), Ok(json!("trailing")));
    assert_eq!(value("a=\"trailing\""), Ok(json!("trailing")));
    assert_eq!(value("a="), Ok(json!("")));
    assert!(value("a").is_err() && value("=1").is_err());
}
