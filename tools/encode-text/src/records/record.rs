//! A record: a prompt with its settings.

use serde_json::{Map, Value};
use turbo_cli::{Error, Result};
use turbo_wire::{Metadata, keys};

/// What the tools set in every frame by themselves: it describes the frame that a record was taken from, if it was.
const OF_THE_FRAME: [&str; 4] = [keys::FORMAT, keys::KIND, keys::PRODUCER, keys::VERSION];

/// The largest side of a picture, in pixels: that of `denoise`.
const MAX_SIDE: u64 = 16384;

/// A prompt with its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) prompt: String,
    /// For the second text encoder, where it is to have another. As in diffusers, an empty one is none.
    pub(crate) prompt_2: Option<String>,
    pub(crate) negative_prompt: Option<String>,
    /// For the second text encoder, where it is to have another.
    pub(crate) negative_prompt_2: Option<String>,
    pub(crate) clip_skip: Option<usize>,
    pub(crate) model: Option<String>,
    /// Everything else, as it travels.
    pub(crate) metadata: Metadata,
}

impl Record {
    /// A prompt without settings.
    pub(crate) fn of_prompt(prompt: String) -> Self {
        Self {
            prompt,
            ..Self::default()
        }
    }

    /// Reads a line of JSON. Null stands for a setting that is not there; keys without a meaning travel on, strings
    /// as they are and anything else as JSON.
    ///
    /// # Errors
    /// It is not JSON or no object; there is no prompt; a setting has a wrong type or a value that cannot be.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let object: Map<String, Value> = match serde_json::from_str(line) {
            Ok(Value::Object(object)) => object,
            Ok(other) => {
                let other = other.to_string();
                return Err(wrong("record", "a JSON object", &other));
            }
            Err(error) => {
                // A line is all there is to it.
                let (text, column) = (error.to_string(), error.column());
                let text = text.split(" at line ").next().unwrap_or_default();
                return Err(Error::new(format_args!(
                    "expected a JSON object, found something else at column {column}: {text}"
                )));
            }
        };
        let mut record = Self::default();
        let mut prompt = None;
        for (key, value) in object {
            let known = !value.is_null();
            match &*key {
                _ if OF_THE_FRAME.contains(&&*key) => {}
                keys::PROMPT => prompt = Some(text(&key, value)?),
                keys::PROMPT_2 if known => record.prompt_2 = Some(text(&key, value)?),
                keys::NEGATIVE_PROMPT if known => {
                    record.negative_prompt = Some(text(&key, value)?);
                }
                keys::NEGATIVE_PROMPT_2 if known => {
                    record.negative_prompt_2 = Some(text(&key, value)?);
                }
                keys::CLIP_SKIP if known => {
                    record.clip_skip = Some(whole(&key, &value, 0, u64::MAX)? as usize);
                }
                keys::MODEL if known => record.model = Some(text(&key, value)?),
                _ if known || !is_setting(&key) => {
                    let value = travelling(&key, value)?;
                    record.metadata.insert(key, value);
                }
                _ => {}
            }
        }
        record.prompt =
            prompt.ok_or_else(|| Error::new("record: expected a key \"prompt\", found none"))?;
        Ok(record)
    }

    /// One of the settings that travel and are whole numbers.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.metadata.get(key)?.parse().ok()
    }
}

/// Whether the key has a meaning for one of the tools, and so a type.
fn is_setting(key: &str) -> bool {
    let own = [
        keys::ID,
        keys::SEED,
        keys::IMAGES,
        keys::STEPS,
        keys::WIDTH,
        keys::HEIGHT,
        keys::GUIDANCE_SCALE,
        keys::STRENGTH,
        keys::RECORD_INDEX,
        keys::PICTURE_INDEX,
        keys::PROMPT_2,
        keys::NEGATIVE_PROMPT,
        keys::NEGATIVE_PROMPT_2,
        keys::CLIP_SKIP,
        keys::MODEL,
    ];
    own.contains(&key)
}

