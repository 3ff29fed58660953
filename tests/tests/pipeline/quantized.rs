//! Checkpoints that `quantize-model` writes, in whole pipes, against int8 that torch simulates around diffusers'
//! networks.

use pipeline_tests::{Stage, embeddings, frame, pictures, pipe, python, tool};
use std::path::Path;
use tempfile::TempDir;
use turbo_testkit::{golden, golden_dir, relative_error, shared_dir, tiny, tiny_lettered};
use turbo_wire::{Kind, names};

/// Bound where all positions stay floats.
const FLOAT: f64 = 1e-5;
/// Bound where one kind of layer has int8, as a share of what int8 changes: few numbers are so near to a half that they are
/// rounded the other way here.
const SHARE: f64 = 0.1;

/// The block whose layers become int8 kind by kind, and the kinds.
const BLOCK: &str = "up_blocks.1.attentions.2.";
const KINDS: [&str; 8] = [
    "attn1.to",
    "attn1.to_out.0",
    "attn2.to_q",
    "attn2.to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "proj_in",
    "proj_out",
];

/// Flags that leave int8 positions to a kind of layer of the block.
fn all_but(kind: &str) -> String {
    let others = [
        "down_blocks.*",
        "mid_block.*",
        "up_blocks.0.*",
        "up_blocks.1.attentions.0.*",
        "up_blocks.1.attentions.1.*",
    ];
    let mut flags: Vec<String> = others
        .iter()
        .map(|name| format!("--float {name}"))
        .collect();
    for other in KINDS.iter().filter(|other| **other != kind) {
        let ends: &[&str] = if *other == "attn1.to" {
            &["_q", "_k", "_v"]
        } else {
            &[""]
        };
        flags.extend(
            ends.iter()
                .map(|end| format!("--float {BLOCK}*{other}{end}")),
        );
    }
    flags.join(" ")
}

/// A copy of the tiny checkpoint with int8 weights.
fn quantized(model: &Path, flags: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let stage = tool("quantize-model", flags)
        .arg("-o")
        .arg(folder.path())
        .arg(model);
    assert!(pipe([stage]).run().ok().is_empty(), "nothing but files");
    folder
}

fn denoise(model: &Path, flags: &str) -> Stage {
    tool(
        "denoise",
        "--dtype f32 --width 64 --height 96 --seed 42 --guidance-scale 0",
    )
    .model(model)
    .words(flags)
}

fn latents(stage: Stage) -> Vec<f32> {
    let out = pipe([stage]).input(embeddings(&[0], &[])).run();
    let frame = frame(out.ok(), Kind::Latents);
    frame.to_f32(names::LATENTS).expect("latents")
}

/// What torch simulates.
fn simulated(name: &str) -> Vec<f32> {
    golden("int8")[name].f32()
}

#[track_caller]
fn expect_near(found: &[f32], name: &str, limit: f64) {
    let e = relative_error(found, &simulated(name));
    println!("{name}: e = {e:.1e}");
    assert!(e <= limit, "{name}: e = {e}, more than {limit}");
}

/// Whether activations become int8 here, which they do where products of int8 are faster than those of floats.
fn has_int8() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found = is_x86_feature_detected!("avx512vnni")
        || is_x86_feature_detected!("avx2") && !is_x86_feature_detected!("avx512f");
    #[cfg(target_arch = "aarch64")]
    let found = std::arch::is_aarch64_feature_detected!("dotprod");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = false;
    found && std::env::var_os("TURBO_ISA").is_none()
}

#[test]
fn weights_of_int8_are_what_torch_simulates() {
    let folder = quantized(&tiny_lettered(), "--float *");
    expect_near(
        &latents(denoise(folder.path(), "--steps 2")),
        "weights/latents",
        FLOAT,
    );
    // The test would not see it otherwise.
    let float = latents(denoise(&tiny_lettered(), "--steps 2"));
    assert!(relative_error(&float, &simulated("weights/latents")) > 100. * FLOAT);
    // A CPU without products of int8 widens the weights, whatever the file wishes.
    if has_int8() {
        let folder = quantized(&tiny_lettered(), "");
        let plain = denoise(folder.path(), "--steps 2").env("TURBO_ISA", "portable");
        expect_near(&latents(plain), "weights/latents", FLOAT);
    }
}

#[test]
fn each_kind_of_layer_has_the_int8_that_torch_simulates() {
    if !has_int8() {
        return;
    }
    let effect = |name: &str, from: &str| relative_error(&simulated(name), &simulated(from));
    for kind in KINDS {
        let folder = quantized(&tiny_lettered(), &all_but(kind));
        let name = format!("{kind}/step");
        let found = latents(denoise(folder.path(), "--steps 1"));
        expect_near(&found, &name, SHARE * effect(&name, "weights/step"));
        if kind == KINDS[0] {
            // What a LoRA adds is floats: the layers that it changes keep float positions, others do not.
            let lora = golden_dir().join("int8_lora.safetensors");
            let stage = denoise(folder.path(), "--steps 1 --lora").arg(lora);
            expect_near(
                &latents(stage),
                "lora/step",
                SHARE * effect(&name, "weights/step"),
            );
        }
    }
}

