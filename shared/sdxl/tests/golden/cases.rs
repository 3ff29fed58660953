//! The tiny checkpoint's cases.

use crate::limits::{Expected, Golden, Limit, expect_within};
use turbo_sdxl::{
    AddedConditions, DType, Device, Encoded, image_processor, open_text_encoders, open_unet,
    open_vae_decoder, open_vae_encoder,
};
use turbo_testkit::{Tensor, golden, golden_cases, golden_dir};
use turbo_weights::{Autoencoder, LocateOptions, Model};

pub(crate) fn open(folder: impl AsRef<std::path::Path>) -> Model {
    let path = folder.as_ref().to_str().unwrap();
    Model::locate(path, &LocateOptions::default()).unwrap()
}

fn tiny() -> (Model, Golden) {
    (open(turbo_testkit::tiny()), golden("tiny"))
}

/// The numbers of the cases there are of a kind.
fn count(kind: &str) -> usize {
    let cases = golden_cases("tiny");
    let n = cases["cases"][kind].as_array().unwrap().len();
    assert!(n > 0);
    n
}

fn ids(tensor: &Tensor) -> Vec<u32> {
    tensor.i64().into_iter().map(|id| id as u32).collect()
}

/// The expected file has the ids of `prompt` only, for both encoders. These are `prompt_2`'s, each a whole word of the
/// published vocabulary, between the start and the end of the text and the second tokenizer's padding.
fn ids_of_prompt_2(prompt_2: &str) -> Vec<u32> {
    assert_eq!(prompt_2, "oil painting, thick strokes");
    let mut ids = vec![49406, 2870, 3086, 267, 11006, 26595, 49407];
    ids.resize(77, 0);
    ids
}

pub(crate) fn text(device: Device, dtype: DType, limit: Limit) {
    let (model, golden) = tiny();
    let encoders = open_text_encoders(&device, dtype, &model, &[]).unwrap();
    let sizes = (
        encoders.max_tokens(),
        encoders.width(),
        encoders.pooled_width(),
    );
    assert_eq!(sizes, (77, 160, 80));
    let mut expected = Expected::within(limit, &golden);
    for i in 0..count("text") {
        let case = &golden_cases("tiny")["cases"]["text"][i];
        let clip_skip = case["clip_skip"].as_u64().unwrap_or(0) as usize;
        let key = |name: &str| format!("text/{i}/{name}");
        let ids_1 = ids(&golden[&key("input_ids_1")]);
        let ids_2 = match case["prompt_2"].as_str() {
            None => ids(&golden[&key("input_ids_2")]),
            Some(prompt_2) => ids_of_prompt_2(prompt_2),
        };
        let ours = encoders.encode(&ids_1, &ids_2, clip_skip).unwrap();
        let mut is = |output: &str, ours: &[f32]| expected.is("text", i, output, ours);
        is("prompt_embeds", &ours.prompt_embeds);
        is("pooled_prompt_embeds", &ours.pooled_prompt_embeds);
    }
    expected.all();
}

/// Two vectors a token, in both encoders: ids beyond the vocabulary, of which the largest is where the pooled vector
/// comes from.
pub(crate) fn added_tokens(device: Device, limit: f64) {
    let (model, _) = tiny();
    let mut encoders = open_text_encoders(&device, DType::F32, &model, &[]).unwrap();
    let vectors = turbo_weights::open_file(golden_dir().join("adapters/inversion.safetensors"));
    let vectors = vectors.unwrap();
    let tokens = ["clip_l", "clip_g"].map(|name| {
        let shape = vectors.shape(name).unwrap().to_vec();
        let both = vectors.get(name, &shape).unwrap().to_f32();
        let (one, two) = both.split_at(shape[1]);
        [(49408, one.to_vec()), (49409, two.to_vec())].into()
    });
    encoders.add_tokens(tokens).unwrap();
    // "a photo of <thing> on a table"
    let ids = [49406, 320, 1125, 539, 49408, 49409, 525, 320, 2175, 49407];
    let padded = |pad: u32| {
        let mut ids = ids.to_vec();
        ids.resize(77, pad);
        ids
    };
    let ours = encoders.encode(&padded(49407), &padded(0), 0).unwrap();
    let golden = golden("adapters/expected");
    for (what, ours) in [
        ("8/prompt_embeds", &ours.prompt_embeds),
        ("8/pooled_prompt_embeds", &ours.pooled_prompt_embeds),
    ] {
        expect_within(limit, what, ours, &golden[what].f32());
    }
}

