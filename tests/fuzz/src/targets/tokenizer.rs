//! Tokenizers: the pieces of an input, with a byte 0x1e between them, are `vocab.json`, `merges.txt`,
//! `tokenizer_config.json` and prompts.
//!
//! Where there is no vocabulary, it is made of the merges as CLIP's was; and where there is no configuration either, the
//! tokenizers crate is asked for the same by `tokenizer.json`.

use encode_text::clip_tokenizer::ClipTokenizer;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use turbo_weights::TokenizerFiles;

const BOS: &str = "<|startoftext|>";
const EOS: &str = "<|endoftext|>";
/// CLIP's pattern, as transformers 5 writes it into `tokenizer.json`.
const PIECES: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Builds the tokenizer, and tokenizes the prompts.
pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split('\u{1e}');
    let mut part = || parts.next().unwrap_or_default();
    let (vocab, merges, config) = (part(), part(), part());
    let made = vocab.is_empty();
    let vocab = if made {
        vocabulary(merges).to_string()
    } else {
        vocab.to_owned()
    };
    let config: Option<Value> = serde_json::from_str(config).ok();
    let comparable = made && config.is_none();
    let files = TokenizerFiles {
        vocab,
        merges: merges.to_owned(),
        tokenizer_config: config.unwrap_or_else(|| json!({"pad_token": "!"})),
        special_tokens_map: Value::Null,
    };
    let ours = match ClipTokenizer::new(&files, 77) {
        Ok(ours) => ours,
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2000, "{text}");
            return;
        }
    };
    let theirs = comparable.then(|| whole(&files, merges));
    for prompt in parts {
        let found = ours.encode(prompt).expect("every text has tokens");
        let tokens = ours.tokens(prompt).expect("every text has tokens");
        assert_eq!(found.ids.len(), ours.length());
        let kept = tokens.len().min(ours.room());
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(found.ids, ours.framed(&ids[..kept]), "{prompt:?}");
        assert_eq!(found.truncated.is_some(), tokens.len() > ours.room());
        if let Some(truncated) = &found.truncated {
            assert!(prompt.ends_with(truncated.as_str()), "{truncated:?}");
        }
        let Some((same, theirs)) = &theirs else {
            continue;
        };
        let encoding = theirs.encode(prompt, false).expect("every text has tokens");
        assert_eq!(ids, encoding.get_ids(), "{prompt:?}");
        assert_eq!(same.encode(prompt).expect("as before"), found);
        let known = theirs.get_vocab_size(true) as u32;
        assert!(ids.iter().all(|&id| id < known), "{ids:?}");
    }
}

/// CLIP's: every byte, every byte at the end of a word, the merges in their order, two special tokens.
fn vocabulary(merges: &str) -> Value {
    let mut bytes: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    bytes.sort_unstable();
    let bytes: Vec<String> = bytes.into_iter().map(String::from).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}</w>"));
    let merged = pairs(merges).map(|(left, right)| format!("{left}{right}"));
    let special = [BOS, EOS].map(ToOwned::to_owned);
    let all = bytes
        .iter()
        .cloned()
        .chain(ends)
        .chain(merged)
        .chain(special);
    let mut vocabulary = Map::new();
    for piece in all {
        let id = vocabulary.len();
        vocabulary.entry(piece).or_insert(id.into());
    }
    vocabulary.into()
}

fn pairs(merges: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = merges.lines().filter(|line| !line.starts_with("#version"));
    lines.filter_map(|line| line.split_once(' '))
}

/// The same as one file: by us, and by the tokenizers crate.
fn whole(files: &TokenizerFiles, merges: &str) -> (ClipTokenizer, Tokenizer) {
    let vocab: Value = serde_json::from_str(&files.vocab).expect("made here");
    let token = |text: &str| {
        json!({"id": vocab[text], "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let merges: Vec<_> = pairs(merges)
        .map(|(left, right)| json!([left, right]))
        .collect();
    let whole = json!({
        "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "decoder": null,
        "added_tokens": [token("!"), token(BOS), token(EOS)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PIECES}, "behavior": "Removed", "invert": true}, byte_level]},
        "model": {"type": "BPE", "dropout": null, "unk_token": EOS, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges}});
    let same = TokenizerFiles::of_whole(&whole, files.tokenizer_config.clone()).expect("made here");
    let same = ClipTokenizer::new(&same, 77).expect("as by the four files");
    let theirs = Tokenizer::from_bytes(whole.to_string()).expect("the tokenizers crate takes it");
    (same, theirs)
}
