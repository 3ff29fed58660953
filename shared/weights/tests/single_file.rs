//! Whole checkpoints in one file, under LDM's names.
//!
//! Which key holds which tensor is read off diffusers' own conversion, when the expected values were made.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use turbo_testkit::{shared_dir, tiny, write_safetensors};
use turbo_weights::{Dtype, Error, LocateOptions, Model, Part, open_vae};

fn single_file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.safetensors");
    fs::copy(turbo_testkit::tiny_single(), &file).unwrap();
    (folder, file)
}

fn options(folder: &TempDir) -> LocateOptions {
    // An empty cache: what this machine has must not matter.
    LocateOptions {
        cache: Some(folder.path().join("cache")),
        ..LocateOptions::default()
    }
}

fn locate(file: &Path, options: &LocateOptions) -> Model {
    Model::locate(file.to_str().unwrap(), options).unwrap()
}

#[test]
fn every_tensor_equals_the_folders() {
    let (folder, file) = single_file();
    let options = options(&folder);
    let single = locate(&file, &options);
    assert_eq!(Path::new(single.name()), file);
    let published = Model::locate(tiny().to_str().unwrap(), &options).unwrap();
    for part in Part::ALL {
        let (ours, expected) = (
            single.weights(part).unwrap(),
            published.weights(part).unwrap(),
        );
        let names: Vec<_> = expected.names().collect();
        assert_eq!(ours.names().collect::<Vec<_>>(), names, "{part:?}");
        for name in names {
            let shape = expected.shape(name).unwrap();
            let (ours, expected) = (
                ours.get(name, shape).unwrap(),
                expected.get(name, shape).unwrap(),
            );
            assert_eq!((ours.name(), ours.dtype()), (name, Dtype::F16));
            assert!(
                ours.bytes() == expected.bytes(),
                "{part:?} {name} has other bytes"
            );
        }
        ours.finish().unwrap();
    }
}

#[test]
fn configs_and_tokenizers_come_from_a_folder() {
    let (folder, file) = single_file();
    let options = options(&folder);
    // What lies in the folder that is called like the file counts.
    let beside = folder.path().join("all");
    std::os::unix::fs::symlink(tiny(), &beside).unwrap();
    let model = locate(&file, &options);
    let published = Model::locate(tiny().to_str().unwrap(), &options).unwrap();
    for part in Part::ALL {
        assert_eq!(model.config(part).unwrap(), published.config(part).unwrap());
        let path = beside.join(part.folder()).join("config.json");
        assert_eq!(model.config_path(part), path);
    }
    assert_eq!(
        model.scheduler_config().unwrap(),
        published.scheduler_config().unwrap()
    );
    assert_eq!(
        model.model_index().unwrap(),
        published.model_index().unwrap()
    );
    if shared_dir().is_some() {
        assert_eq!(
            model.tokenizer(2).unwrap().vocab,
            published.tokenizer(2).unwrap().vocab
        );
    }
    // What is not there is as published.
    fs::remove_file(&beside).unwrap();
    fs::create_dir_all(beside.join("unet")).unwrap();
    fs::write(beside.join("unet/config.json"), "{\"sample_size\": 7}").unwrap();
    let model = locate(&file, &options);
    assert_eq!(model.config(Part::Unet).unwrap()["sample_size"], 7);
    assert_eq!(model.scheduler_config().unwrap()["beta_start"], 0.00085);
}

#[test]
fn configs_that_the_tensors_do_not_tell_are_asked_for() {
    let (folder, file) = single_file();
    let model = locate(&file, &options(&folder));
    // The numbers of heads and groups leave no trace in the tensors, and these widths are not SDXL's. (That the
    // published shapes give the published configs is tested beside the code.)
    for (part, key) in [
        (Part::Unet, "attention_head_dim at 32 channels"),
        (Part::Vae, "norm_num_groups at 64 channels"),
        (Part::TextEncoder, "num_attention_heads at 64 channels"),
        (Part::TextEncoder2, "num_attention_heads at 96 channels"),
    ] {
        let error = model.config(part).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
        assert!(
            error.contains(&format!(
                "in the folder {}",
                folder.path().join("all").display()
            )),
            "{error}"
        );
    }
    assert_eq!(
        model.scheduler_config().unwrap()["timestep_spacing"],
        "trailing"
    );
}

