//! Weighted and long prompts, and textual inversion.

use crate::golden::{LATENTS, TEXT};
use pipeline_tests::{Stage, frame, frames, pipe, tool};
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use turbo_testkit::{
    Tensor, golden, golden_cases, golden_dir, relative_error, shared_dir, tiny, tiny_lettered,
};
use turbo_wire::{Frame, Kind, names};

/// In the vocabulary of letters a letter is a word.
fn letters(flags: &str) -> Stage {
    tool("encode-text", flags).model(&tiny_lettered())
}

fn inversion() -> PathBuf {
    golden_dir().join("adapters/inversion.safetensors")
}

/// The one frame that comes out, and what was said.
#[track_caller]
fn encoded(stage: Stage) -> (Frame, String) {
    let ended = pipe([stage]).run();
    let found = frame(ended.ok(), Kind::TextEmbeddings);
    (found, ended.stages[0].stderr.clone())
}

#[track_caller]
fn is_expected(what: &str, found: &Frame, at: usize, golden: &HashMap<String, Tensor>) {
    for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
        let expected = &golden[&format!("{at}/{name}")];
        let shape = &found.header.tensor(name).expect("is there").shape;
        assert_eq!(*shape, expected.shape, "{what}: {name}");
        let e = relative_error(&found.to_f32(name).expect("f32"), &expected.f32());
        println!("{what}: {name} e = {e:.1e}");
        assert!(e <= TEXT, "{what}: {name}: e = {e}");
    }
}

#[test]
fn weighted_and_long_prompts_are_as_defined() {
    if shared_dir().is_none() {
        return;
    }
    let (golden, cases) = (golden("prompts"), golden_cases("prompts"));
    let cases = cases["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 9);
    for (at, case) in cases.iter().enumerate() {
        let text = |key: &str| case[key].as_str().expect("text");
        let flags = format!("--dtype f32 --weighted {}", text("mode"));
        let stage = tool("encode-text", &flags).model(&tiny());
        let stage = stage.arg("--").arg(text("prompt"));
        let (found, said) = encoded(stage);
        assert_eq!(said, "");
        assert_eq!(found.header.get("weighted"), Some(text("mode")));
        is_expected(&format!("prompt {at}"), &found, at, &golden);
    }
}

#[test]
fn without_brackets_weights_change_nothing() {
    let plain = encoded(letters("abc")).0;
    for flags in ["--weighted blend abc", "--weighted scale (abc:1)"] {
        let (found, said) = encoded(letters(flags));
        assert_eq!(said, "");
        for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
            assert!(found.bytes(name) == plain.bytes(name), "{flags}: {name}");
        }
    }
    assert_eq!(plain.header.get("weighted"), None);
}

/// 100 letters are two chunks, the other prompt is one: its second is an empty prompt's.
#[test]
fn both_prompts_are_filled_to_the_same_number_of_chunks() {
    let (empty, _) = encoded(letters("--clip-skip 1").arg(""));
    let (short, _) = encoded(letters("--clip-skip 1 b"));
    let long = "a ".repeat(100);
    let with = |flags: &str, prompt: &str, negative: &str| {
        let stage = letters(flags).words("--weighted blend --negative-prompt");
        encoded(stage.arg(negative).arg("--").arg(prompt)).0
    };
    let joined = |first: &Frame, name: &str, second: &Frame| {
        [first.bytes(name), second.bytes(name)]
            .map(Option::unwrap)
            .concat()
    };
    let found = with("--clip-skip 1", "b", &long);
    for name in [names::PROMPT_EMBEDS, names::NEGATIVE_PROMPT_EMBEDS] {
        assert_eq!(
            found.header.tensor(name).expect("is there").shape,
            [1, 154, 160]
        );
    }
    let expected = joined(&short, names::PROMPT_EMBEDS, &empty);
    assert!(found.bytes(names::PROMPT_EMBEDS) == Some(&expected[..]));
    // A negative prompt is without clip_skip, and so is what fills it.
    let (empty, _) = encoded(letters("").arg(""));
    let (short, _) = encoded(letters("b"));
    let found = with("--clip-skip 1", &long, "b");
    let expected = joined(&short, names::PROMPT_EMBEDS, &empty);
    assert!(found.bytes(names::NEGATIVE_PROMPT_EMBEDS) == Some(&expected[..]));
    let pooled = found.bytes(names::NEGATIVE_POOLED_PROMPT_EMBEDS);
    assert!(pooled == short.bytes(names::POOLED_PROMPT_EMBEDS));

    // And the other tools take any number of tokens.
    let text = letters("--weighted scale --negative-prompt b").arg(&long);
    let rest = [
        tool(
            "denoise",
            "--seed 1 --width 64 --height 64 --guidance-scale 2",
        ),
        tool("decode-latents", ""),
        tool("to-png", ""),
    ];
    let png = pipe([text].into_iter().chain(rest)).run();
    assert_eq!(pipeline_tests::pictures(png.ok()).len(), 1);
}

