//! Checkpoints that are missing, cut, mismatched or misconfigured.

use pipeline_tests::{Altered, Stage, embeddings, pipe, tool};
use serde_json::json;
use std::path::Path;
use turbo_testkit::{shared_dir, tiny};
use turbo_wire::{Header, f32_bytes, names};

const UNET: &str = "unet/diffusion_pytorch_model.fp16.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.fp16.safetensors";

fn denoise(model: &Path) -> Stage {
    tool("denoise", "--width 64 --height 64 --seed 1").model(model)
}

fn latents() -> Vec<u8> {
    let header = Header::latents(1, 8, 8, pipeline_tests::metadata(&[])).expect("a header");
    pipeline_tests::bytes(header, &[(names::LATENTS, &f32_bytes(&[0.5; 256]))])
}

/// Asserts that `denoise` refuses the checkpoint, and what it says.
#[track_caller]
fn refused(model: &Altered, texts: &[&str]) {
    let ended = pipe([denoise(model.path())])
        .input(embeddings(&[0], &[]))
        .run();
    assert!(ended.expect(1, texts).is_empty());
}

#[track_caller]
fn refused_by_decoder(model: &Altered, texts: &[&str]) {
    let ended = pipe([tool("decode-latents", "").model(model.path())])
        .input(latents())
        .run();
    assert!(ended.expect(1, texts).is_empty());
}

/// The folder of links itself is a checkpoint, so what is refused below is refused for what was changed.
#[test]
fn an_unchanged_copy_works() {
    let copy = Altered::of(&tiny());
    pipe([denoise(copy.path())])
        .input(embeddings(&[0], &[]))
        .run()
        .expect(0, &[]);
    pipe([tool("decode-latents", "").model(copy.path())])
        .input(latents())
        .run()
        .expect(0, &[]);
}

#[test]
fn a_model_that_is_not_there_says_what_to_type() {
    let cache = tempfile::tempdir().expect("a folder");
    let elsewhere = |stage: Stage| stage.env("HF_HUB_CACHE", cache.path());
    let run = |stage: Stage, input: &[u8]| pipe([elsewhere(stage)]).input(input).run();
    let text = embeddings(&[0], &[]);
    for (name, input) in [
        ("denoise", &text[..]),
        ("decode-latents", &latents()),
        ("encode-text", b"a fox\n"),
    ] {
        let missing = |flags: &str, fetch: &str| {
            run(tool(name, flags), input)
                .expect(1, &[fetch, "--model demo"])
                .len()
        };
        assert_eq!(missing("--model owner/name", "fetch-model owner/name"), 0);
        assert_eq!(
            missing("--model owner/name@v2", "fetch-model owner/name"),
            0
        );
        // Nobody names one: the default.
        assert_eq!(missing("", "fetch-model stabilityai/sdxl-turbo"), 0);
        let variable = run(tool(name, "").env("TURBO_MODEL", "me/mine"), input);
        variable.expect(1, &["fetch-model me/mine", "--model demo"]);
        run(tool(name, "--model /no/such/folder"), input)
            .expect(1, &["/no/such/folder", "fetch-model", "--model demo"]);
    }
    // The one that the stream names, unless the flag names another.
    let named = embeddings(&[0], &[("model", "them/theirs")]);
    run(tool("denoise", ""), &named).expect(1, &["frame 0: ", "fetch-model them/theirs"]);
    run(tool("denoise", "--model me/mine"), &named).expect(1, &["fetch-model me/mine"]);
}

#[test]
fn the_stream_or_the_variable_names_the_model() {
    let model = tiny();
    let name = model.to_str().expect("UTF-8");
    let flags = "--width 64 --height 64 --seed 1";
    let expected = pipe([denoise(&model)]).input(embeddings(&[0], &[])).run();
    let stream = pipe([tool("denoise", flags)])
        .input(embeddings(&[0], &[("model", name)]))
        .run();
    assert!(stream.ok() == expected.ok());
    let variable = pipe([tool("denoise", flags).env("TURBO_MODEL", name)])
        .input(embeddings(&[0], &[]))
        .run();
    assert!(variable.ok() == expected.ok());
}

#[test]
fn cut_weights_are_refused() {
    for keep in [0, 4, 8, 100, 20_000, 1_000_000] {
        let cut = Altered::of(&tiny()).with_bytes(UNET, |old| old[..keep].to_vec());
        refused(&cut, &["frame 0: ", UNET]);
    }
    let cut = Altered::of(&tiny()).with_bytes(UNET, |mut old| {
        old.pop();
        old
    });
    refused(&cut, &[UNET, "bytes by its header", "again"]);
    let long = Altered::of(&tiny()).with_bytes(VAE, |old| [&old[..], b"x"].concat());
    refused_by_decoder(&long, &[VAE, "bytes by its header"]);
}

