//! Python's safetensors package and the tools.

use pipeline_tests::{
    Stage, embeddings, frame, metadata, pictures, pipe, protocol_block, python, tool,
};
use turbo_testkit::{shared_dir, tiny};
use turbo_wire::{Kind, f32_bytes, names};

/// Reads the frames of stdin as files, one by one, and prints what numpy sees.
const SHOW: &str = r#"
import json, os, sys, tempfile
import numpy
from safetensors import safe_open
for metadata, tensors in read_frames(sys.stdin.buffer):
    print(json.dumps({"metadata": metadata, "tensors": {
        name: [str(t.dtype), list(t.shape), bool(numpy.isfinite(t).all())] for name, t in tensors.items()}}))
"#;

/// Opens a file of one frame in the usual way.
const OPEN: &str = r#"
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], "np") as f:
    print(json.dumps({"metadata": f.metadata(), "shapes": {k: list(f.get_tensor(k).shape) for k in f.keys()}}))
"#;

fn script(python: &str, text: impl AsRef<str>) -> Stage {
    Stage::program("python", python)
        .arg("-c")
        .arg(text.as_ref())
}

#[test]
fn python_reads_every_tool() {
    let Some(python) = python() else { return };
    let model = tiny();
    let denoise = tool("denoise", "--width 64 --height 96 --seed 1 --steps 2").model(&model);
    let peek = tool("peek", "--quiet");
    let text = [
        embeddings(&[0], &[("prompt", "\u{72d0} \"x\"\n")]),
        embeddings(&[1, 2], &[]),
    ]
    .concat();
    let mut outputs = vec![
        (
            "denoise",
            pipe([denoise.clone()]).input(&text[..]).run(),
            "latents",
            vec![1, 4, 12, 8],
            "float32",
        ),
        (
            "decode-latents",
            pipe([denoise.clone(), tool("decode-latents", "")])
                .input(&text[..])
                .run(),
            "image",
            vec![1, 96, 64, 3],
            "uint8",
        ),
        (
            "peek",
            pipe([denoise, peek]).input(&text[..]).run(),
            "latents",
            vec![1, 4, 12, 8],
            "float32",
        ),
    ];
    if shared_dir().is_some() {
        let encode = tool("encode-text", "--negative-prompt blurry")
            .model(&model)
            .arg("\u{72d0} \"x\"\n")
            .arg("a b");
        outputs.push((
            "encode-text",
            pipe([encode]).run(),
            "prompt_embeds",
            vec![1, 77, 160],
            "float32",
        ));
    }
    let show = format!("{}{SHOW}", protocol_block("def read_frames"));
    for (name, ended, tensor, shape, dtype) in outputs {
        let shown = pipe([script(&python, &show)]).input(ended.ok()).run();
        let shown = pipeline_tests::progress(std::str::from_utf8(shown.ok()).expect("UTF-8"));
        assert_eq!(shown.len(), 2, "{name}: frames");
        assert_eq!(shown[0]["metadata"]["prompt"], "\u{72d0} \"x\"\n", "{name}");
        let producer = shown[0]["metadata"]["producer"]
            .as_str()
            .expect("a producer");
        let writer = if name == "peek" { "denoise" } else { name };
        assert!(producer.starts_with(writer), "{name}: {producer}");
        assert_eq!(
            shown[0]["tensors"][tensor],
            serde_json::json!([dtype, shape, true]),
            "{name}"
        );
    }
}

/// A stream of one frame is a file.
#[test]
fn a_frame_is_a_file_that_python_opens() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("fox.safetensors");
    let denoise = tool("denoise", "--width 64 --height 64 --seed 3 -o")
        .arg(&path)
        .model(&tiny());
    pipe([denoise])
        .input(embeddings(&[0], &[("mytool.mood", "wild")]))
        .run()
        .ok();
    let shown = pipe([script(&python, OPEN).arg(&path)]).run();
    let shown: serde_json::Value = serde_json::from_slice(shown.ok()).expect("JSON");
    assert_eq!(shown["shapes"]["latents"], serde_json::json!([1, 4, 8, 8]));
    assert_eq!(shown["metadata"]["seed"], "3");
    assert_eq!(shown["metadata"]["mytool.mood"], "wild");
    assert_eq!(shown["metadata"]["format"], "pt");
}

/// The stage of one's own that the protocol shows, in the middle of the pipe.
#[test]
fn a_stage_in_python_works_in_the_pipe() {
    let Some(python) = python() else { return };
    let model = tiny();
    let stage = ["def read_frames", "def write_frame", "*= 1.05"]
        .map(protocol_block)
        .concat();
    // Of its own accord it says nothing of itself, so it adds a key here.
    let stage = stage.replace(
        "*= 1.05",
        "*= 1.05; metadata[\"mytool.brighter\"] = \"5 %\"",
    );
    let denoise = tool("denoise", "--width 64 --height 64 --seed 1").model(&model);
    let input = [
        embeddings(&[0], &[("id", "a")]),
        embeddings(&[1], &[("id", "b")]),
    ]
    .concat();
    let middle = script(&python, &stage);
    let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
    let out = pipe([denoise.clone(), middle].into_iter().chain(rest.clone()))
        .input(&input[..])
        .run();
    let found = pictures(out.ok());
    assert_eq!(found.len(), 2);

    // The same sum here.
    let latents = pipe([denoise]).input(&input[..]).run();
    for (latents, picture) in pipeline_tests::frames(latents.ok()).into_iter().zip(&found) {
        let values: Vec<f32> = latents
            .to_f32(names::LATENTS)
            .expect("f32")
            .iter()
            .map(|x| x * 1.05)
            .collect();
        let changed = pipeline_tests::bytes(
            latents.header.clone(),
            &[(names::LATENTS, &f32_bytes(&values))],
        );
        let expected = pipe(rest.clone()).input(changed).run();
        let expected = &pictures(expected.ok())[0];
        assert!(
            picture.pixels == expected.pixels,
            "the picture is that of the changed latents"
        );
        let all: serde_json::Value =
            serde_json::from_str(&picture.text["sdxl-turbo"]).expect("JSON");
        assert_eq!(all["mytool.brighter"], "5 %");
        assert_eq!(all["id"].as_str(), latents.header.get("id"));
        assert_eq!(all["seed"].as_str(), latents.header.get("seed"));
    }
}

/// A script may write frames with no metadata at all, in half precision.
#[test]
fn a_frame_without_metadata_is_known_by_its_tensors() {
    let Some(python) = python() else { return };
    let text = r#"
import sys, numpy
from safetensors.numpy import save
latents = numpy.linspace(-1, 1, 4 * 8 * 8).reshape(1, 4, 8, 8).astype(numpy.float16)
sys.stdout.buffer.write(save({"latents": latents}))
"#;
    let decode = tool("decode-latents", "").model(&tiny());
    let out = pipe([script(&python, text), decode]).run();
    let image = frame(out.ok(), Kind::Image);
    assert_eq!(
        image.header.tensor(names::IMAGE).expect("is there").shape,
        [1, 64, 64, 3]
    );
    assert_eq!(
        image.header.metadata().get("width"),
        metadata(&[("width", "64")]).get("width")
    );
}
