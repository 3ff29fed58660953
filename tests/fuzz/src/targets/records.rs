//! Records: lines of JSON.

use serde_json::Value;

/// Reads one, and holds it against the JSON.
pub(super) fn run(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else {
        return;
    };
    match encode_text::fuzz::record(line) {
        Ok((prompt, metadata)) => {
            let json: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(json["prompt"], Value::String(prompt));
            for (key, value) in &metadata {
                assert!(json.get(key).is_some(), "{key}");
                match &key[..] {
                    "seed" | "record_index" | "picture_index" | "steps" | "images" => {
                        value.parse::<u64>().expect("a whole number");
                    }
                    "width" | "height" => {
                        let side: u64 = value.parse().expect("a whole number");
                        assert!(side.is_multiple_of(8) && (8..=16384).contains(&side));
                    }
                    "guidance_scale" | "strength" => {
                        assert!(value.parse::<f32>().expect("a number").is_finite());
                    }
                    "id" => assert!(!value.is_empty()),
                    _ => {}
                }
            }
        }
        Err(text) => assert!(text.len() < 2000, "{text}"),
    }
}
