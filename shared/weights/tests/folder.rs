//! Folders in diffusers layout.
#![allow(missing_docs)]

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use turbo_testkit::{shared_dir, tiny, tiny_tensor, write_safetensors};
use turbo_weights::{EmbeddedFiles, Error, LocateOptions, Model, Part, Variant};

fn locate(folder: &Path) -> Model {
    Model::locate(folder.to_str().unwrap(), &LocateOptions::default()).unwrap()
}

fn shapes() -> Value {
    let path = turbo_testkit::golden_dir().join("tiny_shapes.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn shape(value: &Value) -> Vec<usize> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap() as usize)
        .collect()
}

/// A folder that is a checkpoint, with a unet/ to put weights in.
fn unet_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("unet")).unwrap();
    fs::write(folder.path().join("model_index.json"), "{}").unwrap();
    folder
}

/// One tensor `name` with the two bytes `value`.
fn one(file: &Path, name: &str, value: u8) {
    write_safetensors(file, "F16", &[(name, &[1], vec![value; 2])]);
}

/// What a prompt's embeddings depend on, and nothing else.
#[test]
fn the_files_of_the_text_encoders_are_told() {
    let names = |model: &Model| -> Vec<String> {
        let files = model.text_files().unwrap();
        assert!(files.iter().all(|(_, path)| path.is_file()), "{files:?}");
        let mut names: Vec<_> = files.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    };
    let tokenizers = ["tokenizer", "tokenizer_2"].map(|folder| {
        [
            "merges.txt",
            "special_tokens_map.json",
            "tokenizer_config.json",
            "vocab.json",
        ]
        .map(|file| format!("{folder}/{file}"))
    });
    let with_tokenizers = |others: &[&str]| -> Vec<String> {
        let others = others.iter().map(ToString::to_string);
        let mut all: Vec<_> = others.chain(tokenizers.concat()).collect();
        all.sort();
        all
    };
    let model = turbo_testkit::tiny_lettered();
    let expected = [
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/config.json",
        "text_encoder_2/model.fp16.safetensors",
    ];
    assert_eq!(names(&locate(&model)), with_tokenizers(&expected));

    // Shards with their index; of two sets of weights, the one that is read.
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "{}").unwrap();
    };
    for name in [
        "model_index.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder_2/model-1-of-2.safetensors",
        "text_encoder_2/model-2-of-2.safetensors",
        "text_encoder_2/model.safetensors.index.json",
        "unet/config.json",
    ] {
        put(name);
    }
    assert_eq!(
        names(&locate(folder.path())),
        [
            "text_encoder/model.fp16.safetensors",
            "text_encoder_2/model-1-of-2.safetensors",
            "text_encoder_2/model-2-of-2.safetensors",
            "text_encoder_2/model.safetensors.index.json",
        ]
    );

    // A single file is its weights and configs; tokenizers lie beside it.
    let file = folder.path().join("x.safetensors");
    fs::copy(turbo_testkit::tiny_single(), &file).unwrap();
    turbo_testkit::letter_tokenizers(folder.path());
    assert_eq!(names(&locate(&file)), with_tokenizers(&["checkpoint"]));

    // What is built in changes with the program.
    let files: &[(&str, &[u8])] = &[
        ("model_index.json", b"{}"),
        ("text_encoder/config.json", b"{}"),
    ];
    let options = LocateOptions {
        builtin: Some(EmbeddedFiles(files)),
        ..LocateOptions::default()
    };
    let demo = Model::locate("demo", &options).unwrap();
    assert!(names(&demo).is_empty());
}

