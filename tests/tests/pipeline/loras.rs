//! LoRA files: named at encode-text, by a flag or a record, and applied by both tools.

use crate::golden::{LATENTS, TEXT};
use pipeline_tests::{Stage, frame, frames, pipe, progress, tool};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use turbo_testkit::{golden, golden_cases, golden_dir, relative_error, shared_dir, tiny};
use turbo_wire::{Frame, Kind, names};

/// The folder of LoRA files, where it is at hand.
fn folder() -> Option<PathBuf> {
    Some(shared_dir()?.join("reference/golden/adapters"))
}

/// The runs that diffusers made with LoRA files.
fn cases() -> Vec<Value> {
    let Value::Array(mut cases) = golden_cases("adapters/cases")["cases"].clone() else {
        panic!("expected a list")
    };
    cases.retain(|case| case.get("lora").is_some());
    assert_eq!(cases.len(), 8);
    cases
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().expect("text")
}

/// What a case's flags name: FILE=SCALE.
fn named(folder: &Path, case: &Value) -> Vec<String> {
    let pairs = case["lora"].as_array().expect("a list").iter();
    pairs
        .map(|pair| {
            let file = format!("{}.safetensors", pair[0].as_str().expect("a name"));
            format!("{}={}", folder.join(file).display(), pair[1])
        })
        .collect()
}

fn encode(flags: &str, loras: &[String]) -> Stage {
    let stage = tool("encode-text", "--dtype f32")
        .words(flags)
        .model(&tiny());
    let add = |stage: Stage, lora: &String| stage.arg("--lora").arg(lora);
    loras.iter().fold(stage, add)
}

fn denoise(case: &Value) -> Stage {
    let flags = "--dtype f32 --width 128 --height 128 --guidance-scale 0";
    let stage = tool("denoise", flags)
        .arg("--steps")
        .arg(case["steps"].to_string());
    stage.arg("--seed").arg(case["seed"].to_string())
}

fn latents(stages: [Stage; 2]) -> Frame {
    frame(pipe(stages).run().ok(), Kind::Latents)
}

#[test]
fn every_dialect_draws_what_diffusers_draws() {
    let Some(folder) = folder() else { return };
    let golden = golden("adapters/expected");
    for (at, case) in cases().iter().enumerate() {
        let encode = encode("", &named(&folder, case))
            .arg("--")
            .arg(text(case, "prompt"));
        let embeddings = pipe([encode.clone()]).run();
        let embeddings = frame(embeddings.ok(), Kind::TextEmbeddings);
        let expect = |found: &Frame, name: &str, limit: f64| {
            let expected = &golden[&format!("{at}/{name}")];
            let e = relative_error(&found.to_f32(name).expect("f32"), &expected.f32());
            println!("lora {at} {}: {name} e = {e:.1e}", case["lora"]);
            assert!(e <= limit, "lora {at}: {name}: e = {e}");
        };
        expect(&embeddings, names::PROMPT_EMBEDS, TEXT);
        expect(&embeddings, names::POOLED_PROMPT_EMBEDS, TEXT);
        let latents = latents([encode, denoise(case)]);
        expect(&latents, names::LATENTS, LATENTS);
        // It is told on to the picture.
        let told = latents.header.get("lora").expect("it is named");
        assert_eq!(embeddings.header.get("lora"), Some(told));
        let told: Vec<String> = serde_json::from_str(told).expect("a list");
        assert_eq!(told.len(), case["lora"].as_array().expect("a list").len());
    }
}

/// The LoRA and the textual inversion of the demo, which lie among the examples.
#[test]
fn the_demos_own_draw_what_diffusers_draws() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let golden = golden("demo_adapters");
    let cases = golden_cases("demo_adapters");
    let file = |key: &str| folder.join(text(&cases, key)).display().to_string();
    for (at, case) in cases["cases"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
    {
        let encode = tool("encode-text", "--dtype f32 --model demo --lora")
            .arg(format!("{}={}", file("lora"), case["scale"]))
            .arg("--embedding")
            .arg(file("inversion"))
            .arg(text(case, "prompt"));
        let mut denoise = tool("denoise", "--dtype f32");
        for key in ["steps", "seed"] {
            denoise = denoise.arg(format!("--{key}")).arg(case[key].to_string());
        }
        let found = latents([encode, denoise]).to_f32(names::LATENTS);
        let expected = &golden[&format!("{at}/latents")];
        let e = relative_error(&found.expect("f32"), &expected.f32());
        println!("the demo's {at}: e = {e:.1e}");
        assert!(e <= LATENTS, "{at}: {e}");
    }
}

