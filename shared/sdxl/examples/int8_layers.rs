//! What int8 costs, layer by layer: how far the UNet's output is off with one layer in int8 and all else in floats.
//!
//! ```text
//! encode-text --model MODEL "a red fox" > prompt.safetensors
//! quantize-model MODEL -o INT8
//! cargo run --release -p turbo-sdxl --example int8_layers -- MODEL INT8 prompt.safetensors [kinds|layers] [SIZE] [FIRST]
//! ```
//!
//! MODEL is what `--model` takes, INT8 the folder made from it. Prints, for one step at t = 999 with the noise of seed 0, a
//! line for each kind of layer (all `ff.net.2` in int8 at once, say) or for each layer, the worst first: the ratio of the
//! float32 output to its error in decibels, as `MixDQ` measures layers (arXiv 2405.17873), and the relative error e. The
//! last line is all of INT8. SIZE is that of the picture, 512 unless it is given; FIRST multiplies the first row of the
//! prompt's embeddings, which in SDXL is some sixty times as large as those of made-up weights.

use turbo_scheduler::Generator;
use turbo_sdxl::{AddedConditions, DType, Device, Result, open_unet_with};
use turbo_weights::{Dtype, LocateOptions, Model, Part, Weight, Weights, keeps_float_activations};

struct Step {
    model: Model,
    prompt: Vec<f32>,
    tokens: usize,
    pooled: Vec<f32>,
    size: usize,
    noise: Vec<f32>,
}

impl Step {
    fn output(&self, weights: &Weights) -> Result<Vec<f32>> {
        let unet = open_unet_with(&Device::Cpu, DType::F32, &self.model, weights, &[])?;
        let side = (self.size * 8) as f32;
        let conditioned = unet.condition(&AddedConditions {
            prompt_embeds: &self.prompt,
            tokens: self.tokens,
            pooled_prompt_embeds: &self.pooled,
            time_ids: [side, side, 0., 0., side, side],
            size: [self.size; 2],
            image: &[],
        })?;
        conditioned.predict(&self.noise, 999.)
    }
}

fn all(weights: &Weights) -> Result<Vec<Weight>> {
    let get = |name: &str| {
        let shape = weights.shape(name).unwrap_or_default().to_vec();
        Ok(weights.get(name, &shape)?)
    };
    weights.names().map(get).collect()
}

/// A layer's name without the numbers of blocks: `ff.net.2`, `attn1.to_q`, `conv1`.
fn kind(layer: &str) -> String {
    let inner = layer.split(".transformer_blocks.").nth(1);
    let inner = inner
        .and_then(|rest| rest.split_once('.'))
        .map(|(_, kind)| kind);
    inner
        .unwrap_or_else(|| {
            let named = layer
                .rsplit('.')
                .find(|part| part.parse::<usize>().is_err());
            named.unwrap_or(layer)
        })
        .to_owned()
}

fn relative(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let off: f64 = found
        .iter()
        .zip(expected)
        .map(|(a, b)| square(f64::from(a - b)))
        .sum();
    let norm: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    (off / norm).sqrt()
}

fn line(name: &str, layers: usize, e: f64) {
    println!(
        "{:7.1} dB   e = {e:.2e}   {layers:4}   {name}",
        -20. * e.log10()
    );
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [model, int8, prompt, rest @ ..] = &args[..] else {
        eprintln!("usage: int8_layers MODEL INT8 PROMPT.safetensors [kinds|layers] [SIZE] [FIRST]");
        std::process::exit(2);
    };
    let number = |at: usize, default: f32| -> f32 {
        rest.get(at)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let by_kind = rest.first().is_none_or(|how| *how == "kinds");
    let (size, first) = (number(1, 512.) as usize / 8, number(2, 1.));
    let options = LocateOptions::with_builtin(turbo_demo::UNET);
    let (model, int8) = (
        Model::locate(model, &options)?,
        Model::locate(int8, &options)?,
    );
    let frame = turbo_weights::open_file(prompt)?;
    let tensor = |name: &str| -> Result<(Vec<f32>, Vec<usize>)> {
        let shape = frame.shape(name).unwrap_or_default().to_vec();
        Ok((frame.get(name, &shape)?.to_f32(), shape))
    };
    let (mut prompt, shape) = tensor("prompt_embeds")?;
    prompt[..shape[2]].iter_mut().for_each(|x| *x *= first);
    let step = Step {
        prompt,
        tokens: shape[1],
        pooled: tensor("pooled_prompt_embeds")?.0,
        size,
        noise: Generator::new(0).randn(4 * size * size),
        model,
    };
    let float = step.model.weights(Part::Unet)?;
    let whole = int8.weights(Part::Unet)?;
    let (path, floats, int8) = (float.path(), all(&float)?, all(&whole)?);
    let exact = step.output(&float)?;

    // In the order of their first layer.
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (at, weight) in int8
        .iter()
        .enumerate()
        .filter(|(_, w)| w.dtype() == Dtype::I8)
    {
        let layer = weight.name().trim_end_matches(".weight");
        let keeps = weight.wants_full_precision()
            || keeps_float_activations(layer)
            || weight.shape().len() == 4;
        let name = if by_kind {
            kind(layer)
        } else {
            layer.to_owned()
        };
        let name = if keeps {
            format!("{name} (float inputs)")
        } else {
            name
        };
        match groups.iter_mut().find(|(other, _)| *other == name) {
            Some((_, layers)) => layers.push(at),
            None => groups.push((name, vec![at])),
        }
    }
    let mut lines = Vec::new();
    for (name, layers) in &groups {
        let mut tensors = floats.clone();
        for &at in layers {
            tensors[at] = int8[at].clone();
        }
        let e = relative(&step.output(&Weights::from_tensors(path, tensors))?, &exact);
        eprintln!("{e:.2e} {name}");
        lines.push((e, name, layers.len()));
    }
    lines.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("      alone                      layers   in int8");
    for (e, name, layers) in lines {
        line(name, layers, e);
    }
    let count = groups.iter().map(|(_, layers)| layers.len()).sum();
    line(
        "all of them",
        count,
        relative(&step.output(&whole)?, &exact),
    );
    Ok(())
}