#[test]
fn every_tensor_of_the_tiny_checkpoint_is_there() {
    let model = locate(&tiny());
    assert_eq!(Path::new(model.name()), tiny());
    let shapes = shapes();
    for part in Part::ALL {
        let weights = model.weights(part).unwrap();
        for (name, expected) in shapes[part.folder()].as_object().unwrap() {
            let weight = weights.get(name, &shape(expected)).unwrap();
            assert_eq!(
                weight.bytes(),
                tiny_tensor(&format!("{}/{name}", part.folder())).1,
                "{name}"
            );
        }
        weights.finish().unwrap();
        assert!(weights.path().ends_with(format!(
            "{}/{}",
            part.folder(),
            weights.path().file_name().unwrap().to_str().unwrap()
        )));
    }
    assert_eq!(
        model.config(Part::Unet).unwrap()["cross_attention_dim"],
        160
    );
    assert_eq!(
        model.scheduler_config().unwrap()["timestep_spacing"],
        "trailing"
    );
    assert_eq!(
        model.model_index().unwrap()["force_zeros_for_empty_prompt"],
        true
    );
    assert!(model.config_path(Part::Vae).ends_with("vae/config.json"));
    assert_eq!(model.vae().unwrap().class.name(), "AutoencoderKL");
}

#[test]
fn tokenizers_are_read() {
    let Some(shared) = shared_dir() else { return };
    let model = locate(&tiny());
    for (n, pad) in [(1, "<|endoftext|>"), (2, "!")] {
        let files = model.tokenizer(n).unwrap();
        assert!(
            files.vocab.contains("\"<|startoftext|>\"") && files.merges.starts_with("#version")
        );
        assert_eq!(files.tokenizer_config["model_max_length"], 77);
        assert_eq!(files.tokenizer_config["pad_token"], pad);
        assert!(files.special_tokens_map.is_object());
    }
    let vocab =
        fs::read_to_string(shared.join("data/clip-tokenizer/tokenizer/vocab.json")).unwrap();
    assert_eq!(model.tokenizer(1).unwrap().vocab, vocab);
}

#[test]
fn both_ways_of_saving_a_text_encoder_get_one_naming() {
    let Some(shared) = shared_dir() else { return };
    // Saved by transformers 5, which leaves the prefix out.
    let model = locate(&shared.join("data/prototype"));
    let weights = model.weights(Part::TextEncoder).unwrap();
    weights
        .get("text_model.embeddings.token_embedding.weight", &[1359, 64])
        .unwrap();
    weights
        .get("text_model.final_layer_norm.bias", &[64])
        .unwrap();
    assert!(weights.names().all(|name| name.starts_with("text_model.")));
    let weights = model.weights(Part::TextEncoder2).unwrap();
    weights.get("text_projection.weight", &[128, 128]).unwrap();
    weights
        .get("text_model.encoder.layers.2.mlp.fc1.weight", &[512, 128])
        .unwrap();
    assert_eq!(
        model.config(Part::Vae).unwrap()["_class_name"],
        "AutoencoderTiny"
    );
}

#[test]
fn a_projection_that_the_first_text_encoder_does_not_use_is_not_left_over() {
    let folder = unet_folder();
    fs::create_dir(folder.path().join("text_encoder")).unwrap();
    one(
        &folder.path().join("text_encoder/model.safetensors"),
        "text_projection.weight",
        1,
    );
    locate(folder.path())
        .weights(Part::TextEncoder)
        .unwrap()
        .finish()
        .unwrap();
}

#[test]
fn two_names_for_one_weight_are_refused() {
    let folder = unet_folder();
    fs::create_dir(folder.path().join("text_encoder")).unwrap();
    let names = ["final_layer_norm.bias", "text_model.final_layer_norm.bias"];
    let tensors = names.map(|name| (name, &[1][..], vec![0; 2]));
    write_safetensors(
        folder.path().join("text_encoder/model.safetensors"),
        "F16",
        &tensors,
    );
    let error = locate(folder.path())
        .weights(Part::TextEncoder)
        .err()
        .unwrap();
    assert!(
        matches!(&error, Error::Duplicate { name, .. } if name == names[1]),
        "{error}"
    );
}