#[test]
fn a_record_weighs_by_its_own_word() {
    let records = [
        json!({"prompt": "(a:1.5) b", "weighted": "scale"}),
        json!({"prompt": "(a:1.5) b", "weighted": null}),
        json!({"prompt": "(a:1.5) b", "weighted": "blend", "negative_prompt": "(a:1.5) b"}),
    ];
    let lines = records.map(|record| record.to_string()).join("\n");
    let ended = pipe([letters("--weighted blend --jsonl")])
        .input(lines)
        .run();
    let found = frames(ended.ok());
    let embeds = |at: usize| found[at].bytes(names::PROMPT_EMBEDS);
    assert!(embeds(0) != embeds(1) && embeds(1) == embeds(2));
    assert!(found[2].bytes(names::NEGATIVE_PROMPT_EMBEDS) == embeds(2));
    let words: Vec<_> = found
        .iter()
        .map(|frame| frame.header.get("weighted"))
        .collect();
    assert_eq!(words, [Some("scale"), Some("blend"), Some("blend")]);
    pipe([letters("--jsonl")])
        .input(json!({"prompt": "a", "weighted": "twice"}).to_string())
        .run()
        .expect(1, &["weighted: expected blend or scale, found \"twice\""]);
}

/// Texts are kept by the way in which they are read, and what fills them up is kept too.
#[test]
fn a_cache_tells_weights_and_embeddings_apart() {
    let cache = tempfile::tempdir().expect("a folder");
    let run = |flags: &str| {
        let stage = letters("--progress json").arg("--cache").arg(cache.path());
        let stage = stage.words(flags).arg("(a:2) <x>");
        let ended = pipe([stage.clone()]).run();
        // Brackets that mean nothing are told of between the events.
        let lines = ended.stages[0].stderr.lines();
        let lines: Vec<_> = lines.filter(|line| line.starts_with('{')).collect();
        let events = pipeline_tests::progress(&lines.join("\n"));
        let opened = events.iter().any(|event| event["open_s"] != 0.0);
        (frame(ended.ok(), Kind::TextEmbeddings), opened)
    };
    let embedding = format!("--embedding {}=<x>", inversion().display());
    let flags = [
        "--weighted blend".to_owned(),
        "--weighted scale".to_owned(),
        embedding.clone(),
        format!("{embedding} --weighted blend"),
    ];
    let misses: Vec<_> = flags.iter().map(|flags| run(flags)).collect();
    for (n, (miss, flags)) in misses.iter().zip(&flags).enumerate() {
        assert!(miss.1, "{flags}");
        let hit = run(flags);
        assert!(!hit.1, "{flags}");
        assert!(hit.0.bytes(names::PROMPT_EMBEDS) == miss.0.bytes(names::PROMPT_EMBEDS));
        for (other, _) in &misses[..n] {
            assert!(other.bytes(names::PROMPT_EMBEDS) != miss.0.bytes(names::PROMPT_EMBEDS));
        }
    }
}

