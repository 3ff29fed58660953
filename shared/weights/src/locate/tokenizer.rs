//! The files of a CLIP tokenizer.

use super::tree::Tree;
use crate::{Error, Result};
use serde_json::Value;

/// The files of a CLIP tokenizer, unparsed but for the JSON.
#[derive(Clone, Debug)]
pub struct TokenizerFiles {
    /// `vocab.json`: a JSON object, piece to id.
    pub vocab: String,
    /// `merges.txt`: a version line, then a pair a line.
    pub merges: String,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Value,
    /// `special_tokens_map.json`; null where there is none, as newer transformers do without it.
    pub special_tokens_map: Value,
}

impl TokenizerFiles {
    /// The one file that transformers 5 saves in place of `vocab.json`, `merges.txt` and `special_tokens_map.json`.
    pub const WHOLE: &str = "tokenizer.json";

    /// The files' names.
    pub const NAMES: [&str; 4] = [
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];

    /// Whether the tokenizer's two main files are there, or the one that stands for them.
    pub(crate) fn are_in(tree: &Tree, folder: &str) -> bool {
        let has = |file: &str| tree.has(&format!("{folder}/{file}"));
        has("vocab.json") && has("merges.txt") || has(Self::WHOLE)
    }

    pub(crate) fn read(tree: &Tree, folder: &str, fix: &str) -> Result<Self> {
        let has = |file: &str| tree.has(&format!("{folder}/{file}"));
        if !has("vocab.json") && has(Self::WHOLE) {
            return Self::read_whole(tree, folder, fix);
        }
        let special = format!("{folder}/special_tokens_map.json");
        Ok(Self {
            vocab: tree.text(&format!("{folder}/vocab.json"), fix)?,
            merges: tree.text(&format!("{folder}/merges.txt"), fix)?,
            tokenizer_config: tree.json(&format!("{folder}/tokenizer_config.json"), fix)?,
            special_tokens_map: if tree.has(&special) {
                tree.json(&special, fix)?
            } else {
                Value::Null
            },
        })
    }
}

impl TokenizerFiles {
    /// Takes `tokenizer.json` apart. What is added to the vocabulary stands in it, where older files have it in
    /// `added_tokens_decoder` of `tokenizer_config.json`.
    fn read_whole(tree: &Tree, folder: &str, fix: &str) -> Result<Self> {
        let file = format!("{folder}/{}", Self::WHOLE);
        let whole = tree.json(&file, fix)?;
        let config = format!("{folder}/tokenizer_config.json");
        Self::of_whole(&whole, tree.json(&config, fix)?).map_err(|reason| Error::BadJson {
            path: tree.path(&file),
            reason: format!("{reason}; expected CLIP's tokenizer"),
        })
    }

    /// Takes apart what is in a `tokenizer.json`, beside a `tokenizer_config.json`.
    ///
    /// # Errors
    /// What is no CLIP tokenizer about it.
    pub fn of_whole(
        whole: &Value,
        mut tokenizer_config: Value,
    ) -> std::result::Result<Self, &'static str> {
        let model = &whole["model"];
        if model["end_of_word_suffix"] != "</w>" {
            return Err("`model.end_of_word_suffix` is not \"</w>\"");
        }
        if !model["vocab"].is_object() {
            return Err("`model.vocab` is no object");
        }
        let pairs = model["merges"]
            .as_array()
            .ok_or("`model.merges` is no list")?;
        let mut merges = "#version: 0.2\n".to_owned();
        for pair in pairs {
            let text = match pair {
                Value::String(text) => text.clone(), // as older versions write it
                pair => match (pair[0].as_str(), pair[1].as_str()) {
                    (Some(left), Some(right)) => format!("{left} {right}"),
                    _ => return Err("`model.merges` has something that is no pair"),
                },
            };
            merges.push_str(&text);
            merges.push('\n');
        }
        if tokenizer_config
            .get("added_tokens_decoder")
            .is_none_or(Value::is_null)
        {
            let mut decoder = serde_json::Map::new();
            for token in whole["added_tokens"].as_array().into_iter().flatten() {
                decoder.insert(token["id"].to_string(), token.clone());
            }
            tokenizer_config["added_tokens_decoder"] = decoder.into();
        }
        Ok(Self {
            vocab: model["vocab"].to_string(),
            merges,
            tokenizer_config,
            special_tokens_map: Value::Null,
        })
    }
}

/// The folder of tokenizer 1 or 2.
///
/// # Panics
/// For any other number: SDXL has two.
pub(crate) fn folder(n: u8) -> &'static str {
    match n {
        1 => "tokenizer",
        2 => "tokenizer_2",
        _ => panic!("tokenizer {n}: SDXL has tokenizers 1 and 2"),
    }
}
