//! A record: a prompt with its settings.

use crate::textual_inversion::EmbeddingArg;
use crate::weighted::Weighting;
use serde_json::{Map, Value};
use std::str::FromStr;
use turbo_cli::{Context, Error, Result};
use turbo_wire::settings::{self, Place, Setting};
use turbo_wire::{Metadata, keys};

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
    pub(crate) weighted: Option<Weighting>,
    pub(crate) model: Option<String>,
    /// Textual inversions, each as a flag has it.
    pub(crate) embeddings: Option<Vec<EmbeddingArg>>,
    /// LoRA files, as [`keys::LORA`] has them.
    pub(crate) loras: Option<String>,
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
                let shown: String = other.to_string().chars().take(80).collect();
                return Err(Error::new(format_args!(
                    "record: expected a JSON object, found {shown}"
                )));
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
        let mut metadata = Metadata::new();
        // A name that looks like a number is rounded as one.
        let exact = object.get(keys::ID).is_some_and(Value::is_f64);
        for (key, value) in object {
            let text = match Setting::of(&key) {
                Some(setting) if setting.place == Place::Frame => None,
                Some(setting) => setting.of_json(&value).context(&key)?,
                None => Some(match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                }),
            };
            if let Some(text) = text {
                metadata.insert(key, text);
            }
        }
        if exact {
            let digits = digits(line, keys::ID).map(ToOwned::to_owned);
            metadata.extend(digits.map(|digits| (keys::ID.to_owned(), digits)));
        }
        let prompt = metadata.remove(keys::PROMPT);
        Ok(Self {
            prompt: prompt
                .ok_or_else(|| Error::new("record: expected a key \"prompt\", found none"))?,
            prompt_2: metadata.remove(keys::PROMPT_2),
            negative_prompt: metadata.remove(keys::NEGATIVE_PROMPT),
            negative_prompt_2: metadata.remove(keys::NEGATIVE_PROMPT_2),
            clip_skip: metadata
                .remove(keys::CLIP_SKIP)
                .and_then(|layers| layers.parse().ok()),
            weighted: metadata
                .remove(keys::WEIGHTED)
                .and_then(|name| Weighting::named(&name)),
            model: metadata.remove(keys::MODEL),
            loras: metadata.remove(keys::LORA),
            embeddings: metadata
                .remove(keys::EMBEDDING)
                .map(|list| parsed(keys::EMBEDDING, &list))
                .transpose()?,
            metadata,
        })
    }

    /// One of the settings that travel and are whole numbers.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.metadata.get(key)?.parse().ok()
    }
}

/// The items of a list, each as a flag has it.
fn parsed<T: FromStr<Err = String>>(key: &str, list: &str) -> Result<Vec<T>> {
    let items = settings::list(list);
    let parse = |item: String| {
        let wrong = |expected| Error::new(format_args!("{expected}, found {item:?}"));
        item.parse().map_err(wrong).context(key)
    };
    items.into_iter().map(parse).collect()
}

/// The digits of a number as they stand in a line of JSON that is known to be an object.
fn digits<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let bytes = line.as_bytes();
    let (mut at, mut depth, mut found) = (0, 0, None);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let begin = at + 1;
                at = begin;
                while *bytes.get(at)? != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                let after = line[at + 1..].trim_start();
                // A string that is a value has no colon behind it.
                if let (1, Some(value)) = (depth, after.strip_prefix(':'))
                    && &line[begin..at] == key
                {
                    let value = value.trim_start();
                    let end =
                        value.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
                    found = Some(&value[..end.unwrap_or(value.len())]);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found.filter(|digits| !digits.is_empty())
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
    fn a_number_as_id_keeps_its_digits() {
        for id in [
            "7",
            "007.0",
            "1.10",
            "1e2",
            "-0.0",
            "12345678901234567890123",
            "0.1234567890123456789",
        ] {
            let line = format!(
                r#"{{"a": ["id", {{"id": 5}}], "b": "id", "id" : {id}, "prompt": "\"id\": 3"}}"#
            );
            let Ok(record) = Record::parse(&line) else {
                assert_eq!(id, "007.0", "no JSON");
                continue;
            };
            assert_eq!(record.metadata["id"], id);
        }
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
            "original_size": null, "vae": null, "scheduler": null, "kind": "image", "format": "pt", "version": "1", "producer": "denoise 1"}"#;
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
        for line in ["{}", r#"{"Prompt": "a"}"#, r#"{"prompt": null}"#] {
            assert_eq!(
                refused(line),
                "record: expected a key \"prompt\", found none"
            );
        }
        for (setting, expected) in [
            (r#""prompt": 7"#, "prompt: expected a string, found 7"),
            (
                r#""seed": "42""#,
                r#"seed: expected a whole number from 0 to 2^64 - 1, found "42""#,
            ),
            (
                r#""width": 515"#,
                "width: expected a multiple of 8 from 8 to 16384, found 515; give 512 or 520",
            ),
            (
                r#""original_size": 512"#,
                "original_size: expected two whole numbers with an x between, such as 512x512, found 512",
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