/// What a case of the network is computed from.
struct UNetCase {
    sample: Vec<f32>,
    size: [usize; 2],
    timestep: f32,
    prompt_embeds: Vec<f32>,
    pooled: Vec<f32>,
    time_ids: [f32; 6],
}

impl UNetCase {
    fn read(golden: &Golden, i: usize) -> Self {
        let tensor = |name: &str| &golden[&format!("unet/{i}/{name}")];
        let sample = tensor("sample");
        Self {
            sample: sample.f32(),
            size: [sample.shape[2], sample.shape[3]],
            timestep: golden_cases("tiny")["cases"]["unet"][i]["timestep"]
                .as_f64()
                .unwrap() as f32,
            prompt_embeds: tensor("prompt_embeds").f32(),
            pooled: tensor("pooled_prompt_embeds").f32(),
            time_ids: tensor("time_ids").f32().try_into().unwrap(),
        }
    }

    fn conditions(&self) -> AddedConditions<'_> {
        AddedConditions {
            prompt_embeds: &self.prompt_embeds,
            tokens: 77,
            pooled_prompt_embeds: &self.pooled,
            time_ids: self.time_ids,
            size: self.size,
            image: &[],
        }
    }
}

pub(crate) fn unet(device: Device, dtype: DType, limit: Limit) {
    let (model, golden) = tiny();
    let unet = open_unet(&device, dtype, &model, &[]).unwrap();
    assert_eq!(unet.config().sample_size, 16);
    let mut expected = Expected::within(limit, &golden);
    for i in 0..count("unet") {
        let case = UNetCase::read(&golden, i);
        let conditioned = unet.condition(&case.conditions()).unwrap();
        let predict = || conditioned.predict(&case.sample, case.timestep);
        let ours = predict().unwrap();
        expected.is("unet", i, "noise_pred", &ours);
        // A prompt's keys and values are used again at every step.
        assert_eq!(
            predict().unwrap(),
            ours,
            "a second step with the same numbers"
        );
    }
    expected.all();
}

/// The autoencoder, whose configuration asks for f32 in the place of f16; here it does not.
fn autoencoder(model: &Model) -> Autoencoder {
    let mut vae = model.vae().unwrap();
    vae.config["force_upcast"] = false.into();
    vae
}

pub(crate) fn decode(device: Device, dtype: DType, limit: Limit) {
    let (model, golden) = tiny();
    let vae = open_vae_decoder(&device, dtype, &autoencoder(&model)).unwrap();
    let mut expected = Expected::within(limit, &golden);
    for i in 0..count("decode") {
        let latents = &golden[&format!("decode/{i}/latents")];
        let [_, _, height, width] = latents.shape[..] else {
            panic!("a map")
        };
        let ours = vae.decode(&latents.f32(), height, width, false).unwrap();
        expected.is("decode", i, "image", &ours);
        // The sample is no larger than a tile.
        assert_eq!(
            vae.decode(&latents.f32(), height, width, true).unwrap(),
            ours
        );
    }
    expected.all();
}

pub(crate) fn encode(device: Device, dtype: DType, limit: Limit) {
    let (model, golden) = tiny();
    let vae = open_vae_encoder(&device, dtype, &autoencoder(&model)).unwrap();
    let mut expected = Expected::within(limit, &golden);
    for i in 0..count("encode") {
        let picture = &golden[&format!("encode/{i}/picture")];
        let [height, width, _] = picture.shape[..] else {
            panic!("a picture")
        };
        let image = image_processor::preprocess(&picture.u8(), height, width).unwrap();
        let Encoded::Posterior(posterior) = vae.encode(&image, height, width, true).unwrap() else {
            panic!("AutoencoderKL gives a distribution");
        };
        expected.is("encode", i, "mean", &posterior.mean);
        expected.is("encode", i, "logvar", &posterior.logvar);
    }
    expected.all();
}