#[test]
fn weights_that_are_something_else_are_refused() {
    let text = Altered::of(&tiny()).with_bytes(UNET, |_| {
        b"version https://git-lfs.github.com/spec/v1\n".to_vec()
    });
    refused(&text, &[UNET]);
    let pickle =
        Altered::of(&tiny()).with_bytes(UNET, |_| b"PK\x03\x04 and the rest of a zip".to_vec());
    refused(&pickle, &[UNET]);
    let swapped = Altered::of(&tiny());
    let vae = std::fs::read(swapped.path().join(VAE)).expect("is there");
    refused(&swapped.with_bytes(UNET, |_| vae), &[UNET, "no tensor"]);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let shape = Altered::of(&tiny()).with_tensors(UNET, |header, _| {
        header["conv_in.bias"]["shape"] = json!([2, 16]);
    });
    refused(&shape, &[UNET, "conv_in.bias", "[32]", "[2, 16]"]);
    let missing = Altered::of(&tiny()).with_tensors(UNET, |header, _| {
        let tensor = header.remove("conv_in.bias").expect("is there");
        header.insert("conv_in.bios".to_owned(), tensor);
    });
    refused(&missing, &[UNET, "no tensor `conv_in.bias`"]);
    let left = Altered::of(&tiny()).with_tensors(UNET, |header, body| {
        let (begin, end) = (body.len(), body.len() + 2);
        body.extend([0, 0]);
        let tensor = json!({"dtype": "F16", "shape": [1], "data_offsets": [begin, end]});
        header.insert("controlnet.stray".to_owned(), tensor);
    });
    refused(&left, &[UNET, "controlnet.stray"]);
    let dtype = Altered::of(&tiny()).with_tensors(UNET, |header, _| {
        header["conv_in.bias"]["dtype"] = json!("I16");
    });
    refused(&dtype, &[UNET, "conv_in.bias", "I16"]);
}

#[test]
fn what_is_missing_is_named() {
    refused(
        &Altered::of(&tiny()).without("unet/config.json"),
        &["unet/config.json", "not found"],
    );
    refused(&Altered::of(&tiny()).without(UNET), &["unet", "no weights"]);
    refused(
        &Altered::of(&tiny()).without("scheduler/scheduler_config.json"),
        &["scheduler_config.json", "not found"],
    );
    refused_by_decoder(
        &Altered::of(&tiny()).without("vae/config.json"),
        &["vae/config.json", "not found"],
    );
    refused_by_decoder(&Altered::of(&tiny()).without(VAE), &["vae", "no weights"]);
    if shared_dir().is_some() {
        let lacks = |part: &str, texts: &[&str]| {
            let model = Altered::of(&tiny()).without(part);
            pipe([tool("encode-text", "a fox").model(model.path())])
                .run()
                .expect(1, texts);
        };
        lacks("tokenizer/vocab.json", &["tokenizer", "vocab.json"]);
        lacks(
            "text_encoder_2/config.json",
            &["text_encoder_2/config.json", "not found"],
        );
        lacks(
            "text_encoder/model.fp16.safetensors",
            &["text_encoder", "no weights"],
        );
    }
}

#[test]
fn an_empty_folder_is_no_checkpoint() {
    let empty = tempfile::tempdir().expect("a folder");
    let ended = pipe([denoise(empty.path())])
        .input(embeddings(&[0], &[]))
        .run();
    ended.expect(1, &["frame 0: ", "diffusers layout"]);
}

#[test]
fn a_config_that_is_not_supported_names_its_key() {
    let unet = |key: &str, value: serde_json::Value| {
        let model = Altered::of(&tiny()).with_json("unet/config.json", |config| {
            config.insert(key.to_owned(), value.clone());
        });
        refused(&model, &["unet/config.json", key, &value.to_string()]);
    };
    unet("time_cond_proj_dim", json!(256));
    unet("act_fn", json!("mish"));
    unet("resnet_time_scale_shift", json!("scale_shift"));
    unet("use_linear_projection", json!(false));
    let scheduler = |key: &str, value: serde_json::Value| {
        let model = Altered::of(&tiny()).with_json("scheduler/scheduler_config.json", |config| {
            config.insert(key.to_owned(), value.clone());
        });
        refused(&model, &[key, value.as_str().expect("text")]);
    };
    scheduler("prediction_type", json!("sample"));
    scheduler("beta_schedule", json!("laplace"));
    let vae = Altered::of(&tiny()).with_json("vae/config.json", |config| {
        config.insert("act_fn".to_owned(), json!("gelu"));
    });
    refused_by_decoder(&vae, &["vae/config.json", "act_fn", "gelu"]);
}

/// A config of another size than the weights.
#[test]
fn a_config_that_does_not_fit_its_weights_is_refused() {
    let model = Altered::of(&tiny()).with_json("unet/config.json", |config| {
        config.insert("cross_attention_dim".to_owned(), json!(2048));
    });
    refused(&model, &["160", "2048"]);
    let model = Altered::of(&tiny()).with_json("unet/config.json", |config| {
        config.insert("layers_per_block".to_owned(), json!(3));
    });
    refused(&model, &[UNET, "no tensor"]);
}

#[test]
fn a_config_that_is_no_json_is_refused() {
    let model =
        Altered::of(&tiny()).with_bytes("unet/config.json", |old| old[..old.len() / 2].to_vec());
    refused(&model, &["unet/config.json", "line"]);
    let model =
        Altered::of(&tiny()).with_bytes("scheduler/scheduler_config.json", |_| b"[1]".to_vec());
    refused(&model, &["scheduler_config.json"]);
}