#[test]
fn tokenizers_are_looked_for_beside_the_file_then_in_the_cache() {
    let (folder, file) = single_file();
    let options = options(&folder);
    let model = locate(&file, &options);
    let error = model.tokenizer(1).unwrap_err().to_string();
    assert!(
        error.contains("all/tokenizer/vocab.json")
            && error.contains("fetch-model stabilityai/sdxl-turbo"),
        "{error}"
    );
    let write = |folder: &Path, merges: &str| {
        for part in ["tokenizer", "tokenizer_2"] {
            fs::create_dir_all(folder.join(part)).unwrap();
            fs::write(folder.join(part).join("vocab.json"), "{}").unwrap();
            fs::write(folder.join(part).join("merges.txt"), merges).unwrap();
            fs::write(folder.join(part).join("tokenizer_config.json"), "{}").unwrap();
        }
    };
    let commit = "a".repeat(40);
    for (name, merges) in [
        ("stable-diffusion-xl-base-1.0", "base"),
        ("sdxl-turbo", "turbo"),
    ] {
        let cached = folder
            .path()
            .join("cache")
            .join(format!("models--stabilityai--{name}"));
        write(&cached.join("snapshots").join(&commit), merges);
        fs::create_dir_all(cached.join("refs")).unwrap();
        fs::write(cached.join("refs/main"), &commit).unwrap();
        assert_eq!(model.tokenizer(1).unwrap().merges, merges);
    }
    write(folder.path(), "beside");
    assert_eq!(model.tokenizer(2).unwrap().merges, "beside");
    write(&folder.path().join("all"), "own");
    assert_eq!(model.tokenizer(2).unwrap().merges, "own");
}

#[test]
fn the_autoencoder_of_a_single_file_can_be_had_by_itself() {
    let (folder, file) = single_file();
    let error = open_vae(&file, None).err().unwrap();
    assert!(matches!(&error, Error::NoConfig { .. }), "{error}");
    let config = folder.path().join("all/vae/config.json");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::copy(tiny().join("vae/config.json"), &config).unwrap();
    let vae = open_vae(&file, None).unwrap();
    assert_eq!(vae.class.name(), "AutoencoderKL");
    assert_eq!(vae.config["norm_num_groups"], 8);
    let shortcut = "decoder.up_blocks.3.resnets.0.conv_shortcut.weight";
    vae.weights.get(shortcut, &[16, 32, 1, 1]).unwrap();
    let own = locate(&file, &options(&folder)).vae().unwrap();
    assert!(own.weights.names().eq(vae.weights.names()));
}

#[test]
fn files_of_something_else_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 10] = [
        (
            &["down_blocks.0.resnets.0.conv1.weight"],
            "holds one component",
        ),
        (
            &["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"],
            "it is a LoRA: give it with --lora",
        ),
        (&["control_model.x"], "it is a ControlNet"),
        (
            &["double_blocks.0.img_attn.proj.weight"],
            "it is a checkpoint of Flux",
        ),
        (
            &["model.diffusion_model.joint_blocks.0.x"],
            "Stable Diffusion 3",
        ),
        (
            &[
                "model.diffusion_model.out.2.bias",
                "conditioner.embedders.1.model.ln_final.bias",
                "edm_mean",
            ],
            "`edm_mean`: EDM",
        ),
        (&["other.x"], "no `model.diffusion_model.*` tensors"),
        (
            &["model.diffusion_model.out.2.bias", "cond_stage_model.x"],
            "Stable Diffusion 1 or 2",
        ),
        (
            &["model.diffusion_model.out.2.bias"],
            "lacks SDXL's text encoders",
        ),
        (
            &[
                "model.diffusion_model.out.2.bias",
                "conditioner.embedders.1.model.ln_final.bias",
                "nobody.knows",
            ],
            "1 tensors are left over: nobody.knows",
        ),
    ];
    for (names, expected) in cases {
        let file = folder.path().join("x.safetensors");
        let tensors: Vec<_> = names
            .iter()
            .map(|name| (*name, &[1][..], vec![0; 2]))
            .collect();
        write_safetensors(&file, "F16", &tensors);
        let error = Model::locate(file.to_str().unwrap(), &options(&folder))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("x.safetensors") && error.contains(expected),
            "{error}"
        );
    }
    fs::write(folder.path().join("x.ckpt"), b"\x80\x02.").unwrap();
    let pickle = folder.path().join("x.ckpt");
    assert!(matches!(
        Model::locate(pickle.to_str().unwrap(), &options(&folder))
            .err()
            .unwrap(),
        Error::Pickle { .. }
    ));
}