/// All of it at once. What is rounded the other way somewhere moves everything behind it: two ways to compute it are about
/// as far from each other as from floats, but as far from these.
#[test]
fn whole_networks_are_as_far_from_floats_as_torch_simulates() {
    let float = latents(denoise(&tiny_lettered(), "--steps 2"));
    let folder = quantized(&tiny_lettered(), "");
    if has_int8() {
        let found = latents(denoise(folder.path(), "--steps 2"));
        expect_as_far(&found, &simulated("latents"), &float);
    }
    let lora = golden_dir().join("int8_lora.safetensors");
    for dtype in ["bf16", "f32"] {
        let flags = format!("--steps 2 --dtype {dtype} --lora");
        let latents = |model: &Path| {
            let stage = tool("denoise", "--width 64 --height 96 --seed 42").model(model);
            latents(stage.words(&flags).arg(&lora))
        };
        let e = relative_error(&latents(folder.path()), &latents(&tiny_lettered()));
        assert!(e <= 0.06, "a LoRA in {dtype}: e = {e}");
    }
}

#[track_caller]
fn expect_as_far(ours: &[f32], theirs: &[f32], from: &[f32]) {
    let (ours, theirs) = (relative_error(ours, from), relative_error(theirs, from));
    println!("from floats: e = {ours:.4}, as simulated {theirs:.4}");
    assert!((0.7..1.4).contains(&(ours / theirs)), "{ours} and {theirs}");
}

#[test]
fn text_encoders_compute_what_torch_simulates() {
    if shared_dir().is_none() {
        return; // without the vocabulary there are no such tokens
    }
    let prompt = "A cinematic shot of a baby racoon wearing an intricate italian priest robe.";
    let embeddings = |flags: &str| {
        let folder = quantized(&tiny(), flags);
        let stage = tool("encode-text", "--dtype f32").model(folder.path());
        let out = pipe([stage.arg(prompt)]).run();
        frame(out.ok(), Kind::TextEmbeddings)
    };
    let (weights, int8) = (embeddings("--float *"), embeddings(""));
    for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
        let float = weights.to_f32(name).expect("embeddings");
        expect_near(&float, &format!("weights/{name}"), FLOAT);
        if has_int8() {
            let int8 = int8.to_f32(name).expect("embeddings");
            expect_as_far(&int8, &simulated(name), &float);
        }
    }
}

/// The demo's own pipe, with an autoencoder of int8 too: the picture is that of the floats, nearly.
#[test]
fn the_demo_draws_the_same_picture() {
    let folder = quantized(Path::new("demo"), "--part unet,text,vae");
    let draw = |model: &Path| {
        let stages = [
            tool("encode-text", "").model(model).arg("a red apple"),
            tool("denoise", "--seed 3"),
            tool("decode-latents", ""),
            tool("to-png", ""),
        ];
        pictures(pipe(stages).run().ok()).remove(0)
    };
    let (float, int8) = (draw(Path::new("demo")), draw(folder.path()));
    let squares = float.pixels.iter().zip(&int8.pixels);
    let squares = squares.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let psnr = -10. * (squares.sum::<f64>() / float.pixels.len() as f64 / 255f64.powi(2)).log10();
    println!("int8 beside floats: {psnr:.1} dB");
    assert!(psnr > 25., "{psnr} dB");
}

/// Python's safetensors reads the file, and numpy makes of the floats what stands in it.
#[test]
fn numpy_makes_the_same_int8() {
    let Some(python) = python() else { return };
    let folder = quantized(&tiny_lettered(), "");
    let program = "
import json, sys
import numpy as np
from safetensors import safe_open
source, made = (safe_open(path, 'np') for path in sys.argv[1:])
keys, layers = set(made.keys()), 0
for key in source.keys():
    weight, found = source.get_tensor(key), made.get_tensor(key)
    keys.remove(key)
    if found.dtype != np.int8:
        assert weight.dtype == found.dtype and (weight == found).all(), key
        continue
    layers += 1
    format, scale = key[:-len('weight')] + 'comfy_quant', key + '_scale'
    keys -= {format, scale}
    assert json.loads(made.get_tensor(format).tobytes())['format'] == 'int8_tensorwise'
    weight = weight.astype(np.float32)
    expected = np.abs(weight).max(tuple(range(1, weight.ndim)), keepdims=True) / np.float32(127)
    assert (made.get_tensor(scale) == expected).all(), scale
    assert (np.rint(weight / expected) == found).all(), key
assert not keys and str(layers) == made.metadata()['int8_layers'], (keys, layers)
";
    let source = "unet/diffusion_pytorch_model.fp16.safetensors";
    let made = "unet/diffusion_pytorch_model.safetensors";
    let stage = Stage::program("python", python).arg("-c").arg(program);
    let stage = stage.arg(tiny_lettered().join(source));
    pipe([stage.arg(folder.path().join(made))]).run().ok();
}
