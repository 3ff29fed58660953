//! The binary on the tiny checkpoint: what it writes, and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use half::f16;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use turbo_testkit::process::{feed, names_in, stderr, tool};
use turbo_testkit::{tiny_lettered, tiny_single};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const SOURCE: &str = "unet/diffusion_pytorch_model.fp16.safetensors";

fn run(model: &Path, output: &Path, flags: &[&str]) -> Output {
    let (model, output) = (model.to_str().unwrap(), output.to_str().unwrap());
    let args = [&[model, "-o", output], flags].concat();
    feed(tool(env!("CARGO_BIN_EXE_quantize-model"), &args), b"")
}

#[track_caller]
fn quantize(model: &Path, output: &Path, flags: &[&str]) -> String {
    let ended = run(model, output, flags);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(ended.stdout.is_empty());
    stderr(&ended)
}

#[track_caller]
fn assert_fails(ended: &Output, status: i32, words: &[&str]) {
    for word in words {
        turbo_testkit::process::assert_fails(ended, status, word);
    }
}

/// Name, type, shape and bytes of every tensor, by the `safetensors` crate.
fn tensors(file: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let views = file.tensors().into_iter();
    views
        .map(|(name, view)| {
            let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            let size = view.dtype().bitsize() / 8;
            assert!(start.is_multiple_of(size), "{name} is not aligned");
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect()
}

fn metadata(file: &Path) -> serde_json::Value {
    let bytes = fs::read(file).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    header["__metadata__"].clone()
}

fn f16s(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f16::from_le_bytes(*b).to_f32())
        .collect()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

#[test]
fn each_weight_is_its_int8_times_its_scale() {
    let (model, folder) = (tiny_lettered(), tempfile::tempdir().unwrap());
    assert!(quantize(&model, folder.path(), &[]).is_empty());
    let (source, written) = (
        tensors(&model.join(SOURCE)),
        tensors(&folder.path().join(UNET)),
    );
    let (mut int8, mut exact) = (0, 0);
    for (name, (dtype, shape, bytes)) in &source {
        let (found_dtype, found_shape, found) = &written[name];
        assert_eq!(shape, found_shape, "{name}");
        if *found_dtype != Dtype::I8 {
            assert_eq!((dtype, bytes), (found_dtype, found), "{name}");
            exact += 1;
            continue;
        }
        int8 += 1;
        let (scale_dtype, scale_shape, scales) = &written[&format!("{name}_scale")];
        assert_eq!(*scale_dtype, Dtype::F32);
        // It broadcasts over the weight.
        assert_eq!(
            (scale_shape.len(), scale_shape[0]),
            (shape.len(), shape[0]),
            "{name}"
        );
        let (floats, scales) = (f16s(bytes), f32s(scales));
        let row = floats.len() / shape[0];
        for ((floats, whole), scale) in floats.chunks(row).zip(found.chunks(row)).zip(scales) {
            let largest = floats.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert_eq!(scale.to_bits(), (largest / 127.).to_bits(), "{name}");
            for (x, q) in floats.iter().zip(whole) {
                let q = f32::from(q.cast_signed());
                let off = (x - q * scale).abs();
                assert!(
                    off <= 0.5001 * scale && q.abs() <= 127.,
                    "{name}: {x} is {q} times {scale}"
                );
            }
        }
        let layer = name.strip_suffix("weight").unwrap();
        let (_, _, format) = &written[&format!("{layer}comfy_quant")];
        let format: serde_json::Value = serde_json::from_slice(format).unwrap();
        // The only one of MixDQ's feed-forwards that so small a network has.
        let uneven = "up_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.";
        let floats = [".attn2.to_k.", ".attn2.to_v.", uneven]
            .iter()
            .any(|end| layer.ends_with(end));
        assert_eq!(format["format"], "int8_tensorwise");
        assert_eq!(
            format["full_precision_matrix_mult"] == true,
            floats,
            "{name}"
        );
    }
    assert_eq!(written.len(), exact + 3 * int8);
    for name in [
        "conv_in.weight",
        "conv_out.weight",
        "time_embedding.linear_1.weight",
        "conv_in.bias",
    ] {
        assert_eq!(written[name].0, Dtype::F16, "{name}");
    }
    let count = |all: &BTreeMap<_, (Dtype, Vec<usize>, _)>, dtype| -> usize {
        let of = all.values().filter(|tensor| tensor.0 == dtype);
        of.map(|tensor| tensor.1.iter().product::<usize>()).sum()
    };
    // Nearly all.
    assert!(count(&written, Dtype::I8) * 10 > count(&source, Dtype::F16) * 9);
}

#[test]
fn the_file_says_what_was_done_and_to_what() {
    let (model, folder) = (tiny_lettered(), tempfile::tempdir().unwrap());
    quantize(
        &model,
        folder.path(),
        &["--keep", "mid_block.*", "--float=*.ff.net.2"],
    );
    let found = metadata(&folder.path().join(UNET));
    let hash = Sha256::digest(fs::read(model.join(SOURCE)).unwrap());
    let hash: Vec<_> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = |key: &str| -> serde_json::Value {
        serde_json::from_str(found[key].as_str().unwrap()).unwrap()
    };
    assert_eq!(
        list("source_sha256"),
        serde_json::json!({ SOURCE: hash.concat() })
    );
    assert!(
        found["quantization"]
            .as_str()
            .unwrap()
            .starts_with("int8_tensorwise: ")
    );
    let written = tensors(&folder.path().join(UNET));
    let int8 = written
        .values()
        .filter(|tensor| tensor.0 == Dtype::I8)
        .count();
    assert_eq!(found["int8_layers"], int8.to_string());
    let layers = |key: &str| {
        list(key)
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let kept = layers("kept_layers");
    assert!(
        kept.iter()
            .any(|layer| layer == "mid_block.resnets.0.conv1")
    );
    assert!(
        !written
            .iter()
            .any(|(name, tensor)| name.starts_with("mid_block") && tensor.0 == Dtype::I8)
    );
    let float = layers("float_activations");
    assert!(float.iter().any(|layer| layer.ends_with(".ff.net.2")));
    assert!(float.iter().any(|layer| layer.ends_with(".attn2.to_k")));
    // The autoencoder is copied, the encoders are not.
    let vae = tensors(
        &folder
            .path()
            .join("vae/diffusion_pytorch_model.safetensors"),
    );
    assert_eq!(
        vae,
        tensors(&model.join("vae/diffusion_pytorch_model.fp16.safetensors"))
    );
    let text = tensors(&folder.path().join("text_encoder/model.safetensors"));
    let dtype = |name: &str| text[&format!("text_model.{name}.weight")].0;
    assert_eq!(dtype("encoder.layers.0.mlp.fc1"), Dtype::I8);
    assert_eq!(dtype("embeddings.token_embedding"), Dtype::F16);
}

/// What a second run finds whole it leaves alone; what is not what it would write it writes.
#[test]
fn a_run_goes_on_where_another_was_stopped() {
    let (model, folder) = (tiny_lettered(), tempfile::tempdir().unwrap());
    quantize(&model, folder.path(), &[]);
    let (unet, text) = (
        folder.path().join(UNET),
        folder.path().join("text_encoder/model.safetensors"),
    );
    let (whole, time) = (fs::read(&unet).unwrap(), |path| {
        fs::metadata(path).unwrap().modified().unwrap()
    });
    let before = time(&text);
    fs::write(&unet, &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path().join("unet/.turbo-killed.part"), "half").unwrap();
    let told = quantize(&model, folder.path(), &["--verbose"]);
    assert!(
        told.contains("text_encoder/model.safetensors: ") && told.contains(", there already"),
        "{told}"
    );
    assert_eq!(fs::read(&unet).unwrap(), whole);
    assert_eq!(time(&text), before);
    assert_eq!(
        names_in(unet.parent().unwrap()),
        ["config.json", "diffusion_pytorch_model.safetensors"]
    );
    // Other flags, another file.
    quantize(&model, folder.path(), &["--part", "text"]);
    assert_eq!(tensors(&unet), tensors(&model.join(SOURCE)));
    assert_eq!(time(&text), before);
}

#[test]
fn a_single_file_and_a_folder_become_the_same() {
    let (model, folder) = (tiny_lettered(), tempfile::tempdir().unwrap());
    let (from_folder, from_file) = (folder.path().join("a"), folder.path().join("b"));
    quantize(&model, &from_folder, &[]);
    // The tiny widths need configs, which lie beside the file.
    let single = folder.path().join("tiny.safetensors");
    fs::copy(tiny_single(), &single).unwrap();
    for part in [
        "unet",
        "vae",
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
    ] {
        let beside = folder.path().join("tiny").join(part);
        fs::create_dir_all(&beside).unwrap();
        for name in names_in(&model.join(part)) {
            if !name.ends_with(".safetensors") {
                fs::copy(model.join(part).join(&name), beside.join(&name)).unwrap();
            }
        }
    }
    quantize(&single, &from_file, &[]);
    let (a, b) = (
        tensors(&from_folder.join(UNET)),
        tensors(&from_file.join(UNET)),
    );
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(a == b, "another UNet");
    // And once more: what is int8 stays.
    let again = folder.path().join("c");
    quantize(&from_folder, &again, &[]);
    assert!(tensors(&again.join(UNET)) == a, "int8 was changed");
}

#[test]
fn what_cannot_be_done_is_refused_with_a_remedy() {
    let (model, folder) = (tiny_lettered(), tempfile::tempdir().unwrap());
    assert_fails(
        &run(&model, &model, &[]),
        1,
        &["expected another folder than the model's"],
    );
    let other = folder.path().join("other");
    fs::create_dir_all(other.join("unet")).unwrap();
    fs::write(
        other.join("unet/diffusion_pytorch_model.fp16.safetensors"),
        "",
    )
    .unwrap();
    let words = [
        "other/unet: ",
        "found diffusion_pytorch_model.fp16.safetensors",
        "rm -r ",
    ];
    assert_fails(&run(&model, &other, &[]), 1, &words);
    let none = folder.path().join("none");
    let words = ["no.such.layer: expected the name of a layer"];
    assert_fails(&run(&model, &none, &["--keep", "no.such.layer"]), 2, &words);
    assert_fails(
        &run(Path::new("./no/model"), &none, &[]),
        1,
        &["./no/model"],
    );
    assert_fails(
        &run(&model, &none, &["--part", "all"]),
        2,
        &["unet", "text", "vae"],
    );

    // A number that is none, in a file that is otherwise whole.
    let damaged = folder.path().join("damaged");
    fs::create_dir_all(damaged.join("unet")).unwrap();
    for name in ["unet/config.json", "model_index.json"] {
        fs::copy(model.join(name), damaged.join(name)).unwrap();
    }
    fs::create_dir_all(damaged.join("scheduler")).unwrap();
    let name = "scheduler/scheduler_config.json";
    fs::copy(model.join(name), damaged.join(name)).unwrap();
    let mut bytes = fs::read(model.join(SOURCE)).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let layer = "mid_block.attentions.0.proj_in.weight";
    let at = 8 + len + header[layer]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[at..at + 2].copy_from_slice(&f16::NAN.to_le_bytes());
    fs::write(damaged.join(SOURCE), bytes).unwrap();
    let words = [layer, "row 0: expected finite numbers"];
    assert_fails(&run(&damaged, &none, &[]), 1, &words);
    assert!(!none.join(UNET).exists());
}