#[test]
fn the_variant_asked_for_is_preferred() {
    let folder = unet_folder();
    let unet = folder.path().join("unet");
    let read = |variant| {
        let options = LocateOptions {
            variant,
            ..LocateOptions::default()
        };
        let model = Model::locate(folder.path().to_str().unwrap(), &options).unwrap();
        model
            .weights(Part::Unet)
            .unwrap()
            .get("a", &[1])
            .unwrap()
            .bytes()[0]
    };
    one(&unet.join("diffusion_pytorch_model.safetensors"), "a", 32);
    assert_eq!(
        (
            read(None),
            read(Some(Variant::Fp16)),
            read(Some(Variant::Plain))
        ),
        (32, 32, 32)
    );
    one(
        &unet.join("diffusion_pytorch_model.fp16.safetensors"),
        "a",
        16,
    );
    assert_eq!(
        (
            read(None),
            read(Some(Variant::Fp16)),
            read(Some(Variant::Plain))
        ),
        (16, 16, 32)
    );
    fs::remove_file(unet.join("diffusion_pytorch_model.safetensors")).unwrap();
    assert_eq!(read(Some(Variant::Plain)), 16);
}

#[test]
fn shards_are_read_by_their_index_in_every_spelling() {
    let spellings = [
        (
            "diffusion_pytorch_model.safetensors.index.json",
            "diffusion_pytorch_model-0000N-of-00002.safetensors",
        ),
        (
            "diffusion_pytorch_model.safetensors.index.fp16.json",
            "diffusion_pytorch_model.fp16-0000N-of-00002.safetensors",
        ),
        (
            "diffusion_pytorch_model.fp16.safetensors.index.json",
            "diffusion_pytorch_model-0000N-of-00002.fp16.safetensors",
        ),
    ];
    for (index, shard) in spellings {
        let folder = unet_folder();
        let unet = folder.path().join("unet");
        let (first, second) = (shard.replace('N', "1"), shard.replace('N', "2"));
        one(&unet.join(&first), "z", 1);
        one(&unet.join(&second), "a", 2);
        let map = json!({"metadata": {"total_size": 4}, "weight_map": {"a": second, "z": first}});
        fs::write(unet.join(index), map.to_string()).unwrap();
        let model = locate(folder.path());
        let weights = model.weights(Part::Unet).unwrap();
        assert_eq!(weights.get("a", &[1]).unwrap().bytes()[0], 2);
        assert_eq!(weights.get("z", &[1]).unwrap().bytes()[0], 1);
        weights.finish().unwrap();
        assert!(weights.path().ends_with(index));

        fs::remove_file(unet.join(&second)).unwrap();
        let error = model.weights(Part::Unet).err().unwrap().to_string();
        assert!(
            error.contains(index) && error.contains(&second) && error.contains("not there"),
            "{error}"
        );
        one(&unet.join(&second), "other", 2);
        let error = model.weights(Part::Unet).err().unwrap().to_string();
        assert!(
            error.contains(&second) && error.contains("`a`, which it does not"),
            "{error}"
        );
    }
}

