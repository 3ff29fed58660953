//! Token ids against transformers' (`make_tokens.py`) and against the project's golden file.

use encode_text::clip_tokenizer::ClipTokenizer;
use encode_text::weighted::chunks;
use serde_json::{Value, json};
use std::path::Path;
use turbo_testkit::{golden, golden_cases, shared_dir};
use turbo_weights::TokenizerFiles;

mod weighted;

fn files(folder: &Path) -> TokenizerFiles {
    let text = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    TokenizerFiles {
        vocab: text("vocab.json"),
        merges: text("merges.txt"),
        tokenizer_config: serde_json::from_str(&text("tokenizer_config.json")).unwrap(),
        special_tokens_map: serde_json::from_str(&text("special_tokens_map.json")).unwrap(),
    }
}

/// Both tokenizers of a folder of the shared data.
fn both(name: &str) -> Option<[ClipTokenizer; 2]> {
    let folder = shared_dir()?.join("data").join(name);
    let open = |part: &str| ClipTokenizer::new(&files(&folder.join(part)), 77).unwrap();
    Some([open("tokenizer"), open("tokenizer_2")])
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../golden/tokens.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn compare(folder: &str, name: &str, length: usize, pads: [u32; 2]) {
    let Some(tokenizers) = both(folder) else {
        return;
    };
    let cases = &expected()[name];
    for case in cases.as_array().unwrap() {
        let prompt = case["prompt"].as_str().unwrap();
        for (n, tokenizer) in tokenizers.iter().enumerate() {
            let mut expected = ids(&case["ids"][n]);
            expected.resize(length, pads[n]);
            let found = tokenizer.encode(prompt).unwrap();
            assert_eq!(found.ids, expected, "tokenizer {}, {prompt:?}", n + 1);
        }
    }
}

#[test]
fn clips_vocabulary_as_transformers() {
    compare("clip-tokenizer", "clip", 77, [49407, 0]);
}

#[test]
fn a_small_vocabulary_as_transformers() {
    compare("prototype", "prototype", 32, [1358, 0]);
}

/// Tokens of several vectors, which diffusers makes several tokens of.
#[test]
fn added_tokens_as_diffusers() {
    let Some(mut tokenizers) = both("clip-tokenizer") else {
        return;
    };
    let expected: Value =
        serde_json::from_str(include_str!("../golden/added_tokens.json")).unwrap();
    for (n, tokenizer) in tokenizers.iter_mut().enumerate() {
        let tokens: Vec<(String, usize)> =
            serde_json::from_value(expected["tokens"].clone()).unwrap();
        let mut first = 49408;
        for (token, vectors) in &tokens {
            let ids = tokenizer.add_token(token, *vectors).unwrap();
            assert_eq!(ids, first..first + *vectors as u32, "{token}");
            first = ids.end;
        }
        for case in expected["cases"].as_array().unwrap() {
            let prompt = case["prompt"].as_str().unwrap();
            let found = tokenizer.encode(prompt).unwrap();
            assert_eq!(
                found.ids,
                ids(&case["ids"][n]),
                "tokenizer {}, {prompt:?}",
                n + 1
            );
        }
        for known in ["<thing>", "cat</w>", "<|endoftext|>"] {
            let error = tokenizer.add_token(known, 1).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{known:?} is in the vocabulary")),
                "{error}"
            );
        }
        // A token's vectors stay in one chunk.
        let filled = chunks(&format!("{}<thing>", "a ".repeat(74)), 75, |t| {
            tokenizer.tokens(t)
        });
        let sizes: Vec<_> = filled
            .unwrap()
            .iter()
            .map(|chunk| chunk.ids.len())
            .collect();
        assert_eq!(sizes, [74, 2]);
    }
}