/// A value as metadata.
fn travelling(key: &str, value: Value) -> Result<String> {
    match key {
        keys::ID => match value {
            Value::String(id) if id.is_empty() => {
                Err(wrong(key, "a string that is not empty", "\"\""))
            }
            Value::Number(id) => Ok(id.to_string()),
            value => text(key, value),
        },
        keys::SEED | keys::RECORD_INDEX | keys::PICTURE_INDEX => {
            Ok(whole(key, &value, 0, u64::MAX)?.to_string())
        }
        keys::STEPS | keys::IMAGES => Ok(whole(key, &value, 1, u64::MAX)?.to_string()),
        keys::WIDTH | keys::HEIGHT => {
            let side = whole(key, &value, 8, MAX_SIDE)?;
            if !side.is_multiple_of(8) {
                return Err(wrong(key, "a multiple of 8", &value.to_string()));
            }
            Ok(side.to_string())
        }
        keys::GUIDANCE_SCALE => number(key, &value, "a number", |_| true),
        keys::STRENGTH => number(key, &value, "a number above 0 and up to 1", |strength| {
            strength > 0.0 && strength <= 1.0
        }),
        _ => Ok(match value {
            Value::String(text) => text,
            other => other.to_string(),
        }),
    }
}

fn text(key: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(key, "a string", &other.to_string())),
    }
}

fn whole(key: &str, value: &Value, low: u64, high: u64) -> Result<u64> {
    let number = value.as_u64().filter(|n| (low..=high).contains(n));
    number.ok_or_else(|| {
        let expected = match (low, high) {
            (0, u64::MAX) => "a whole number from 0 to 2^64 - 1".to_owned(),
            (_, u64::MAX) => format!("a whole number from {low}"),
            _ => format!("a whole number from {low} to {high}"),
        };
        wrong(key, &expected, &value.to_string())
    })
}

fn number(key: &str, value: &Value, expected: &str, fits: fn(f64) -> bool) -> Result<String> {
    match value {
        // What denoise computes with has to be finite too.
        Value::Number(n)
            if n.as_f64()
                .is_some_and(|n| (n as f32).is_finite() && fits(n)) =>
        {
            Ok(n.to_string())
        }
        other => Err(wrong(key, expected, &other.to_string())),
    }
}