#[test]
fn an_index_that_is_wrong_is_told() {
    let folder = unet_folder();
    let index = folder
        .path()
        .join("unet/diffusion_pytorch_model.safetensors.index.json");
    let cases = [
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "expected an object `weight_map`"),
        (
            r#"{"weight_map":{"a":1}}"#,
            "`a`: expected the name of a .safetensors file beside it, found 1",
        ),
        (
            r#"{"weight_map":{"a":"../../x.safetensors"}}"#,
            "expected the name of a .safetensors file beside it",
        ),
        (
            r#"{"weight_map":{"a":"x.bin"}}"#,
            "expected the name of a .safetensors file beside it",
        ),
    ];
    for (text, expected) in cases {
        fs::write(&index, text).unwrap();
        let error = locate(folder.path())
            .weights(Part::Unet)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("index.json") && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn what_a_folder_lacks_is_told() {
    let folder = unet_folder();
    let model = locate(folder.path());
    let error = model.weights(Part::Unet).err().unwrap().to_string();
    assert!(
        error.contains("unet: no weights: expected diffusion_pytorch_model.safetensors"),
        "{error}"
    );
    assert!(error.contains("the folder is incomplete"), "{error}");
    let error = model.config(Part::Unet).unwrap_err();
    assert!(
        matches!(&error, Error::MissingFile { path, .. } if path.ends_with("unet/config.json")),
        "{error}"
    );
    let error = model.scheduler_config().unwrap_err();
    assert!(
        matches!(&error, Error::MissingFile { path, .. } if path.ends_with("scheduler/scheduler_config.json"))
    );
    let error = model.tokenizer(2).unwrap_err();
    assert!(
        matches!(&error, Error::MissingFile { path, .. } if path.ends_with("tokenizer_2/vocab.json")),
        "{error}"
    );
    fs::write(folder.path().join("unet/config.json"), "{\"a\": }").unwrap();
    let error = model.config(Part::Unet).unwrap_err().to_string();
    assert!(
        error.contains("config.json: not JSON: ") && error.contains("line 1 column 7"),
        "{error}"
    );
    fs::write(folder.path().join("unet/config.json"), b"{\"a\": \"\xFF\"}").unwrap();
    assert!(matches!(
        model.config(Part::Unet).unwrap_err(),
        Error::BadJson { .. }
    ));
    fs::write(
        folder.path().join("unet/diffusion_pytorch_model.bin"),
        b"\x80\x02.",
    )
    .unwrap();
    let error = model.weights(Part::Unet).err().unwrap().to_string();
    assert!(
        error.contains("diffusion_pytorch_model.bin: pickle is never read"),
        "{error}"
    );
}

#[test]
fn a_path_that_is_no_checkpoint_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = |spec: &str| {
        Model::locate(spec, &LocateOptions::default())
            .err()
            .unwrap()
            .to_string()
    };
    let path = folder.path().to_str().unwrap();
    assert!(
        text(path).contains("nothing of a checkpoint in it"),
        "{}",
        text(path)
    );
    one(&folder.path().join("all.safetensors"), "a", 1);
    assert!(
        text(path).contains("it holds the file all.safetensors: give that file itself"),
        "{}",
        text(path)
    );
    for spec in [
        &format!("{path}/none"),
        "./none",
        "~/none/at/all",
        "../none",
        "none.safetensors",
    ] {
        let error = text(spec);
        assert!(error.contains("no such file or folder"), "{error}");
        assert!(
            error.contains("fetch-model stabilityai/sdxl-turbo") && error.contains("--model demo"),
            "{error}"
        );
    }
}

#[test]
fn demo_is_what_the_program_has_built_in() {
    let error = Model::locate("demo", &LocateOptions::default())
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "this build has no demo checkpoint; give a folder, a .safetensors file or a hub id"
    );

    let folder = unet_folder();
    let file = folder.path().join("x.safetensors");
    one(&file, "a", 7);
    let weights: &'static [u8] = fs::read(&file).unwrap().leak();
    let files: &'static [(&str, &[u8])] = vec![
        ("model_index.json", &b"{}"[..]),
        ("unet/config.json", b"{\"sample_size\": 16}"),
        ("unet/diffusion_pytorch_model.fp16.safetensors", weights),
        ("tokenizer/vocab.json", b"{\"a\": 0}"),
        ("tokenizer/merges.txt", b"#version: 0.2\n"),
        ("tokenizer/tokenizer_config.json", b"{}"),
    ]
    .leak();
    let options = LocateOptions {
        builtin: Some(EmbeddedFiles(files)),
        ..LocateOptions::default()
    };
    let model = Model::locate("demo", &options).unwrap();
    assert_eq!(model.name(), "demo");
    assert_eq!(model.config(Part::Unet).unwrap()["sample_size"], 16);
    let weight = model.weights(Part::Unet).unwrap().get("a", &[1]).unwrap();
    assert_eq!(weight.bytes(), [7, 7]);
    assert!(
        weights.as_ptr_range().contains(&weight.bytes().as_ptr()),
        "copied"
    );
    assert_eq!(model.tokenizer(1).unwrap().merges, "#version: 0.2\n");
    assert_eq!(model.tokenizer(1).unwrap().special_tokens_map, Value::Null);
    let error = model.weights(Part::Vae).err().unwrap().to_string();
    assert!(error.contains("demo/vae: no weights"), "{error}");
}

