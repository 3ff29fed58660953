//! LoRA files: dialects, scales, and files of something else.
#![allow(missing_docs, clippy::float_cmp, reason = "the numbers are exact")]

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use turbo_testkit::{shared_dir, tiny, write_safetensors};
use turbo_weights::{Error, LocateOptions, Lora, LoraSpec, Model, Part};

fn halves(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|x| half::f16::from_f32(*x).to_le_bytes())
        .collect()
}

/// A file with zeros of these shapes.
fn file(folder: &TempDir, tensors: &[(&str, &[usize])]) -> PathBuf {
    let path = folder.path().join("lora.safetensors");
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| (*name, *shape, vec![0; 2 * shape.iter().product::<usize>()]))
        .collect();
    write_safetensors(&path, "F16", &tensors);
    path
}

fn refusal(tensors: &[(&str, &[usize])]) -> String {
    let folder = tempfile::tempdir().unwrap();
    Lora::open(&file(&folder, tensors))
        .err()
        .unwrap()
        .to_string()
}

const LAYER: &str = "down_blocks.1.attentions.0.proj_in";

#[test]
fn a_pair_has_its_alpha_over_its_rank() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let key = "lora_unet_input_blocks_4_1_proj_in";
    let names = [".lora_down.weight", ".lora_up.weight", ".alpha"].map(|end| format!("{key}{end}"));
    write_safetensors(
        &path,
        "F16",
        &[
            (&names[0], &[2, 3], halves(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
            (&names[1], &[4, 2], halves(&[0.5; 8])),
            (&names[2], &[], halves(&[3.0])),
        ],
    );
    let lora = Lora::locate(path.to_str().unwrap(), &LocateOptions::default()).unwrap();
    assert_eq!(lora.name(), path.to_str().unwrap());
    assert!(lora.has(Part::Unet) && !lora.has(Part::TextEncoder));
    assert!(lora.finish(Part::Unet).is_err());
    let pair = lora.pair(Part::Unet, LAYER, &[4, 3]).unwrap().unwrap();
    assert_eq!(pair.scale, 1.5);
    assert_eq!(
        (pair.down.shape(), pair.up.shape()),
        (&[2, 3][..], &[4, 2][..])
    );
    assert_eq!(pair.down.to_f32(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    lora.finish(Part::Unet).unwrap();
    assert!(lora.pair(Part::Unet, "conv_in", &[4, 3]).unwrap().is_none());
    assert!(
        lora.pair(Part::TextEncoder, LAYER, &[4, 3])
            .unwrap()
            .is_none()
    );
    let error = lora
        .pair(Part::Unet, LAYER, &[5, 3])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected 5 outputs") && error.contains("found 4"),
        "{error}"
    );
}

#[test]
fn convolutions_are_matrices_of_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        &[
            (
                "lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight",
                &[2, 3, 3, 3],
            ),
            (
                "lora_unet_input_blocks_1_0_in_layers_2.lora_up.weight",
                &[5, 2, 1, 1],
            ),
        ],
    );
    let lora = Lora::open(&path).unwrap();
    let layer = "down_blocks.0.resnets.0.conv1";
    let pair = lora
        .pair(Part::Unet, layer, &[5, 3, 3, 3])
        .unwrap()
        .unwrap();
    assert_eq!(
        (pair.down.shape(), pair.up.shape()),
        (&[2, 27][..], &[5, 2][..])
    );
    assert_eq!(pair.scale, 1.0); // no alpha
}

