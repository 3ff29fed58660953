//! Weighted and long prompts against their definition in code (`make_weighted.py`).

use encode_text::clip_tokenizer::ClipTokenizer;
use encode_text::weighted::{Piece, chunks, pieces};
use serde_json::Value;
use turbo_testkit::shared_dir;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../golden/weighted.json")).unwrap()
}

fn close(found: f32, expected: f64) -> bool {
    // A product of factors may differ by the order of its multiplications.
    (f64::from(found) - expected).abs() <= 1e-6 * expected.abs()
}

#[test]
fn pieces_and_weights_as_defined() {
    for case in cases() {
        let prompt = case["prompt"].as_str().unwrap();
        let (found, expected) = (pieces(prompt), case["pieces"].as_array().unwrap());
        assert_eq!(found.len(), expected.len(), "{prompt:?}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            match found {
                Piece::Break => assert!(expected[0].is_null(), "{prompt:?}: {expected}"),
                Piece::Text { text, weight } => {
                    assert_eq!(Some(&text[..]), expected[0].as_str(), "{prompt:?}");
                    let expected = expected[1].as_f64().unwrap();
                    assert!(close(*weight, expected), "{prompt:?}: {weight}, {expected}");
                }
            }
        }
    }
}

#[test]
fn chunks_of_both_tokenizers_as_defined() {
    let Some(shared) = shared_dir() else { return };
    let open = |part: &str| {
        let files = crate::files(&shared.join("data/clip-tokenizer").join(part));
        ClipTokenizer::new(&files, 77).unwrap()
    };
    let tokenizers = [open("tokenizer"), open("tokenizer_2")];
    for case in cases() {
        let prompt = case["prompt"].as_str().unwrap();
        for (n, tokenizer) in tokenizers.iter().enumerate() {
            let found = chunks(prompt, tokenizer.room(), |text| tokenizer.tokens(text)).unwrap();
            let ids: Vec<_> = found.iter().map(|chunk| chunk.ids.clone()).collect();
            let expected: Vec<Vec<u32>> = serde_json::from_value(case["ids"][n].clone()).unwrap();
            assert_eq!(ids, expected, "tokenizer {}, {prompt:?}", n + 1);

            let runs: Vec<Vec<(f64, usize)>> =
                serde_json::from_value(case["weights"][n].clone()).unwrap();
            for (chunk, runs) in found.iter().zip(runs) {
                let expected = runs.iter().flat_map(|&(w, n)| std::iter::repeat_n(w, n));
                let mut pairs = chunk.weights.iter().zip(expected);
                assert!(pairs.all(|(&w, e)| close(w, e)), "{prompt:?}");
            }
        }
    }
}
