//! A vocabulary of single letters, for checkpoints that have to be complete wherever they are made.

use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Writes `tokenizer/` and `tokenizer_2/`: CLIP's byte-level BPE with the 256 bytes, alone and at a word's end, and no
/// merges, so that a prompt is spelled letter by letter. The special tokens have the published ids.
///
/// # Panics
/// If they cannot be written.
pub fn letter_tokenizers(folder: impl AsRef<Path>) {
    let mut vocabulary = Map::new();
    for end in ["", "</w>"] {
        for letter in letters() {
            vocabulary.insert(format!("{letter}{end}"), json!(vocabulary.len()));
        }
    }
    vocabulary.insert("<|startoftext|>".to_owned(), json!(49406));
    vocabulary.insert("<|endoftext|>".to_owned(), json!(49407));
    for (part, pad) in [("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")] {
        let special = json!({
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "pad_token": pad,
            "unk_token": "<|endoftext|>",
        });
        let mut config = special.clone();
        config["model_max_length"] = json!(77);
        config["tokenizer_class"] = json!("CLIPTokenizer");
        let folder = folder.as_ref().join(part);
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        };
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        write("vocab.json", Value::Object(vocabulary.clone()).to_string());
        write("merges.txt", "#version: 0.2\n".to_owned());
        write("tokenizer_config.json", config.to_string());
        write("special_tokens_map.json", special.to_string());
    }
}

/// The letters that stand for the bytes 0 to 255 in a byte-level vocabulary, in CLIP's order: the printable ones as
/// they are, `!` first, and the others moved up to where letters are printable.
fn letters() -> impl Iterator<Item = char> {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255u8).filter(move |b| !printable(b)).count() as u32;
    (0..=255u8)
        .filter(printable)
        .map(char::from)
        .chain((0..others).filter_map(|n| char::from_u32(256 + n)))
}
