use super::*;

/// The listing of the published SDXL Turbo repository, as far as it matters here.
const TURBO: &[&str] = &[
    ".gitattributes",
    "LICENSE.md",
    "README.md",
    "model_index.json",
    "output_tile.jpg",
    "scheduler/scheduler_config.json",
    "sd_xl_turbo_1.0.safetensors",
    "sd_xl_turbo_1.0_fp16.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.onnx",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
    "text_encoder_2/model.onnx",
    "text_encoder_2/model.onnx_data",
    "text_encoder_2/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/model.onnx",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "vae_decoder/model.onnx",
];

fn pick(paths: &[&str], dtype: Dtype, only: &[Part]) -> Result<Choice, Error> {
    let paths = paths.iter().map(|p| (*p).to_owned()).collect();
    choose(&"owner/name".parse().unwrap(), &paths, dtype, only)
}

fn refusal(paths: &[&str], dtype: Dtype) -> String {
    pick(paths, dtype, &[]).unwrap_err().to_string()
}

fn without<'a>(paths: &[&'a str], gone: &str) -> Vec<&'a str> {
    paths.iter().copied().filter(|path| *path != gone).collect()
}

#[test]
fn turbo_in_half_precision() {
    let choice = pick(TURBO, Dtype::F16, &[]).unwrap();
    assert_eq!(
        choice.files,
        [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "tokenizer/vocab.json",
            "tokenizer/merges.txt",
            "tokenizer/tokenizer_config.json",
            "tokenizer/special_tokens_map.json",
            "tokenizer_2/vocab.json",
            "tokenizer_2/merges.txt",
            "tokenizer_2/tokenizer_config.json",
            "tokenizer_2/special_tokens_map.json",
            "text_encoder/config.json",
            "text_encoder_2/config.json",
            "unet/config.json",
            "vae/config.json",
            "text_encoder/model.fp16.safetensors",
            "text_encoder_2/model.fp16.safetensors",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.fp16.safetensors",
        ]
    );
    assert!(choice.settled && choice.notes.is_empty());
}

#[test]
fn turbo_in_single_precision() {
    let choice = pick(TURBO, Dtype::F32, &[]).unwrap();
    assert!(choice.files.iter().all(|path| !path.contains("fp16")));
    assert!(
        choice
            .files
            .contains(&"unet/diffusion_pytorch_model.safetensors".to_owned())
    );
    assert!(choice.settled);
}

#[test]
fn a_missing_variant_falls_back_and_says_so() {
    let paths = without(TURBO, "unet/diffusion_pytorch_model.fp16.safetensors");
    let choice = pick(&paths, Dtype::F16, &[]).unwrap();
    assert!(
        choice
            .files
            .contains(&"unet/diffusion_pytorch_model.safetensors".to_owned())
    );
    assert_eq!(
        choice.notes,
        ["owner/name: unet has no fp16 weights, so the plain ones are taken"]
    );
    assert!(!choice.settled);

    let paths = without(TURBO, "unet/diffusion_pytorch_model.safetensors");
    assert!(refusal(&paths, Dtype::F32).contains("fp16 only"));
}

#[test]
fn shards_in_both_spellings() {
    for (index, first, second) in [
        (
            "index.fp16.json",
            "model.fp16-00001-of-00002",
            "model.fp16-00002-of-00002",
        ),
        (
            "index.fp16.json",
            "model-00001-of-00002.fp16",
            "model-00002-of-00002.fp16",
        ),
    ] {
        let index = format!("unet/diffusion_pytorch_model.safetensors.{index}");
        let shards =
            [first, second].map(|name| format!("unet/diffusion_pytorch_{name}.safetensors"));
        let mut paths = without(TURBO, "unet/diffusion_pytorch_model.fp16.safetensors");
        paths.extend([index.as_str(), &shards[0], &shards[1]]);
        // A plain shard of the same count must not be taken for one of the variant.
        paths.push("unet/diffusion_pytorch_model-00001-of-00002.safetensors");
        let choice = pick(&paths, Dtype::F16, &[Part::Unet]).unwrap();
        assert_eq!(
            choice.files,
            [
                "model_index.json",
                "unet/config.json",
                &index,
                &shards[0],
                &shards[1]
            ]
        );

        let message = refusal(&without(&paths, &shards[1]), Dtype::F16);
        assert!(message.contains("not shard 2 of 2"), "{message}");
    }
}

#[test]
fn plain_shards() {
    let mut paths = without(TURBO, "unet/diffusion_pytorch_model.safetensors");
    paths.extend([
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model-00001-of-00001.safetensors",
    ]);
    let choice = pick(&paths, Dtype::F32, &[Part::Unet]).unwrap();
    assert_eq!(
        choice.files[2..],
        [
            "unet/diffusion_pytorch_model.safetensors.index.json".to_owned(),
            "unet/diffusion_pytorch_model-00001-of-00001.safetensors".to_owned()
        ]
    );
}

#[test]
fn pickle_is_never_taken() {
    let mut paths = without(TURBO, "vae/diffusion_pytorch_model.fp16.safetensors");
    paths = without(&paths, "vae/diffusion_pytorch_model.safetensors");
    let message = refusal(&paths, Dtype::F16);
    assert!(
        message.contains("vae") && message.contains("pickle"),
        "{message}"
    );
}

#[test]
fn a_missing_file_is_named() {
    for gone in [
        "scheduler/scheduler_config.json",
        "tokenizer_2/merges.txt",
        "vae/config.json",
    ] {
        let message = refusal(&without(TURBO, gone), Dtype::F16);
        assert!(message.contains(&format!("has no {gone}")), "{message}");
    }
}

#[test]
fn only_some_parts() {
    let choice = pick(TURBO, Dtype::F16, &[Part::Tokenizer]).unwrap();
    assert_eq!(choice.files.len(), 9);
    assert!(
        choice
            .files
            .iter()
            .all(|p| p == "model_index.json" || p.starts_with("tokenizer"))
    );
    let choice = pick(TURBO, Dtype::F16, &[Part::Vae, Part::Scheduler]).unwrap();
    assert_eq!(
        choice.files,
        [
            "model_index.json",
            "scheduler/scheduler_config.json",
            "vae/config.json",
            "vae/diffusion_pytorch_model.fp16.safetensors"
        ]
    );
}

#[test]
fn tiny_autoencoder() {
    let paths = [
        "README.md",
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "taesdxl_decoder.pth",
        "taesdxl_decoder.safetensors",
        "taesdxl_encoder.safetensors",
    ];
    let choice = pick(&paths, Dtype::F16, &[]).unwrap();
    assert_eq!(
        choice.files,
        [
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "taesdxl_decoder.safetensors",
            "taesdxl_encoder.safetensors"
        ]
    );
    let choice = pick(&paths[4..], Dtype::F16, &[]).unwrap();
    assert_eq!(
        choice.files,
        ["taesdxl_decoder.safetensors", "taesdxl_encoder.safetensors"]
    );
    assert!(pick(&paths, Dtype::F16, &[Part::Unet]).is_err());
}

#[test]
fn other_layouts_are_refused() {
    let message = refusal(&["README.md", "sd_xl_turbo_1.0.safetensors"], Dtype::F16);
    assert!(message.contains("diffusers"), "{message}");
}
