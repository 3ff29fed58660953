//! Autoencoders by themselves, in every naming there is.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;
use turbo_testkit::{shared_dir, tiny, tiny_tensor, write_safetensors};
use turbo_weights::{Autoencoder, Error, VaeClass, Variant, open_vae};

/// Asks for every tensor, so that nothing is left over.
fn drain(vae: &Autoencoder) -> Vec<(String, Vec<f32>)> {
    let weights = &vae.weights;
    let get = |name: &str| {
        weights
            .get(name, weights.shape(name).unwrap())
            .unwrap()
            .to_f32()
    };
    let all = weights
        .names()
        .map(|name| (name.to_owned(), get(name)))
        .collect();
    weights.finish().unwrap();
    all
}

#[test]
fn taesdxl_is_the_same_in_its_own_files_and_in_diffusers() {
    let Some(shared) = shared_dir() else { return };
    let own = open_vae(shared.join("data/taesdxl"), None).unwrap();
    let diffusers = open_vae(shared.join("data/prototype/vae"), None).unwrap();
    assert_eq!(
        (own.class, diffusers.class),
        (VaeClass::AutoencoderTiny, VaeClass::AutoencoderTiny)
    );
    for (key, value) in own.config.as_object().unwrap() {
        assert_eq!(value, &diffusers.config[key], "{key}");
    }
    let (own, diffusers) = (drain(&own), drain(&diffusers));
    assert_eq!(own.len(), 134);
    for ((name, own), (expected_name, expected)) in own.iter().zip(&diffusers) {
        assert_eq!(name, expected_name);
        // bf16 in TAESDXL's files, f16 in the other: numbers below f16's least normal one lose digits.
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2f32.powi(-25);
        assert!(own.iter().zip(expected).all(close), "{name}");
    }
    for (file, half) in [
        ("taesdxl_decoder", "decoder."),
        ("taesdxl_encoder", "encoder."),
    ] {
        let vae = open_vae(
            shared
                .join("data/taesdxl")
                .join(file)
                .with_extension("safetensors"),
            None,
        )
        .unwrap();
        assert_eq!(vae.class, VaeClass::AutoencoderTiny);
        assert_eq!(vae.config["latent_channels"], 4);
        let names: Vec<_> = drain(&vae).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| name.starts_with(half)) && names.len() == 67);
    }
}

#[test]
fn a_file_takes_the_config_beside_it() {
    let file = tiny().join("vae/diffusion_pytorch_model.fp16.safetensors");
    let vae = open_vae(&file, None).unwrap();
    assert_eq!(vae.class, VaeClass::AutoencoderKl);
    assert_eq!(
        vae.config["sample_size"],
        open_vae(tiny(), None).unwrap().config["sample_size"]
    );
    assert_eq!(drain(&vae).len(), 248);
    // Without it, or with one of another class, what the tensors do not tell is asked for.
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("x.safetensors");
    fs::copy(&file, &alone).unwrap();
    for _ in 0..2 {
        let error = open_vae(&alone, Some(Variant::Plain))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("norm_num_groups at 64 channels"), "{error}");
        let config = r#"{"_class_name": "AutoencoderTiny"}"#;
        fs::write(folder.path().join("config.json"), config).unwrap();
    }
}

#[test]
fn old_names_and_convolutions_become_todays_matrices() {
    let folder = tempfile::tempdir().unwrap();
    let block = "decoder.mid_block.attentions.0";
    let old = [
        ("query", "to_q"),
        ("key", "to_k"),
        ("value", "to_v"),
        ("proj_attn", "to_out.0"),
    ];
    let file = folder.path().join("old.safetensors");
    fs::copy(
        tiny().join("vae/config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let names: Vec<_> = old
        .iter()
        .map(|(old, _)| format!("{block}.{old}.weight"))
        .collect();
    let bytes = |new: &str| tiny_tensor(&format!("vae/{block}.{new}.weight")).1;
    let attention = old.iter().zip(&names);
    let attention =
        attention.map(|((_, new), name)| (name.as_str(), &[64, 64, 1, 1][..], bytes(new)));
    let conv = ("decoder.conv_in.weight", &[64, 4, 1, 1][..], vec![0; 512]);
    let out = ("decoder.conv_out.weight", &[3, 64, 1, 1][..], vec![0; 384]);
    let tensors: Vec<_> = attention.chain([conv, out]).collect();
    write_safetensors(&file, "F16", &tensors);
    let vae = open_vae(&file, None).unwrap();
    assert_eq!(vae.config["norm_num_groups"], 8);
    for (_, new) in old {
        let weight = vae
            .weights
            .get(&format!("{block}.{new}.weight"), &[64, 64])
            .unwrap();
        assert_eq!(weight.bytes(), bytes(new));
    }
    vae.weights
        .get("decoder.conv_in.weight", &[64, 4, 1, 1])
        .unwrap();
    vae.weights
        .get("decoder.conv_out.weight", &[3, 64, 1, 1])
        .unwrap();
    vae.weights.finish().unwrap();
}

#[test]
fn a_bare_ldm_autoencoder_is_read() {
    // The single-file checkpoint's autoencoder without its prefix, as it is published by itself.
    let folder = tempfile::tempdir().unwrap();
    let keys =
        fs::read_to_string(turbo_testkit::golden_dir().join("single_file_keys.json")).unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    let mut tensors = Vec::new();
    for (key, entry) in keys.as_object().unwrap() {
        let Some(key) = key.strip_prefix("first_stage_model.") else {
            continue;
        };
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        tensors.push((
            key,
            shape,
            tiny_tensor(entry["from"][0].as_str().unwrap()).1,
        ));
    }
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(key, shape, bytes)| (*key, &shape[..], bytes.clone()))
        .collect();
    let file = folder.path().join("sdxl_vae.safetensors");
    fs::copy(
        tiny().join("vae/config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    write_safetensors(&file, "F16", &tensors);
    let (ours, expected) = (
        drain(&open_vae(&file, None).unwrap()),
        drain(&open_vae(tiny().join("vae"), None).unwrap()),
    );
    assert!(ours == expected);
}

#[test]
fn what_is_no_autoencoder_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = |path: &Path| open_vae(path, None).err().unwrap();
    assert!(matches!(
        text(&folder.path().join("none")),
        Error::NoSuchPath { .. }
    ));
    let error = text(folder.path());
    assert!(
        matches!(&error, Error::MissingFile { path, .. } if path.ends_with("config.json")),
        "{error}"
    );
    let unet = tiny().join("unet/diffusion_pytorch_model.fp16.safetensors");
    assert!(matches!(text(&unet), Error::NotAVae { .. }));
    fs::write(
        folder.path().join("config.json"),
        r#"{"_class_name": "AsymmetricAutoencoderKL"}"#,
    )
    .unwrap();
    let error = text(folder.path());
    assert!(matches!(&error, Error::NoWeights { .. }), "{error}");
    fs::copy(
        tiny().join("vae/diffusion_pytorch_model.fp16.safetensors"),
        folder
            .path()
            .join("diffusion_pytorch_model.fp16.safetensors"),
    )
    .unwrap();
    let error = text(folder.path()).to_string();
    assert!(error.contains("`_class_name`: expected AutoencoderKL or AutoencoderTiny, found AsymmetricAutoencoderKL"), "{error}");
}
