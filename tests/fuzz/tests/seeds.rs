//! Seeds get far, so that mutations begin where much has been read.
#![allow(missing_docs)]

use clap::Parser;
use fetch_model::Args;
use fetch_model::fuzz::{Outcome, run};
use std::fs;
use std::path::Path;

fn outcome(name: &str) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus/http")
        .join(name);
    let input = fs::read(path).unwrap();
    let answers: Vec<&[u8]> = input[1..].split(|&byte| byte == 0x1e).collect();
    let cache = tempfile::tempdir().unwrap();
    let words: &[&str] = match input[0] {
        0 => &["o/n", "a.json"],
        1 => &["o/n", "b/c.safetensors", "a.json"],
        _ => &["o/n", "--only", "scheduler"],
    };
    let words = ["fetch-model", "--retries", "0"].iter().chain(words);
    run(&Args::parse_from(words), cache.path(), &answers)
}

#[test]
fn answers_of_servers() {
    for name in [
        "small",
        "large",
        "pages",
        "chunked",
        "wrong-once",
        "scheduler",
    ] {
        let outcome = outcome(name);
        assert!(outcome.result.is_ok(), "{name}: {outcome:?}");
    }
    for (name, said) in [
        ("unencrypted", "unencrypted http"),
        ("climbing", "no path inside a repository"),
        ("refused", "is gated"),
    ] {
        let error = outcome(name).result.unwrap_err().to_string();
        assert!(error.contains(said), "{name}: {error}");
    }
}
