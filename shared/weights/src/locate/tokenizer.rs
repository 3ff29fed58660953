//! The files of a CLIP tokenizer.

use super::tree::Tree;
use crate::Result;
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
    /// The files' names.
    pub(crate) const NAMES: [&str; 4] = [
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];

    /// Whether the tokenizer's two main files are there.
    pub(crate) fn are_in(tree: &Tree, folder: &str) -> bool {
        ["vocab.json", "merges.txt"]
            .iter()
            .all(|file| tree.has(&format!("{folder}/{file}")))
    }

    pub(crate) fn read(tree: &Tree, folder: &str, fix: &str) -> Result<Self> {
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
