//! The made-up checkpoint has the bytes that the expected values were computed from.
#![allow(missing_docs)]

use sha2::{Digest, Sha256};
use turbo_testkit::{golden, golden_cases, relative_error, tiny_checkpoint};

/// Sums of what the program that goes with the expected values (Python, numpy) writes for `tiny`, seed 1.
const SUMS: [(&str, &str); 4] = [
    (
        "text_encoder/model.fp16.safetensors",
        "74f5c8f3fbdd35da94fcfc20afa0db52e0f76eeba797b8bc54b212d78e62b978",
    ),
    (
        "text_encoder_2/model.fp16.safetensors",
        "4e1c758b151f11b1eae6d962334f4fdb6f5179a31033de29998237285d0c478c",
    ),
    (
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "55273b8ef91287fcce929ebd8bb9ab18db6b2e26ea797ad7ba68cf414f29bcc1",
    ),
    (
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "735b0d9b83d537253db6a2eb189378390437e0e1a9abbbe285ae814a40870a7e",
    ),
];

#[test]
fn checkpoint_has_the_bytes_of_the_reference_program() {
    let folder = tempfile::tempdir().unwrap();
    tiny_checkpoint(folder.path());
    for (file, sum) in SUMS {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        let found: Vec<_> = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(found.concat(), sum, "{file}");
    }
    let config = std::fs::read_to_string(folder.path().join("unet/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["attention_head_dim"], serde_json::json!([1, 2, 4]));
}

#[test]
fn golden_tensors_have_the_types_they_are_read_as() {
    let tensors = golden("tiny");
    let cases = golden_cases("tiny");
    assert_eq!(
        cases["cases"]["checkpoint"],
        serde_json::json!({"size": "tiny", "seed": 1})
    );
    let ids = &tensors["text/0/input_ids_1"];
    assert_eq!(ids.i64().len(), ids.shape.iter().product::<usize>());
    assert_eq!(ids.i64()[0], 49406);
    let embeds = &tensors["text/0/prompt_embeds"];
    assert_eq!(embeds.shape, [1, 77, 160]);
    assert!(embeds.f32().iter().all(|x| x.is_finite()));
}

#[test]
fn relative_error_is_of_the_norms() {
    assert!((relative_error(&[3.0, 4.0], &[3.0, 0.0]) - 4.0 / 3.0).abs() < 1e-12);
    assert!(relative_error(&[1.0], &[1.0]) < 1e-300);
    assert!(relative_error(&[f32::NAN], &[1.0]).is_nan());
    assert!(relative_error(&[1.0], &[0.0]).is_infinite());
}
