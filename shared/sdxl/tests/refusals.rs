//! What is wrong is said, by name, and never panics.

use serde_json::{Value, json};
use std::path::Path;
use turbo_sdxl::*;
use turbo_testkit::tiny;
use turbo_weights::{LocateOptions, Model};

const CPU: Device = Device::CandleCpu;

fn model() -> Model {
    Model::locate(tiny().to_str().unwrap(), &LocateOptions::default()).unwrap()
}

fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(e) => e.to_string(),
    }
}

fn expect<T>(result: Result<T>, parts: &[&str]) {
    let message = message(result);
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn tokens_out_of_range() {
    let text = open_text_encoders(&CPU, DType::F32, &model(), &[]).unwrap();
    let ids = [49406, 320, 49407];
    assert!(text.encode(&ids, &ids, 0).is_ok());
    expect(
        text.encode(&[49408], &[0], 0),
        &["token: expected an id below 49408, found 49408"],
    );
    expect(text.encode(&[], &[], 0), &["expected 1 to 77 ids, found 0"]);
    expect(
        text.encode(&[1; 78], &[1; 78], 0),
        &["expected 1 to 77 ids, found 78"],
    );
    expect(
        text.encode(&ids, &ids[..2], 0),
        &["second encoder", "3 ids", "found 2"],
    );
    // Three layers in the first encoder: `clip_skip` 2 gives its embeddings, and there is nothing before them.
    assert!(text.encode(&ids, &ids, 2).is_ok());
    expect(
        text.encode(&ids, &ids, 3),
        &["clip_skip: expected 0 to 2", "found 3"],
    );
    expect(text.encode(&ids, &ids, usize::MAX), &["clip_skip"]);

    let mut text = text;
    let vector = |width| TokenVectors::from([(49408, vec![0.0; width])]);
    expect(
        text.add_tokens([vector(64), vector(95)]),
        &["a token's vector", "96 values", "found 95"],
    );
    text.add_tokens([vector(64), vector(96)]).unwrap();
    assert!(text.encode(&[49408], &[49408], 0).is_ok());
    expect(text.encode(&[49409], &[0], 0), &["found 49409"]);
}

#[test]
fn tensors_of_the_wrong_size() {
    let unet = open_unet(&CPU, DType::F32, &model(), &[]).unwrap();
    let right = AddedConditions {
        prompt_embeds: &[0.5; 160],
        tokens: 1,
        pooled_prompt_embeds: &[0.5; 80],
        time_ids: [8.; 6],
        size: [1, 1],
        image: &[],
    };
    let conditioned = unet.condition(&right).unwrap();
    assert!(conditioned.predict(&[1.; 4], 999.).is_ok());
    expect(
        conditioned.predict(&[1.; 5], 999.),
        &["sample: expected 4 values", "found 5"],
    );
    let flat = AddedConditions {
        size: [0, 1],
        ..right
    };
    expect(unet.condition(&flat), &["sample", "0 x 1"]);
    let pictured = AddedConditions {
        image: &[0.; 5],
        ..right
    };
    expect(
        unet.condition(&pictured),
        &["beside the sample: expected 0 values", "found 5"],
    );
    expect(
        conditioned.predict(&[f32::NAN; 4], 999.),
        &["the UNet's output: 4 of 4 values are NaN or infinite"],
    );
    let two = AddedConditions { tokens: 2, ..right };
    expect(
        unet.condition(&two),
        &["prompt_embeds: expected 320 values (shape [2, 160]), found 160"],
    );
    let none = AddedConditions {
        prompt_embeds: &[],
        tokens: 0,
        ..right
    };
    expect(unet.condition(&none), &["at least one token"]);
    let pooled = AddedConditions {
        pooled_prompt_embeds: &[0.; 79],
        ..right
    };
    expect(
        unet.condition(&pooled),
        &["pooled_prompt_embeds", "80", "79"],
    );

    let vae = model().vae().unwrap();
    let decoder = open_vae_decoder(&CPU, DType::F32, &vae).unwrap();
    assert_eq!(
        decoder.latent_shape(),
        LatentShape {
            channels: 4,
            scale_factor: 8
        }
    );
    expect(
        decoder.decode(&[0.; 3], 1, 1, false),
        &["latents: expected 4 values", "found 3"],
    );
    expect(decoder.decode(&[], 0, 0, true), &["latents", "0 x 0"]);
    expect(
        decoder.decode(&[f32::INFINITY; 4], 1, 1, false),
        &["the decoded image", "NaN"],
    );
    let encoder = open_vae_encoder(&CPU, DType::F32, &vae).unwrap();
    expect(
        encoder.encode(&[0.; 3 * 9 * 8], 9, 8, false),
        &["divisible by 8", "9 x 8"],
    );
    expect(
        encoder.encode(&[0.; 5], 8, 8, true),
        &["picture: expected 192 values", "found 5"],
    );
}

/// A copy of a folder and all below it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_config_of_another_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    copy(&tiny(), folder);
    let model = Model::locate(folder.to_str().unwrap(), &LocateOptions::default()).unwrap();
    for (part, key, value, parts) in [
        (
            "unet",
            "block_out_channels",
            json!([32, 64, 64]),
            ["expected shape", "config"],
        ),
        (
            "unet",
            "transformer_layers_per_block",
            json!(1),
            ["left over", "transformer_blocks.1"],
        ),
        (
            "unet",
            "mid_block_type",
            json!("UNetMidBlock2D"),
            ["left over", "mid_block.attentions.0"],
        ),
        (
            "unet",
            "cross_attention_dim",
            json!(128),
            ["attn2.to_k.weight", "[64, 128]"],
        ),
        (
            "unet",
            "time_cond_proj_dim",
            json!(8),
            ["config.json", "`time_cond_proj_dim` is 8"],
        ),
        (
            "text_encoder",
            "num_hidden_layers",
            json!(2),
            ["left over", "layers.2"],
        ),
        (
            "text_encoder_2",
            "num_hidden_layers",
            json!(5),
            ["no tensor", "layers.4"],
        ),
        (
            "text_encoder_2",
            "hidden_act",
            json!("gelu_new"),
            ["`hidden_act`", "quick_gelu"],
        ),
        (
            "vae",
            "layers_per_block",
            json!(1),
            ["left over", "resnets.2"],
        ),
        (
            "vae",
            "latents_mean",
            json!([0, 0, 0, 0]),
            ["`latents_mean`", "null"],
        ),
        (
            "vae",
            "use_post_quant_conv",
            json!(false),
            ["left over", "post_quant_conv"],
        ),
    ] {
        let file = folder.join(part).join("config.json");
        let original = std::fs::read(&file).unwrap();
        let mut config: Value = serde_json::from_slice(&original).unwrap();
        config[key] = value;
        std::fs::write(&file, config.to_string()).unwrap();
        let error = match part {
            "unet" => open_unet(&CPU, DType::F32, &model, &[]).err(),
            "vae" => open_vae_decoder(&CPU, DType::F32, &model.vae().unwrap()).err(),
            _ => open_text_encoders(&CPU, DType::F32, &model, &[]).err(),
        };
        let message = error.expect("a config that does not fit").to_string();
        assert!(
            parts.iter().all(|p| message.contains(p)),
            "{part} {key}: {message}"
        );
        std::fs::write(&file, original).unwrap();
    }
}

#[test]
fn devices_this_build_lacks() {
    if cfg!(not(feature = "cuda")) {
        let cuda = open_unet(&Device::Cuda(0), DType::F32, &model(), &[]);
        expect(cuda, &["--device cuda", "--features cuda"]);
    }
    if cfg!(not(feature = "metal")) {
        let metal = open_unet(&Device::Metal, DType::Auto, &model(), &[]);
        expect(metal, &["--device metal", "--features metal"]);
    }
    expect(
        open_unet(&CPU, DType::BF16, &model(), &[]),
        &["bf16", "--dtype f32"],
    );
}