/// Where special tokens stand, and whether they are found before or after lowercasing.
#[test]
fn special_tokens_as_transformers() {
    let expected = &expected()["made_up"];
    let cases = expected["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let files = TokenizerFiles {
            vocab: expected["vocab"].to_string(),
            merges: expected["merges"].as_str().unwrap().to_owned(),
            tokenizer_config: case["tokenizer_config"].clone(),
            special_tokens_map: case["special_tokens_map"].clone(),
        };
        let tokenizer = ClipTokenizer::new(&files, 77).unwrap();
        for (prompt, row) in expected["prompts"]
            .as_array()
            .unwrap()
            .iter()
            .zip(case["ids"].as_array().unwrap())
        {
            let prompt = prompt.as_str().unwrap();
            let found = tokenizer.encode(prompt).unwrap();
            assert_eq!(
                found.ids,
                ids(row),
                "{prompt:?} with {} and {}",
                files.tokenizer_config,
                files.special_tokens_map
            );
        }
    }
}

#[test]
fn golden_ids() {
    let Some(tokenizers) = both("clip-tokenizer") else {
        return;
    };
    let golden = golden("tiny");
    let cases = golden_cases("tiny");
    for (i, case) in cases["cases"]["text"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        for (n, tokenizer) in (1..).zip(&tokenizers) {
            let found = tokenizer.encode(case["prompt"].as_str().unwrap()).unwrap();
            let found: Vec<i64> = found.ids.into_iter().map(i64::from).collect();
            assert_eq!(
                found,
                golden[&format!("text/{i}/input_ids_{n}")].i64(),
                "case {i}, tokenizer {n}"
            );
        }
    }
}

/// The first tokenizer knows pieces of several exclamation marks; the second pads with `!`, so that each is a token.
#[test]
fn exclamation_marks() {
    let Some([first, second]) = both("clip-tokenizer") else {
        return;
    };
    let ids = |tokenizer: &ClipTokenizer| tokenizer.encode("! !! !!!").unwrap().ids;
    assert_eq!(ids(&first)[..5], [49406, 256, 748, 995, 49407]);
    assert_eq!(ids(&second)[..8], [49406, 0, 0, 0, 0, 0, 0, 49407]);
}

#[test]
fn what_is_cut_is_told_as_it_was_written() {
    let Some([first, _]) = both("clip-tokenizer") else {
        return;
    };
    let words = "Fox ".repeat(75);
    assert_eq!(first.encode(&words).unwrap().truncated, None);
    let long = format!("{words}and Žofie's  DOG");
    let found = first.encode(&long).unwrap();
    assert_eq!(found.truncated.as_deref(), Some("and Žofie's  DOG"));
    assert_eq!((found.ids.len(), found.ids[76]), (77, 49407));
    // The cut goes through a character of several bytes, each a piece.
    let found = first.encode(&format!("{}🦩", "a ".repeat(74))).unwrap();
    assert!(
        found
            .truncated
            .is_some_and(|rest| rest.is_empty() || rest == "🦩")
    );
}

fn error(vocab: &str, merges: &str, tokenizer_config: Value) -> String {
    let files = TokenizerFiles {
        vocab: vocab.to_owned(),
        merges: merges.to_owned(),
        tokenizer_config,
        special_tokens_map: Value::Null,
    };
    ClipTokenizer::new(&files, 77)
        .err()
        .expect("these files are wrong")
        .to_string()
}

#[test]
fn wrong_files_are_named() {
    let vocab = r#"{"a": 0, "b": 1, "ab": 2, "<|startoftext|>": 3, "<|endoftext|>": 4}"#;
    assert!(error("[]", "", json!({})).starts_with("vocab.json: expected a JSON object"));
    assert_eq!(
        error(vocab, "#version: 0.2\na b\nabc\n", json!({})),
        "merges.txt: line 3: expected two pieces with a space between, found \"abc\""
    );
    assert_eq!(
        error(vocab, "", json!({"pad_token": "!"})),
        "tokenizer_config.json: pad_token: the token \"!\" is not in vocab.json"
    );
    assert_eq!(
        error(vocab, "", json!({"bos_token": 7})),
        "tokenizer_config.json: bos_token: expected a token, found 7"
    );
    assert_eq!(
        error(vocab, "", json!({"model_max_length": 1})),
        "tokenizer_config.json: model_max_length: expected a number of at least 2, found 1"
    );
    assert!(error(vocab, "a c\n", json!({})).starts_with("tokenizer: "));
}