/// The weights that a LoRA changes may be int8: its share is added in floats.
#[test]
fn an_int8_checkpoint_takes_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = tool("quantize-model", "--quiet --output").arg(folder.path());
    pipe([stage.arg("demo")]).run().ok();
    let lora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/line-drawing.safetensors");
    let cases = golden_cases("demo_adapters");
    let case = &cases["cases"][0];
    let encode = tool("encode-text", "").model(folder.path()).arg("--lora");
    let encode = encode.arg(lora).arg(text(case, "prompt"));
    let denoise = tool("denoise", "--steps 1 --seed").arg(case["seed"].to_string());
    let found = latents([encode, denoise]).to_f32(names::LATENTS);
    let expected = golden("demo_adapters")["0/latents"].f32();
    let e = relative_error(&found.expect("f32"), &expected);
    println!("int8 with a lora: e = {e:.1e}");
    // As far as int8 is without one; without the LoRA the picture would be another.
    assert!(e <= 0.06, "{e}");
}

/// A stream whose records name different files gives each of them what a run of its own gives.
#[test]
fn records_name_their_own() {
    let Some(folder) = folder() else { return };
    let cases = cases();
    let of = |at: usize| named(&folder, &cases[at]);
    let records = [
        json!({"prompt": text(&cases[0], "prompt"), "seed": 1, "lora": of(3)}),
        json!({"prompt": text(&cases[0], "prompt"), "seed": 1, "lora": []}),
        json!({"prompt": text(&cases[0], "prompt"), "seed": 1, "lora": of(0)[0]}),
        json!({"prompt": text(&cases[0], "prompt"), "seed": 1}),
    ];
    let lines = records.map(|record| record.to_string()).join("\n");
    let draw = tool("denoise", "--dtype f32 --width 64 --height 64");
    let stages = [encode("--jsonl", &of(6)), draw.clone()];
    let found = pipe(stages).input(lines).run();
    let found = frames(found.ok());
    let alone = [of(3), vec![], of(0), of(6)].map(|loras| {
        let encode = encode("", &loras).arg("--").arg(text(&cases[0], "prompt"));
        latents([encode, draw.clone().words("--seed 1")])
    });
    assert_eq!(found.len(), alone.len());
    assert!(alone[0].bytes(names::LATENTS) != alone[1].bytes(names::LATENTS));
    for (at, (found, alone)) in found.iter().zip(&alone).enumerate() {
        assert!(
            found.bytes(names::LATENTS) == alone.bytes(names::LATENTS),
            "{at}"
        );
    }
}

/// denoise's own flag counts where the frame names none.
#[test]
fn denoise_takes_its_own() {
    let Some(folder) = folder() else { return };
    let case = &cases()[0];
    let loras = named(&folder, case);
    let named = latents([
        encode("", &loras).arg("--").arg(text(case, "prompt")),
        denoise(case),
    ]);
    let plain = encode("", &[]).arg("--").arg(text(case, "prompt"));
    let own = latents([plain.clone(), denoise(case).arg("--lora").arg(&loras[0])]);
    // This file leaves the text encoders alone.
    assert!(own.bytes(names::LATENTS) == named.bytes(names::LATENTS));
    assert_eq!(own.header.get("lora"), named.header.get("lora"));
    let without = latents([plain, denoise(case)]);
    assert!(own.bytes(names::LATENTS) != without.bytes(names::LATENTS));
}

/// By content and scale, where they change embeddings at all.
#[test]
fn a_cache_tells_loras_apart() {
    let Some(folder) = folder() else { return };
    let cache = tempfile::tempdir().expect("a folder");
    let opened = |lora: Option<(&str, &str)>| {
        let named = lora.map(|(file, scale)| format!("{}={scale}", folder.join(file).display()));
        let loras: Vec<_> = named.into_iter().collect();
        let stage = encode("--progress json a", &loras).arg("--cache");
        let ended = pipe([stage.arg(cache.path())]).run();
        ended.ok();
        progress(&ended.stages[0].stderr)
            .iter()
            .any(|event| event["open_s"] != 0.0)
    };
    let both = "kohya-sgm.safetensors";
    assert!(opened(None) && !opened(None));
    assert!(opened(Some((both, "1"))) && !opened(Some((both, "1"))));
    assert!(opened(Some((both, "0.5"))) && !opened(Some((both, "0.5"))));
    // Of the denoising network alone.
    assert!(!opened(Some(("peft.safetensors", "1"))));
}

#[test]
fn what_is_no_lora_is_told() {
    let stage = |lora: &str| pipe([tool("encode-text", "--model demo a --lora").arg(lora)]).run();
    stage("absent.safetensors").expect(1, &["absent.safetensors"]);
    let usage = stage("x.safetensors=much");
    assert_eq!(usage.stages[0].status.code(), Some(2));
    assert!(usage.stages[0].stderr.contains("scale: expected a number"));
    let inversion = golden_dir().join("adapters/inversion.safetensors");
    stage(inversion.to_str().expect("a path")).expect(1, &["inversion.safetensors"]);
    let record = json!({"prompt": "a", "lora": ["x=nan"]}).to_string();
    let ended = pipe([tool("encode-text", "--model demo --jsonl")])
        .input(record)
        .run();
    ended.expect(1, &["frame 0", "lora: scale: expected a finite number"]);
}