#[test]
fn a_tokenizer_of_one_file_is_taken_apart() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = folder.path().join("tokenizer");
    fs::create_dir_all(&tokenizer).unwrap();
    fs::write(folder.path().join("model_index.json"), "{}").unwrap();
    let added = serde_json::json!({"id": 2, "content": "<|endoftext|>", "normalized": true, "special": true});
    let write = |model: serde_json::Value| {
        let whole = serde_json::json!({"added_tokens": [added], "model": model});
        fs::write(tokenizer.join("tokenizer.json"), whole.to_string()).unwrap();
    };
    fs::write(
        tokenizer.join("tokenizer_config.json"),
        r#"{"pad_token": "!"}"#,
    )
    .unwrap();
    for merges in [
        serde_json::json!([["a", "b</w>"]]),
        serde_json::json!(["a b</w>"]),
    ] {
        write(
            serde_json::json!({"end_of_word_suffix": "</w>", "vocab": {"a": 0, "b</w>": 1}, "merges": merges}),
        );
        let files = locate(folder.path()).tokenizer(1).unwrap();
        assert_eq!(files.vocab, r#"{"a":0,"b</w>":1}"#);
        assert_eq!(files.merges, "#version: 0.2\na b</w>\n");
        assert_eq!(files.tokenizer_config["pad_token"], "!");
        assert_eq!(files.tokenizer_config["added_tokens_decoder"]["2"], added);
    }
    write(serde_json::json!({"vocab": {}, "merges": []}));
    let error = locate(folder.path()).tokenizer(1).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer.json") && error.contains("end_of_word_suffix"),
        "{error}"
    );
}

#[test]
fn folders_of_something_else_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = || {
        Model::locate(folder.path().to_str().unwrap(), &LocateOptions::default())
            .err()
            .unwrap()
            .to_string()
    };
    for (index, what) in [
        (
            r#"{"_class_name": "StableDiffusionPipeline"}"#,
            "Stable Diffusion 1 or 2",
        ),
        (r#"{"_class_name": "FluxPipeline"}"#, "Flux"),
        (
            r#"{"_class_name": "StableDiffusion3Pipeline"}"#,
            "Stable Diffusion 3",
        ),
        (
            r#"{"_class_name": "StableDiffusionXLImg2ImgPipeline", "text_encoder": [null, null]}"#,
            "refiner",
        ),
    ] {
        fs::write(folder.path().join("model_index.json"), index).unwrap();
        assert!(error().contains(what), "{}", error());
    }
    fs::remove_file(folder.path().join("model_index.json")).unwrap();
    fs::write(
        folder.path().join("config.json"),
        r#"{"_class_name": "ControlNetModel"}"#,
    )
    .unwrap();
    assert!(error().contains("a ControlNet"), "{}", error());
    fs::remove_file(folder.path().join("config.json")).unwrap();
    fs::write(folder.path().join("pytorch_lora_weights.safetensors"), "").unwrap();
    assert!(
        error().contains("give that file with --lora"),
        "{}",
        error()
    );
}

#[test]
fn the_only_variant_is_read_and_several_are_named() {
    let folder = unet_folder();
    let part = folder.path().join("unet");
    for name in fs::read_dir(&part)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if name.extension().is_some_and(|e| e == "safetensors") {
            fs::remove_file(name).unwrap();
        }
    }
    let stem = "diffusion_pytorch_model";
    one(&part.join(format!("{stem}.bf16.safetensors")), "x", 7);
    assert!(
        locate(folder.path())
            .weights(Part::Unet)
            .unwrap()
            .contains("x")
    );
    one(&part.join(format!("{stem}.non_ema.safetensors")), "x", 8);
    let error = locate(folder.path())
        .weights(Part::Unet)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&format!(
            "the variants {stem}.bf16.safetensors, {stem}.non_ema.safetensors"
        )),
        "{error}"
    );
}