/// An error that shows at most the beginning of what was found.
fn wrong(key: &str, expected: &str, found: &str) -> Error {
    let mut shown: String = found.chars().take(40).collect();
    if shown.len() < found.len() {
        shown.push_str("...");
    }
    Error::new(format_args!("{key}: expected {expected}, found {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(line: &str) -> Vec<(String, String)> {
        Record::parse(line).unwrap().metadata.into_iter().collect()
    }

    fn refused(line: &str) -> String {
        Record::parse(line).unwrap_err().to_string()
    }

    #[test]
    fn settings_travel_as_text_and_other_keys_as_they_are() {
        let line = r#"{"prompt": "a", "id": "x/1", "seed": 18446744073709551615, "steps": 4, "width": 640,
            "height": 8, "guidance_scale": 1.50, "strength": 1, "images": 2, "mood": "wild \"\n狐", "tags": ["a", {"b": 1}],
            "ok": true, "none": null, "n": 7, "record_index": 0}"#
            .replace('\n', " ");
        let expected = [
            ("guidance_scale", "1.5"),
            ("height", "8"),
            ("id", "x/1"),
            ("images", "2"),
            ("mood", "wild \"\n狐"),
            ("n", "7"),
            ("none", "null"),
            ("ok", "true"),
            ("record_index", "0"),
            ("seed", "18446744073709551615"),
            ("steps", "4"),
            ("strength", "1"),
            ("tags", r#"["a",{"b":1}]"#),
            ("width", "640"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(metadata(&line), expected);
        assert_eq!(metadata(r#"{"prompt": "", "id": 12}"#)[0].1, "12");
    }

    #[test]
    fn what_the_encoders_take_is_taken_out() {
        let line = r#"{"prompt": "a", "prompt_2": "b", "negative_prompt": "", "negative_prompt_2": "c",
            "clip_skip": 2, "model": "demo"}"#;
        let record = Record::parse(line).unwrap();
        assert_eq!(record.prompt, "a");
        assert_eq!(record.prompt_2.as_deref(), Some("b"));
        assert_eq!(record.negative_prompt.as_deref(), Some(""));
        assert_eq!(record.negative_prompt_2.as_deref(), Some("c"));
        assert_eq!(record.clip_skip, Some(2));
        assert_eq!(record.model.as_deref(), Some("demo"));
        assert!(record.metadata.is_empty());
    }

    #[test]
    fn null_is_a_setting_that_is_not_there_and_a_frames_own_keys_are_left_out() {
        let line = r#"{"prompt": "a", "prompt_2": null, "seed": null, "id": null, "model": null, "clip_skip": null,
            "kind": "image", "format": "pt", "version": "1", "producer": "denoise 1"}"#;
        assert_eq!(
            Record::parse(line).unwrap(),
            Record::of_prompt("a".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        assert_eq!(
            refused("{\"prompt\": \"a\""),
            "expected a JSON object, found something else at column 14: EOF while parsing an object"
        );
        assert_eq!(
            refused("a red fox"),
            "expected a JSON object, found something else at column 1: expected value"
        );
        assert_eq!(
            refused(r#"{"prompt": "a"} {}"#),
            "expected a JSON object, found something else at column 17: trailing characters"
        );
        assert_eq!(
            refused(r#"["a"]"#),
            r#"record: expected a JSON object, found ["a"]"#
        );
        for line in ["{}", r#"{"Prompt": "a"}"#] {
            assert_eq!(
                refused(line),
                "record: expected a key \"prompt\", found none"
            );
        }
        for (setting, expected) in [
            (r#""prompt": null"#, "prompt: expected a string, found null"),
            (r#""prompt": 7"#, "prompt: expected a string, found 7"),
            (
                r#""prompt_2": ["b"]"#,
                r#"prompt_2: expected a string, found ["b"]"#,
            ),
            (
                r#""seed": -1"#,
                "seed: expected a whole number from 0 to 2^64 - 1, found -1",
            ),
            (
                r#""seed": 1.0"#,
                "seed: expected a whole number from 0 to 2^64 - 1, found 1.0",
            ),
            (
                r#""seed": "42""#,
                r#"seed: expected a whole number from 0 to 2^64 - 1, found "42""#,
            ),
            (
                r#""seed": 18446744073709551616"#,
                "seed: expected a whole number from 0 to 2^64 - 1, found 1.8446744073709552e+19",
            ),
            (
                r#""steps": 0"#,
                "steps: expected a whole number from 1, found 0",
            ),
            (
                r#""width": 515"#,
                "width: expected a multiple of 8, found 515",
            ),
            (
                r#""height": 16392"#,
                "height: expected a whole number from 8 to 16384, found 16392",
            ),
            (
                r#""guidance_scale": 1e39"#,
                "guidance_scale: expected a number, found 1e+39",
            ),
            (
                r#""strength": 0"#,
                "strength: expected a number above 0 and up to 1, found 0",
            ),
            (
                r#""id": """#,
                r#"id: expected a string that is not empty, found """#,
            ),
            (r#""id": {}"#, "id: expected a string, found {}"),
            (
                r#""clip_skip": true"#,
                "clip_skip: expected a whole number from 0 to 2^64 - 1, found true",
            ),
        ] {
            assert_eq!(
                refused(&format!(r#"{{"prompt": "a", {setting}}}"#)),
                expected
            );
        }
        let long = format!(r#"{{"prompt": "a", "seed": "{}"}}"#, "x".repeat(1000));
        assert!(refused(&long).ends_with("xxx..."));
    }
}