#[test]
fn odd_tensors_in_a_single_file_are_left_over_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let unet = [
        "input_blocks.0.0.bias",
        "input_blocks.x.0.bias",
        "input_blocks.1.7.bias",
        "output_blocks.99999999999999999999.0.bias",
        "middle_block",
        "out.1.bias",
        "time_embed.1.bias",
    ];
    let clip = [
        "text_projection",
        "transformer.resblocks.0.attn.in_proj_bias",
        "transformer.resblocks",
        "ln_final.bias",
        "other",
    ];
    let vae = [
        "decoder.mid.block_3.conv1.bias",
        "decoder.up.x.block.0.conv1.bias",
        "decoder.up.18446744073709551615.block.0.conv1.bias",
        "decoder.mid.attn_1",
    ];
    let name = |prefix: &'static str| move |n: &&str| format!("{prefix}.{n}");
    let names: Vec<String> = unet
        .iter()
        .map(name("model.diffusion_model"))
        .chain(clip.iter().map(name("conditioner.embedders.1.model")))
        .chain(vae.iter().map(name("first_stage_model")))
        .collect();
    let tensors: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), &[1][..], vec![0; 2]))
        .collect();
    write_safetensors(&file, "F16", &tensors);
    let model = locate(&file, &options(&folder));
    for part in [Part::Unet, Part::TextEncoder2, Part::Vae] {
        assert!(matches!(
            model.weights(part).unwrap().finish().unwrap_err(),
            Error::LeftOver { .. }
        ));
        assert!(model.config(part).is_err());
    }
    let error = model.weights(Part::TextEncoder).err().unwrap().to_string();
    assert!(error.contains("lacks the text_encoder"), "{error}");
}

#[test]
fn marks_and_what_tools_leave() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let names = [
        "model.diffusion_model.out.2.bias",
        "conditioner.embedders.1.model.ln_final.bias",
        "v_pred",
        "ztsnr",
        "global_step",
        "optimizer_states.0.exp_avg",
        "model_ema.decay",
        "first_stage_model.loss.logvar",
        "conditioner.embedders.1.model.visual.proj",
    ];
    let tensors = names.map(|name| (name, &[1][..], vec![0; 2]));
    write_safetensors(&file, "F16", &tensors);
    let config = locate(&file, &options(&folder)).scheduler_config().unwrap();
    assert_eq!(config["prediction_type"], "v_prediction");
    assert_eq!(config["rescale_betas_zero_snr"], true);
    assert_eq!(config["timestep_spacing"], "trailing");
    let error = locate(&file, &options(&folder))
        .weights(Part::Vae)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("lacks the vae; give another one with --vae"),
        "{error}"
    );
    write_safetensors(&file, "F16", &tensors[..2]);
    let config = locate(&file, &options(&folder)).scheduler_config().unwrap();
    assert_eq!(config["prediction_type"], "epsilon");
    assert!(config.get("rescale_betas_zero_snr").is_none());
}
