//! Trained weights that are not in this repository: TAESDXL, and a small checkpoint that draws.

use crate::cases::open;
use crate::limits::{Golden, expect_within};
use turbo_scheduler::{Generator, SchedulerConfig, Steps};
use turbo_sdxl::{
    AddedConditions, DType, Device, Encoded, TextEmbeddings, image_processor, open_text_encoders,
    open_unet, open_vae_decoder, open_vae_encoder,
};
use turbo_testkit::{golden, golden_cases, shared_dir};
use turbo_weights::Model;

pub(crate) fn taesdxl(device: Device) {
    let Some(shared) = shared_dir() else { return };
    let golden = golden(shared.join("reference/golden/taesdxl.safetensors"));
    // A folder with the original files, under their own key names.
    let vae = turbo_weights::open_vae(shared.join("data/taesdxl"), None).unwrap();

    let decoder = open_vae_decoder(&device, DType::F32, &vae).unwrap();
    let latents = &golden["latents"];
    let [_, _, height, width] = latents.shape[..] else {
        panic!("a map")
    };
    let image = decoder
        .decode(&latents.f32(), height, width, false)
        .unwrap();
    expect_within(1e-4, "taesdxl decoded", &image, &golden["decoded"].f32());

    let encoder = open_vae_encoder(&device, DType::F32, &vae).unwrap();
    let picture = &golden["picture"];
    let [height, width, _] = picture.shape[..] else {
        panic!("a picture")
    };
    let image = image_processor::preprocess(&picture.u8(), height, width).unwrap();
    let Encoded::Latents(ours) = encoder.encode(&image, height, width, false).unwrap() else {
        panic!("AutoencoderTiny gives latents");
    };
    expect_within(1e-4, "taesdxl latents", &ours, &latents.f32());
}

/// The ids of a prompt all of whose words are in the vocabulary, so that no merge has to be found.
pub(crate) fn ids(
    words: &str,
    vocabulary: &serde_json::Value,
    tokens: usize,
    pad: &str,
) -> Vec<u32> {
    let id = |piece: &str| vocabulary[piece].as_u64().unwrap() as u32;
    let mut ids = vec![id("<|startoftext|>")];
    ids.extend(words.split(' ').map(|word| id(&format!("{word}</w>"))));
    ids.push(id("<|endoftext|>"));
    ids.resize(tokens, id(pad));
    ids
}

/// Whole runs: 1 to 4 steps from noise to pixels.
pub(crate) fn prototype(device: Device) {
    let Some(shared) = shared_dir() else { return };
    let folder = shared.join("data/prototype");
    let (expected, cases) = (
        golden(folder.join("golden")),
        golden_cases(folder.join("golden")),
    );
    let vocabulary = std::fs::read(folder.join("tokenizer/vocab.json")).unwrap();
    let vocabulary = serde_json::from_slice(&vocabulary).unwrap();
    let model = open(&folder);
    let text = open_text_encoders(&device, DType::F32, &model, &[]).unwrap();
    let unet = open_unet(&device, DType::F32, &model, &[]).unwrap();
    let vae = open_vae_decoder(&device, DType::F32, &model.vae().unwrap()).unwrap();
    for (i, case) in cases.as_array().unwrap().iter().enumerate() {
        let prompt = case["prompt"].as_str().unwrap();
        let (ids_1, ids_2) = (
            ids(prompt, &vocabulary, 32, "<|endoftext|>"),
            ids(prompt, &vocabulary, 32, "!"),
        );
        let prompt = text.encode(&ids_1, &ids_2, 0).unwrap();
        let tensor = |name: &str| {
            (
                format!("prototype {i} {name}"),
                expected[&format!("{i}/{name}")].f32(),
            )
        };
        let (what, expected_embeds) = tensor("prompt_embeds");
        expect_within(1e-4, &what, &prompt.prompt_embeds, &expected_embeds);
        let (what, expected_pooled) = tensor("pooled_prompt_embeds");
        expect_within(1e-4, &what, &prompt.pooled_prompt_embeds, &expected_pooled);

        let steps = Steps::count(case["steps"].as_u64().unwrap() as usize);
        let mut generator = Generator::new(case["seed"].as_u64().unwrap());
        let latents = denoise(&*unet, &prompt, &model, &steps, &mut generator);
        let (what, expected_latents) = tensor("latents");
        expect_within(1e-3, &what, &latents, &expected_latents);

        let image = vae.decode(&latents, 16, 16, false).unwrap();
        let pixels = image_processor::postprocess(&image, 128, 128).unwrap();
        expect_pixels(i, &pixels, &expected);
    }
}

/// Latents of 128x128 pixels, by the checkpoint's own scheduler.
pub(crate) fn denoise(
    unet: &dyn turbo_sdxl::UNet,
    prompt: &TextEmbeddings,
    model: &Model,
    steps: &Steps,
    generator: &mut Generator,
) -> Vec<f32> {
    let config = SchedulerConfig::from_json(&model.scheduler_config().unwrap()).unwrap();
    let mut scheduler = turbo_scheduler::build(&config, steps).unwrap();
    let conditioned = unet
        .condition(&AddedConditions {
            prompt_embeds: &prompt.prompt_embeds,
            tokens: prompt.tokens,
            pooled_prompt_embeds: &prompt.pooled_prompt_embeds,
            time_ids: [128., 128., 0., 0., 128., 128.],
            size: [16, 16],
            image: &[],
        })
        .unwrap();
    let mut latents = generator.randn(4 * 16 * 16);
    scheduler.scale_initial_noise(&mut latents);
    for index in 0..scheduler.timesteps().len() {
        let timestep = scheduler.timesteps()[index];
        let input = scheduler.scale_model_input(&latents, index);
        let output = conditioned.predict(&input, timestep).unwrap();
        let step = scheduler.step(&output, index, &latents, generator);
        latents = step.prev_sample;
    }
    latents
}

/// At most one value in a thousand may differ by more than 1.
fn expect_pixels(i: usize, ours: &[u8], golden: &Golden) {
    let expected = golden[&format!("{i}/pixels")].u8();
    assert_eq!(ours.len(), expected.len());
    let pairs = || ours.iter().zip(&expected);
    let off = pairs().filter(|(a, b)| a.abs_diff(**b) > 1).count();
    let equal = pairs().filter(|(a, b)| a == b).count();
    let total = expected.len();
    eprintln!("prototype {i} pixels: {equal} of {total} equal, {off} off by more than 1");
    assert!(
        off * 1000 <= total,
        "prototype {i}: {off} of {total} values are off by more than 1"
    );
}