#[test]
fn advice_names_the_flag_where_it_would_count() {
    let advice = "frame 0: brackets and BREAK are text without --weighted blend (or scale)";
    for prompt in ["(a)", "a [b]", "(a:1.5) b", "a BREAK b", "(a"] {
        pipe([letters("").arg(prompt)]).run().expect(0, &[advice]);
        pipe([letters("--weighted blend").arg(prompt)])
            .run()
            .expect(0, &[]);
    }
    for prompt in ["a b", "a) b]", r"\(a\)", "a:1.5"] {
        pipe([letters("").arg(prompt)]).run().expect(0, &[]);
    }
    let long = "a ".repeat(76);
    let (found, said) = encoded(letters("").arg(&long));
    let advice = "frame 0: only the first 75 tokens count without --weighted blend (or scale); cut off: \"a \"";
    assert!(said.lines().count() == 1 && said.contains(advice), "{said}");
    let (cut, _) = encoded(letters("").arg(&long[..150]));
    let name = names::PROMPT_EMBEDS;
    assert!(found.bytes(name) == cut.bytes(name));
}

#[test]
fn a_prompt_without_end_is_refused() {
    let prompt = "BREAK ".repeat(256);
    pipe([letters("--weighted blend").arg(prompt)])
        .run()
        .expect(
            1,
            &[
                "frame 0",
                "expected a prompt of up to 256 chunks of 75 tokens, found 257",
            ],
        );
}

#[test]
fn textual_inversion_is_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let (golden, cases) = (golden("adapters/expected"), golden_cases("adapters/cases"));
    let case = &cases["cases"][8];
    let text = |key: &str| case[key].as_str().expect("text");
    let embedding = format!("{}={}", inversion().display(), text("token"));
    let encode = tool("encode-text", "--dtype f32 --embedding").arg(&embedding);
    let encode = encode.model(&tiny()).arg("--").arg(text("prompt"));
    let (found, said) = encoded(encode.clone());
    assert_eq!(said, "");
    let list = json!([embedding]).to_string();
    assert_eq!(found.header.get("embedding"), Some(&list[..]));
    is_expected("inversion", &found, 8, &golden);

    let flags = "--dtype f32 --width 128 --height 128 --guidance-scale 0 --steps 2 --seed 48";
    let latents = pipe([encode, tool("denoise", flags)]).run();
    let latents = frame(latents.ok(), Kind::Latents);
    let latents = latents.to_f32(names::LATENTS).expect("latents");
    let e = relative_error(&latents, &golden["8/latents"].f32());
    println!("inversion: latents e = {e:.1e}");
    assert!(e <= LATENTS, "latents: e = {e}");

    // A record may name its own, and gives the same.
    let record = json!({"prompt": text("prompt"), "embedding": embedding}).to_string();
    let stage = tool("encode-text", "--dtype f32 --jsonl").model(&tiny());
    let own = pipe([stage]).input(record).run();
    let own = frame(own.ok(), Kind::TextEmbeddings);
    assert!(own.bytes(names::PROMPT_EMBEDS) == found.bytes(names::PROMPT_EMBEDS));
}

#[test]
fn embeddings_that_do_not_fit_are_told() {
    let file = inversion();
    let with = |text: String| pipe([letters("a").arg("--embedding").arg(text)]).run();
    with(format!("{}=a</w>", file.display())).expect(
        1,
        &["inversion.safetensors", "\"a</w>\" is in the vocabulary"],
    );
    with("absent.safetensors".to_owned()).expect(1, &["absent.safetensors"]);
    let usage = with(format!("{}=", file.display()));
    assert_eq!(usage.stages[0].status.code(), Some(2));
    assert!(
        usage.stages[0]
            .stderr
            .contains("expected a file, or a file, = and a token")
    );
    let twice = letters("a")
        .arg("--embedding")
        .arg(&file)
        .arg("--embedding")
        .arg(&file);
    pipe([twice]).run().expect(
        1,
        &["\"inversion\" is in the vocabulary; give it another name"],
    );
    let record = json!({"prompt": "a", "embedding": 7}).to_string();
    let stage = letters("--jsonl");
    pipe([stage])
        .input(record)
        .run()
        .expect(1, &["embedding: expected a list of strings, found 7"]);
    let demo = tool("encode-text", "--model demo a --embedding").arg(&file);
    pipe([demo])
        .run()
        .expect(1, &["clip_g: expected vectors of 256 values", "found 96"]);
}