#[test]
fn pefts_own_configuration_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let write = |config: &str| {
        let header = serde_json::json!({
            "__metadata__": {"lora_adapter_metadata": config},
            format!("unet.{LAYER}.lora_A.weight"): {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]},
            format!("unet.{LAYER}.lora_B.weight"): {"dtype": "F16", "shape": [4, 2], "data_offsets": [12, 28]},
        });
        let header = header.to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 28]);
        fs::write(&path, bytes).unwrap();
    };
    let scale = |config: &str| {
        write(config);
        let pair = Lora::open(&path)?
            .pair(Part::Unet, LAYER, &[4, 3])?
            .unwrap();
        Ok::<_, Error>(pair.scale)
    };
    assert_eq!(
        scale(r#"{"unet.lora_alpha": 8, "unet.r": 2}"#).unwrap(),
        4.0
    );
    assert_eq!(
        scale(r#"{"unet.lora_alpha": 8, "unet.alpha_pattern": {"proj_in": 1}}"#).unwrap(),
        0.5
    );
    assert_eq!(scale(r#"{"text_encoder.lora_alpha": 8}"#).unwrap(), 1.0);
    assert!(
        scale(r#"{"unet.use_dora": true}"#)
            .unwrap_err()
            .to_string()
            .contains("use_dora")
    );
    assert!(
        scale("nonsense")
            .unwrap_err()
            .to_string()
            .contains("not a JSON object")
    );
}

#[test]
fn what_is_not_understood_is_named() {
    let pair: &[(&str, &[usize])] = &[
        (
            "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight",
            &[2, 3],
        ),
        (
            "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight",
            &[3, 2],
        ),
    ];
    for (key, what) in [
        (
            "lora_unet_mid_block_attentions_0_proj_in.dora_scale",
            "DoRA",
        ),
        ("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "LoHa"),
        ("lora_unet_mid_block_attentions_0_proj_in.lokr_w1", "LoKr"),
        (
            "lora_unet_mid_block_attentions_0_proj_in.lora_mid.weight",
            "middle",
        ),
        (
            "lora_unet_mid_block_attentions_0_proj_in.diff",
            "not understood",
        ),
    ] {
        let error = refusal(&[pair, &[(key, &[2, 3])]].concat());
        assert!(error.contains(key) && error.contains(what), "{error}");
    }
    let error = refusal(&pair[..1]);
    assert!(error.contains("lacks its down or its up"), "{error}");
    let error = refusal(&[pair[0], (pair[1].0, &[3, 4])]);
    assert!(error.contains("expected 2 columns"), "{error}");
}

#[test]
fn a_lora_for_something_else_is_told_as_such() {
    for (key, shape, what) in [
        (
            "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight",
            [4, 3072],
            "Flux",
        ),
        (
            "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
            [4, 3072],
            "Flux",
        ),
        (
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
            [4, 1536],
            "Stable Diffusion 3",
        ),
        (
            "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
            [4, 768],
            "Stable Diffusion 1 or 2",
        ),
        (
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            [4, 768],
            "Stable Diffusion 1",
        ),
        (
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight",
            [4, 1024],
            "Stable Diffusion 2",
        ),
    ] {
        let error = refusal(&[(key, &shape)]);
        assert!(
            error.contains("a LoRA for") && error.contains(what),
            "{error}"
        );
    }
    let error = refusal(&[("clip_l", &[2, 768]), ("clip_g", &[2, 1280])]);
    assert!(error.contains("textual inversion"), "{error}");
    let error = Lora::open(&turbo_testkit::tiny_single())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("not understood"), "{error}");
    let none = Lora::locate("./none.safetensors", &LocateOptions::default());
    assert!(matches!(none.err().unwrap(), Error::NoSuchLora { .. }));
}

#[test]
fn one_of_a_repository_lies_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let options = LocateOptions {
        cache: Some(folder.path().join("hub")),
        ..LocateOptions::default()
    };
    let spec = "o/n:sub/x.safetensors";
    let error = Lora::locate(spec, &options).err().unwrap().to_string();
    assert!(
        error.contains("fetch-model o/n sub/x.safetensors"),
        "{error}"
    );
    let model = folder.path().join("hub/models--o--n");
    let commit = "ab".repeat(20);
    let snapshot = model.join("snapshots").join(&commit);
    fs::create_dir_all(snapshot.join("sub")).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), &commit).unwrap();
    let made = file(
        &folder,
        &[
            ("unet.conv_in.lora_A.weight", &[1, 9]),
            ("unet.conv_in.lora_B.weight", &[2, 1]),
        ],
    );
    fs::rename(made, snapshot.join("sub/x.safetensors")).unwrap();
    let lora = Lora::locate(spec, &options).unwrap();
    assert_eq!(lora.name(), format!("o/n@{commit}:sub/x.safetensors"));
    assert_eq!(
        Lora::locate(lora.name(), &options).unwrap().name(),
        lora.name()
    );
    for spec in ["o/n:../../x", "o/n:", "o/n:y.safetensors"] {
        assert!(
            matches!(
                Lora::locate(spec, &options).err().unwrap(),
                Error::FileNotInCache { .. }
            ),
            "{spec}"
        );
    }
}

#[test]
fn a_spec_is_a_file_and_perhaps_a_scale() {
    let spec = |text: &str| text.parse::<LoraSpec>().map(|spec| (spec.file, spec.scale));
    assert_eq!(spec("a.safetensors"), Ok(("a.safetensors".to_owned(), 1.0)));
    assert_eq!(
        spec("a.safetensors=0.7"),
        Ok(("a.safetensors".to_owned(), 0.7))
    );
    assert_eq!(
        spec("o/n:a.safetensors=-1"),
        Ok(("o/n:a.safetensors".to_owned(), -1.0))
    );
    assert_eq!(
        spec("rank=8.safetensors"),
        Ok(("rank=8.safetensors".to_owned(), 1.0))
    );
    for bad in [
        "a.safetensors=",
        "a.safetensors=x",
        "a.safetensors=inf",
        "=1",
        "",
    ] {
        assert!(spec(bad).is_err(), "{bad}");
    }
}

/// The files that diffusers was given, on the checkpoint that they were made for: every layer finds its weight.
#[test]
fn the_reference_files_fit_the_tiny_checkpoint() {
    let Some(shared) = shared_dir() else {
        println!("skipped: no shared folder with the reference files");
        return;
    };
    let folder = shared.join("reference/golden/adapters");
    let model = Model::locate(tiny().to_str().unwrap(), &LocateOptions::default()).unwrap();
    for (name, layers) in [
        ("peft", 224),
        ("diffusers-old", 224),
        ("kohya-sgm", 344),
        ("kohya-diffusers", 302),
        ("kohya-conv", 368),
    ] {
        let lora = Lora::open(&folder.join(name).with_extension("safetensors")).unwrap();
        let mut found = 0;
        for part in [Part::TextEncoder, Part::TextEncoder2, Part::Unet] {
            found += layers_of(&lora, &model, part);
            lora.finish(part).unwrap();
        }
        assert_eq!(found, layers, "{name}");
    }
}

fn layers_of(lora: &Lora, model: &Model, part: Part) -> usize {
    let weights = model.weights(part).unwrap();
    weights
        .names()
        .filter_map(|name| Some((name.strip_suffix(".weight")?, weights.shape(name)?)))
        .filter(|(layer, shape)| lora.pair(part, layer, shape).unwrap().is_some())
        .count()
}

#[test]
fn a_missing_folder_is_an_error() {
    assert!(Lora::open(Path::new("none/x.safetensors")).is_err());
}
