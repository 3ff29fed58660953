use super::*;

fn text(key: &str, text: &str) -> Result<String, String> {
    let setting = Setting::of(key).unwrap();
    setting.of_text(text).map_err(|wrong| wrong.to_string())
}

fn json(key: &str, json: &str) -> Result<Option<String>, String> {
    let setting = Setting::of(key).unwrap();
    let value = serde_json::from_str(json).unwrap();
    setting.of_json(&value).map_err(|wrong| wrong.to_string())
}

#[test]
fn null_is_not_there_for_every_setting() {
    for setting in SETTINGS {
        assert_eq!(setting.of_json(&Json::Null), Ok(None), "{}", setting.key);
    }
}

#[test]
fn a_whole_number_may_have_a_point() {
    let seven = || Some("7".to_owned());
    for setting in SETTINGS {
        if matches!(setting.value, Type::Whole(..)) {
            assert_eq!(setting.of_text("7.0"), Ok("7".to_owned()));
            assert_eq!(setting.of_json(&Json::from(7.0)), Ok(seven()));
            assert_eq!(setting.of_json(&Json::from(7)), Ok(seven()));
            assert!(setting.of_json(&Json::from(7.5)).is_err());
        }
    }
    assert_eq!(text("width", "512.0"), Ok("512".to_owned()));
    assert_eq!(
        json("seed", "18446744073709551615"),
        Ok(Some(u64::MAX.to_string()))
    );
}

#[test]
fn values_keep_the_text_that_the_user_wrote() {
    assert_eq!(json("guidance_scale", "1.50"), Ok(Some("1.5".to_owned())));
    assert_eq!(text("guidance_scale", "1.50"), Ok("1.50".to_owned()));
    assert_eq!(json("id", "12"), Ok(Some("12".to_owned())));
    assert_eq!(
        json("original_size", "\"1024x768\""),
        Ok(Some("1024x768".to_owned()))
    );
    assert_eq!(json("prompt", "\"\""), Ok(Some(String::new())));
}

#[test]
fn what_cannot_be_says_what_can() {
    for (key, value, expected) in [
        (
            "seed",
            "-1",
            "expected a whole number from 0 to 2^64 - 1, found -1",
        ),
        (
            "seed",
            "1.5",
            "expected a whole number from 0 to 2^64 - 1, found 1.5",
        ),
        (
            "seed",
            "18446744073709551616",
            "expected a whole number from 0 to 2^64 - 1, found 1.8446744073709552e+19",
        ),
        ("steps", "0", "expected a whole number from 1, found 0"),
        (
            "width",
            "515",
            "expected a multiple of 8 from 8 to 16384, found 515; give 512 or 520",
        ),
        (
            "width",
            "7.0",
            "expected a multiple of 8 from 8 to 16384, found 7.0; give 8",
        ),
        (
            "height",
            "16392",
            "expected a multiple of 8 from 8 to 16384, found 16392",
        ),
        (
            "width",
            "0",
            "expected a multiple of 8 from 8 to 16384, found 0",
        ),
        (
            "guidance_scale",
            "1e39",
            "expected a finite number, found 1e+39",
        ),
        (
            "strength",
            "0",
            "expected a number above 0 and up to 1, found 0",
        ),
        (
            "strength",
            "1.01",
            "expected a number above 0 and up to 1, found 1.01",
        ),
        (
            "original_size",
            "512",
            "expected two whole numbers with an x between, such as 512x512, found 512",
        ),
        (
            "id",
            "\"\"",
            "expected a string that is not empty, found \"\"",
        ),
        ("id", "{}", "expected a string that is not empty, found {}"),
        (
            "seed",
            "\"42\"",
            "expected a whole number from 0 to 2^64 - 1, found \"42\"",
        ),
        (
            "clip_skip",
            "true",
            "expected a whole number from 0 to 2^64 - 1, found true",
        ),
        ("prompt", "7", "expected a string, found 7"),
    ] {
        assert_eq!(json(key, value), Err(expected.to_owned()), "{key}");
    }
    for (key, value) in [
        ("crops_top_left", "1x2x3"),
        ("crops_top_left", "-1x2"),
        ("crops_top_left", "1x4294967296"),
        ("guidance_scale", "inf"),
        ("guidance_scale", "NaN"),
        ("steps", "two"),
    ] {
        assert!(text(key, value).is_err(), "{key}");
    }
}

#[test]
fn a_flag_takes_what_a_record_takes() {
    assert_eq!(parse::<usize>(keys::STEPS)("4.0"), Ok(4));
    let wrong = parse::<usize>(keys::WIDTH)("515").unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "expected a multiple of 8 from 8 to 16384, found 515; give 512 or 520"
    );
}

#[test]
fn lists_and_objects() {
    assert_eq!(
        json("timesteps", "[999, 749.5, 1e1]"),
        Ok(Some("999,749.5,10.0".to_owned()))
    );
    assert_eq!(text("timesteps", "999, 749"), Ok("999,749".to_owned()));
    for bad in ["", "999,", "999;749", "1,inf", "1,two"] {
        assert!(text("sigmas", bad).is_err(), "{bad}");
    }
    for bad in ["\"999,749\"", "[\"999\"]", "999", "[null]", "[]"] {
        assert!(json("timesteps", bad).is_err(), "{bad}");
    }
    let object = "{\"use_karras_sigmas\":true}";
    assert_eq!(json("scheduler_set", object), Ok(Some(object.to_owned())));
    assert_eq!(
        text("scheduler_set", "{ \"use_karras_sigmas\" :true}"),
        Ok(object.to_owned())
    );
    assert_eq!(
        json("scheduler_set", "[1]"),
        Err("expected a JSON object, found [1]".to_owned())
    );
    assert_eq!(json("eta", "0"), Ok(Some("0".to_owned())));
    assert_eq!(
        json("eta", "1.5"),
        Err("expected a number from 0 to 1, found 1.5".to_owned())
    );
}

#[test]
fn each_key_stands_in_the_table_once() {
    for setting in SETTINGS {
        let same = SETTINGS.iter().filter(|other| other.key == setting.key);
        assert_eq!(same.count(), 1, "{}", setting.key);
    }
}

#[test]
fn a_list_may_be_one_text_in_a_record() {
    let list = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(json("lora", r#"["a=1", "b"]"#), list(r#"["a=1","b"]"#));
    assert_eq!(json("lora", r#""a \"b\"""#), list(r#"["a \"b\""]"#));
    assert_eq!(json("lora", "[]"), list("[]"));
    assert_eq!(super::list(r#"["a=1","b"]"#), ["a=1", "b"]);
    assert_eq!(list_of(["a", "b"]).as_deref(), Some(r#"["a","b"]"#));
    assert_eq!(list_of([] as [&str; 0]), None);
    for wrong in ["7", r#"["a", 7]"#, "{}"] {
        let wrong = json("lora", wrong).unwrap_err();
        assert!(wrong.starts_with("expected a list of strings"), "{wrong}");
    }
    assert!(text("lora", "a").is_err());
}

#[test]
fn a_word_is_one_of_a_few() {
    assert_eq!(json("weighted", r#""scale""#), Ok(Some("scale".to_owned())));
    for wrong in [r#""twice""#, "true", r#""Blend""#] {
        let wrong = json("weighted", wrong).unwrap_err();
        assert!(
            wrong.starts_with("expected blend or scale, found"),
            "{wrong}"
        );
    }
}
