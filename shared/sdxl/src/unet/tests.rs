//! What each block of the UNet gives, against what diffusers computes in f32 on the tiny checkpoint.

use super::unet_2d_condition::{AddedConditions, Asked, UNet2DConditionModel};
use super::{Sample, UNet, UNet2DConditionConfig};
use crate::backend::loader::Loader;
use crate::backend::{Backend, candle::Candle, cpu::Cpu};
use crate::{ConfigFile, DType, Device};
use serde_json::Value;
use std::sync::Arc;
use turbo_testkit::{golden, golden_cases, relative_error, tiny};
use turbo_weights::{LocateOptions, Model, Part, Weight, Weights};

fn open<B: Backend>(b: &B, config: &Value, weights: &Weights) -> UNet2DConditionModel<B> {
    let config = ConfigFile::new("unet/config.json".as_ref(), config).unwrap();
    let config = UNet2DConditionConfig::from_json(&config).unwrap();
    UNet2DConditionModel::load(&Loader::new(b, weights), config).unwrap()
}

fn model() -> Model {
    Model::locate(tiny().to_str().unwrap(), &LocateOptions::default()).unwrap()
}

fn every_block<B: Backend>(b: &B, limit: f64) {
    let (model, golden) = (model(), golden("tiny"));
    let weights = model.weights(Part::Unet).unwrap();
    let unet = open(b, &model.config(Part::Unet).unwrap(), &weights);
    weights.finish().unwrap();

    let tensor = |name: &str| &golden[&format!("unet/0/{name}")];
    let (sample, prompt_embeds) = (tensor("sample"), tensor("prompt_embeds"));
    let conditioning = unet
        .condition(&AddedConditions {
            prompt_embeds: &prompt_embeds.f32(),
            tokens: prompt_embeds.shape[1],
            pooled_prompt_embeds: &tensor("pooled_prompt_embeds").f32(),
            time_ids: tensor("time_ids").f32().try_into().unwrap(),
            size: [sample.shape[2], sample.shape[3]],
            image: &[],
        })
        .unwrap();
    let mut seen = Vec::new();
    let mut watch = |name: &str, x: &B::Tensor| {
        let e = relative_error(&b.to_host(x)?, &tensor(name).f32());
        eprintln!("{name}: e = {e:.2e}");
        assert!(e <= limit, "{name}: {e:.2e} is above {limit:.0e}");
        seen.push(name.to_owned());
        Ok(())
    };
    let cases = golden_cases("tiny");
    let timestep = cases["cases"]["unet"][0]["timestep"].as_f64().unwrap() as f32;
    let asked = Asked {
        sample: &sample.f32(),
        timestep,
        conditioning: &conditioning,
    };
    unet.forward(&[asked], &mut watch).unwrap();
    let inputs = [
        "sample",
        "prompt_embeds",
        "pooled_prompt_embeds",
        "time_ids",
        "noise_pred",
    ];
    let mut expected: Vec<_> = golden
        .keys()
        .filter_map(|key| key.strip_prefix("unet/0/"))
        .filter(|name| !inputs.contains(name))
        .collect();
    seen.sort();
    expected.sort_unstable();
    assert_eq!(
        seen, expected,
        "every block that has an expected value is compared"
    );
}

#[test]
fn every_block_gives_diffusers_output() {
    every_block(&Cpu::open(DType::F32).unwrap(), 1e-4);
    every_block(&Candle::open(Device::CandleCpu, DType::F32).unwrap(), 4e-6);
}

