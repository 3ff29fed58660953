use super::*;
use crate::{Steps, build};
use serde_json::json;

fn message(config: &Value) -> String {
    let config = SchedulerConfig::from_json(config).unwrap();
    build(&config, &Steps::count(4)).err().unwrap().to_string()
}

fn set(class: &str, key: &str, value: Value) -> String {
    let config = SchedulerConfig::from_json(&json!({"prediction_type": "epsilon"})).unwrap();
    let config = config.with_class(class).unwrap().with_key(key, value);
    build(&config, &Steps::count(4)).err().unwrap().to_string()
}

#[test]
fn errors_name_key_and_value() {
    assert!(message(&json!({"_class_name": "VQDiffusionScheduler"})).starts_with(
        "scheduler_config.json: _class_name: \"VQDiffusionScheduler\" is not supported, expected \
         \"EulerDiscreteScheduler\" or \"EulerAncestralDiscreteScheduler\""
    ));
    assert_eq!(
        message(&json!({"prediction_type": "sample"})),
        "scheduler_config.json: prediction_type: \"sample\" is not supported, expected \"epsilon\" or \
         \"v_prediction\""
    );
    assert_eq!(
        message(&json!({"beta_schedule": "cubic"})),
        "scheduler_config.json: beta_schedule: \"cubic\" is not supported, expected \"linear\" or \
         \"scaled_linear\" or \"squaredcos_cap_v2\""
    );
    assert_eq!(
        message(&json!({"beta_start": "0.1"})),
        "scheduler_config.json: beta_start: expected a number, found \"0.1\""
    );
    assert_eq!(
        message(&json!({"trained_betas": [0.1, 0.2]})),
        "scheduler_config.json: trained_betas: [0.1,0.2] is not supported, expected 1000 values \
         (num_train_timesteps)"
    );
    assert_eq!(
        message(&json!({"num_train_timesteps": 0})),
        "scheduler_config.json: num_train_timesteps: 0 is not supported, expected 1 to 1000000"
    );
    assert_eq!(
        message(&json!({"num_train_timesteps": -3})),
        "scheduler_config.json: num_train_timesteps: expected a whole number, found -3"
    );
    assert_eq!(
        message(&json!({"timestep_spacing": 7})),
        "scheduler_config.json: timestep_spacing: 7 is not supported, expected \"linspace\" or \"leading\" or \
         \"trailing\""
    );
    let list = SchedulerConfig::from_json(&json!([1])).unwrap_err();
    assert_eq!(
        list.to_string(),
        "scheduler_config.json: content: expected an object, found [1]"
    );
}

#[test]
fn what_is_set_is_named_as_such() {
    assert_eq!(
        set("euler", "use_karras_sigmas", json!("yes")),
        "scheduler_set: use_karras_sigmas: expected true or false, found \"yes\""
    );
    assert_eq!(
        set("euler-ancestral", "use_karras_sigmas", json!(true)),
        "scheduler_set: \"use_karras_sigmas\": EulerAncestralDiscreteScheduler has no such key; it has \
         beta_end, beta_schedule, beta_start, num_train_timesteps, prediction_type, rescale_betas_zero_snr, \
         steps_offset, timestep_spacing, trained_betas"
    );
}

#[test]
fn a_name_of_either_kind_is_a_class() {
    let config = SchedulerConfig::from_json(&json!({})).unwrap();
    assert_eq!(config.name().unwrap(), "euler-ancestral");
    for name in ["euler", "EulerDiscreteScheduler"] {
        assert_eq!(
            config.clone().with_class(name).unwrap().name().unwrap(),
            "euler"
        );
    }
    let error = config.with_class("eular").unwrap_err().to_string();
    assert!(
        error.starts_with(
            "scheduler: \"eular\" is not known, expected one of euler, euler-ancestral"
        ),
        "{error}"
    );
}

/// A file of a class that is not here serves for another one.
#[test]
fn another_class_takes_what_the_file_states() {
    let config = SchedulerConfig::from_json(&json!({
        "_class_name": "VQDiffusionScheduler", "num_train_timesteps": 10, "beta_start": 0.1,
        "_use_default_values": ["beta_start"], "beta_end": "left alone by none",
    }))
    .unwrap();
    let error = build(&config.with_class("euler").unwrap(), &Steps::count(11));
    assert_eq!(
        error.err().unwrap().to_string(),
        "scheduler_config.json: beta_end: expected a number, found \"left alone by none\""
    );
}
