//! LoRA files of every dialect on the tiny checkpoint.

use crate::cases::open;
use crate::limits::expect_within;
use crate::trained::{denoise, ids};
use turbo_scheduler::{Generator, Steps};
use turbo_sdxl::{DType, Device, open_text_encoders, open_unet};
use turbo_testkit::{golden, shared_dir, tiny};
use turbo_weights::Lora;

/// Prompts' embeddings, and latents after some steps at 128x128 pixels.
pub(crate) fn loras(device: Device) {
    let Some(shared) = shared_dir() else { return };
    let folder = shared.join("reference/golden/adapters");
    let read = |path: std::path::PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let vocabulary = read(shared.join("data/clip-tokenizer/tokenizer/vocab.json"));
    let (cases, expected) = (
        read(folder.join("cases.json")),
        golden(folder.join("expected")),
    );
    let model = open(tiny());
    let mut seen = 0;
    for (i, case) in cases["cases"].as_array().unwrap().iter().enumerate() {
        let Some(named) = case["lora"].as_array() else {
            continue; // a textual inversion
        };
        let files: Vec<_> = named
            .iter()
            .map(|pair| {
                let file = format!("{}.safetensors", pair[0].as_str().unwrap());
                let scale = pair[1].as_f64().unwrap() as f32;
                (Lora::open(&folder.join(file)).unwrap(), scale)
            })
            .collect();
        let loras: Vec<_> = files.iter().map(|(lora, scale)| (lora, *scale)).collect();
        let text = open_text_encoders(&device, DType::F32, &model, &loras).unwrap();
        let prompt = case["prompt"].as_str().unwrap();
        let tokens = |pad| ids(prompt, &vocabulary, 77, pad);
        let prompt = text
            .encode(&tokens("<|endoftext|>"), &tokens("!"), 0)
            .unwrap();
        let tensor = |name: &str| {
            (
                format!("lora {i} {name}"),
                expected[&format!("{i}/{name}")].f32(),
            )
        };
        let (what, embeds) = tensor("prompt_embeds");
        expect_within(1e-4, &what, &prompt.prompt_embeds, &embeds);
        let (what, pooled) = tensor("pooled_prompt_embeds");
        expect_within(1e-4, &what, &prompt.pooled_prompt_embeds, &pooled);

        let unet = open_unet(&device, DType::F32, &model, &loras).unwrap();
        let steps = Steps::count(case["steps"].as_u64().unwrap() as usize);
        let mut generator = Generator::new(case["seed"].as_u64().unwrap());
        let latents = denoise(&*unet, &prompt, &model, &steps, &mut generator);
        let (what, expected) = tensor("latents");
        expect_within(1e-3, &what, &latents, &expected);
        seen += 1;
    }
    assert_eq!(seen, 8);
}