/// `limit` is the largest relative error; 0 wants every bit.
fn batches<B: Backend>(b: &B, limit: f64) {
    let model = model();
    let weights = model.weights(Part::Unet).unwrap();
    let unet = Arc::new(open(b, &model.config(Part::Unet).unwrap(), &weights));
    // The last is a single pixel where the network is deepest.
    for size in [[16, 16], [6, 10], [4, 4]] {
        let values = |seed: usize, n: usize| -> Vec<f32> {
            let value = |i| ((i * 7919 + seed * 104_729) % 2000) as f32 / 1e3 - 1.0;
            (0..n).map(value).collect()
        };
        let conditioned: Vec<_> = (0..3)
            .map(|i| {
                let tokens = [77, 2, 77][i];
                unet.condition(&AddedConditions {
                    prompt_embeds: &values(i, tokens * 160),
                    tokens,
                    pooled_prompt_embeds: &values(i, 80),
                    time_ids: [8. * i as f32; 6],
                    size,
                    image: &[],
                })
                .unwrap()
            })
            .collect();
        let noise: Vec<_> = (0..3)
            .map(|i| values(10 + i, 4 * size[0] * size[1]))
            .collect();
        let samples = [0, 1, 2].map(|i| Sample {
            conditioned: &*conditioned[i],
            sample: &noise[i],
            timestep: [999., 499., 0.][i],
        });
        for count in 1..=3 {
            let together = unet.predict(&samples[..count]).unwrap();
            assert_eq!(together.len(), count);
            for (sample, found) in samples.iter().zip(&together) {
                let alone = sample.conditioned.predict(sample.sample, sample.timestep);
                let e = relative_error(found, &alone.unwrap());
                assert!(e <= limit, "{size:?}, {count} samples: {e:.2e}");
            }
        }
        assert!(relative_error(&unet.predict(&samples[..2]).unwrap()[1], &noise[1]) > 0.1);
    }
    assert_eq!(unet.predict(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn samples_of_a_batch_are_what_they_are_alone() {
    for dtype in [DType::F32, DType::BF16] {
        batches(&Cpu::open(dtype).unwrap(), 0.0);
    }
    // Its library sums long products in an order that depends on how many there are.
    batches(&Candle::open(Device::CandleCpu, DType::F32).unwrap(), 2e-6);
}

#[test]
fn samples_of_different_sizes_are_refused() {
    let model = model();
    let weights = model.weights(Part::Unet).unwrap();
    let b = Cpu::open(DType::F32).unwrap();
    let unet = Arc::new(open(&b, &model.config(Part::Unet).unwrap(), &weights));
    let condition = |size| {
        let conditions = AddedConditions {
            prompt_embeds: &[0.5; 160],
            tokens: 1,
            pooled_prompt_embeds: &[0.5; 80],
            time_ids: [8.; 6],
            size,
            image: &[],
        };
        unet.condition(&conditions).unwrap()
    };
    let (square, wide) = (condition([2, 2]), condition([2, 3]));
    let sample = |conditioned, sample| Sample {
        conditioned,
        sample,
        timestep: 999.,
    };
    let batch = [sample(&*square, &[0.5; 16][..]), sample(&*wide, &[0.5; 24])];
    let error = unet.predict(&batch).unwrap_err().to_string();
    assert!(error.contains("samples of one size"), "{error}");
    assert!(error.contains("[2, 3] beside [2, 2]"), "{error}");
}

/// A network of nine channels whose weights are zero for the five of the picture gives what one of four channels gives;
/// with other weights there, the picture matters.
#[test]
fn a_picture_beside_the_sample_is_seen() {
    let (model, b) = (model(), Cpu::open(DType::F32).unwrap());
    let (four, weights) = (
        model.config(Part::Unet).unwrap(),
        model.weights(Part::Unet).unwrap(),
    );
    let mut nine = four.clone();
    nine["in_channels"] = 9.into();
    let predict = |unet: UNet2DConditionModel<Cpu>, image: &[f32]| {
        let conditions = AddedConditions {
            prompt_embeds: &[0.5; 160],
            tokens: 1,
            pooled_prompt_embeds: &[0.5; 80],
            time_ids: [8.; 6],
            size: [2, 3],
            image,
        };
        let conditioned = Arc::new(unet).condition(&conditions)?;
        let sample: Vec<f32> = (0..24).map(|i| i as f32 / 12. - 1.).collect();
        conditioned.predict(&sample, 999.)
    };
    let expected = predict(open(&b, &four, &weights), &[]).unwrap();

    let weights_of = |filling: f32| widened(&weights, filling);
    let picture: Vec<f32> = (0..30).map(|i| i as f32).collect();
    let blind = predict(open(&b, &nine, &weights_of(0.)), &picture).unwrap();
    assert_eq!(blind, expected);
    let seeing = predict(open(&b, &nine, &weights_of(1.)), &picture).unwrap();
    assert!(relative_error(&seeing, &expected) > 1e-2);
    let wrong = predict(open(&b, &nine, &weights_of(0.)), &picture[..29]).unwrap_err();
    let text = "the picture beside the sample: expected 30 values (shape [5, 2, 3]), found 29";
    assert_eq!(wrong.to_string(), text);
}

/// `weights` with five more input channels, whose weights are all `filling`.
fn widened(weights: &Weights, filling: f32) -> Weights {
    const NAME: &str = "conv_in.weight";
    let mut tensors: Vec<_> = weights
        .names()
        .map(|name| weights.get(name, weights.shape(name).unwrap()).unwrap())
        .collect();
    let [outputs, inputs, 3, 3] = *weights.shape(NAME).unwrap() else {
        panic!("a 3x3 convolution")
    };
    let narrow = weights
        .get(NAME, &[outputs, inputs, 3, 3])
        .unwrap()
        .to_f32();
    let wide: Vec<f32> = narrow
        .chunks_exact(inputs * 9)
        .flat_map(|row| row.iter().copied().chain([filling; 45]))
        .collect();
    tensors.push(Weight::from_f32(NAME, &[outputs, inputs + 5, 3, 3], &wide));
    Weights::from_tensors("unet", tensors)
}
