//! Compares a whole checkpoint with expected values, stage by stage, and says how long each took.
//!
//! ```text
//! cargo run --release -p turbo-sdxl --example golden_full -- CHECKPOINT STEM [DEVICE] [DTYPE] [STAGE]...
//! ```
//!
//! CHECKPOINT is a folder in diffusers layout, STEM a path without its extension: `.safetensors` has the
//! expected values, `.json` the cases. DEVICE is `cpu`, `candle-cpu`, `cuda` or `metal`; DTYPE is `f32`, `bf16`, `f16` or
//! `auto`; STAGEs are `text`, `unet`, `decode` and `encode`, all of them where none is named. Exits with 1 where
//! an f32 stage is off by more than 1e-4 of the norm.

use std::collections::HashMap;
use std::time::Instant;
use turbo_sdxl::{
    AddedConditions, DType, Device, Encoded, Result, image_processor, open_text_encoders,
    open_unet, open_vae_decoder, open_vae_encoder,
};
use turbo_testkit::{Tensor, golden, golden_cases, relative_error};
use turbo_weights::{LocateOptions, Model};

/// How often a stage is computed at most; the fastest time is printed beside the first.
const RUNS: usize = 3;

/// No more repetitions after so many seconds.
const ENOUGH: f64 = 20.;

struct Check {
    model: Model,
    golden: HashMap<String, Tensor>,
    cases: serde_json::Value,
    device: Device,
    dtype: DType,
    compared: usize,
    worst: f64,
}

impl Check {
    fn count(&self, kind: &str) -> usize {
        self.cases[kind].as_array().map_or(0, Vec::len)
    }

    fn f32(&self, key: &str) -> Vec<f32> {
        self.golden[key].f32()
    }

    fn ids(&self, key: &str) -> Vec<u32> {
        self.golden[key]
            .i64()
            .into_iter()
            .map(|id| id as u32)
            .collect()
    }

    fn expect(&mut self, key: &str, ours: &[f32]) {
        let e = relative_error(ours, &self.f32(key));
        println!("{key}: e = {e:.2e}");
        let e = if e.is_nan() { f64::INFINITY } else { e };
        self.worst = self.worst.max(e);
        self.compared += 1;
    }

    fn text(&mut self) -> Result<()> {
        let opened = Instant::now();
        let encoders = open_text_encoders(&self.device, self.dtype, &self.model, &[])?;
        println!("text: opened in {:.3} s", opened.elapsed().as_secs_f64());
        for i in 0..self.count("text") {
            let case = &self.cases["text"][i];
            if case.get("prompt_2").is_some() {
                println!("text/{i}: left out, as its expected file has no ids of prompt_2");
                continue;
            }
            let clip_skip = case["clip_skip"].as_u64().unwrap_or(0) as usize;
            let ids_1 = self.ids(&format!("text/{i}/input_ids_1"));
            let ids_2 = self.ids(&format!("text/{i}/input_ids_2"));
            let ours = timed(&format!("text/{i}"), || {
                encoders.encode(&ids_1, &ids_2, clip_skip)
            })?;
            self.expect(&format!("text/{i}/prompt_embeds"), &ours.prompt_embeds);
            self.expect(
                &format!("text/{i}/pooled_prompt_embeds"),
                &ours.pooled_prompt_embeds,
            );
        }
        Ok(())
    }

    fn unet(&mut self) -> Result<()> {
        let opened = Instant::now();
        let unet = open_unet(&self.device, self.dtype, &self.model, &[])?;
        println!("unet: opened in {:.3} s", opened.elapsed().as_secs_f64());
        for i in 0..self.count("unet") {
            let key = |name: &str| format!("unet/{i}/{name}");
            let (prompt_embeds, pooled) = (
                self.f32(&key("prompt_embeds")),
                self.f32(&key("pooled_prompt_embeds")),
            );
            let time_ids = self.f32(&key("time_ids"));
            let shape = &self.golden[&key("sample")].shape;
            let conditions = AddedConditions {
                prompt_embeds: &prompt_embeds,
                tokens: self.golden[&key("prompt_embeds")].shape[1],
                pooled_prompt_embeds: &pooled,
                time_ids: std::array::from_fn(|n| time_ids[n]),
                size: [shape[2], shape[3]],
                image: &[],
            };
            let conditioned = timed(&key("condition"), || unet.condition(&conditions))?;
            let sample = self.f32(&key("sample"));
            let timestep = self.cases["unet"][i]["timestep"]
                .as_f64()
                .unwrap_or(f64::NAN) as f32;
            let step = || conditioned.predict(&sample, timestep);
            let ours = timed(&key("step"), step)?;
            self.expect(&key("noise_pred"), &ours);
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<()> {
        let opened = Instant::now();
        let vae = open_vae_decoder(&self.device, self.dtype, &self.model.vae()?)?;
        println!("decode: opened in {:.3} s", opened.elapsed().as_secs_f64());
        for i in 0..self.count("decode") {
            let key = format!("decode/{i}/latents");
            let (latents, shape) = (self.f32(&key), self.golden[&key].shape.clone());
            let (height, width) = (shape[2], shape[3]);
            let ours = timed(&format!("decode/{i}"), || {
                vae.decode(&latents, height, width, false)
            })?;
            let every = self.cases["decode"][i]["keep_every"].as_u64().unwrap_or(1) as usize;
            let width = width * vae.latent_shape().scale_factor;
            let kept: Vec<f32> = ours
                .chunks_exact(width)
                .step_by(every)
                .flat_map(|row| row.iter().step_by(every).copied())
                .collect();
            self.expect(&format!("decode/{i}/image"), &kept);
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<()> {
        let opened = Instant::now();
        let vae = open_vae_encoder(&self.device, self.dtype, &self.model.vae()?)?;
        println!("encode: opened in {:.3} s", opened.elapsed().as_secs_f64());
        for i in 0..self.count("encode") {
            let picture = &self.golden[&format!("encode/{i}/picture")];
            let (height, width) = (picture.shape[0], picture.shape[1]);
            let image = image_processor::preprocess(&picture.u8(), height, width)?;
            match timed(&format!("encode/{i}"), || {
                vae.encode(&image, height, width, false)
            })? {
                Encoded::Posterior(posterior) => {
                    self.expect(&format!("encode/{i}/mean"), &posterior.mean);
                    self.expect(&format!("encode/{i}/logvar"), &posterior.logvar);
                }
                Encoded::Latents(_) => println!("encode/{i}: latents, with nothing to compare"),
            }
        }
        Ok(())
    }
}

/// Runs `work` [`RUNS`] times and prints the first and the fastest time.
fn timed<T>(what: &str, work: impl Fn() -> Result<T>) -> Result<T> {
    let mut seconds = Vec::new();
    let mut result = None;
    while seconds.len() < RUNS && seconds.iter().sum::<f64>() < ENOUGH {
        let start = Instant::now();
        result = Some(work()?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let runs = seconds.len();
    println!(
        "{what}: {:.3} s, the fastest of {runs} {best:.3} s",
        seconds[0]
    );
    Ok(result.expect("RUNS is not 0"))
}

fn usage(wrong: &str) -> ! {
    eprintln!("golden_full: {wrong}");
    eprintln!("usage: golden_full CHECKPOINT STEM [DEVICE] [DTYPE] [STAGE]...");
    std::process::exit(2);
}

fn main() {
    if let Err(e) = run() {
        eprintln!("golden_full: {e}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let get = |i: usize| arguments.get(i).map_or("", String::as_str);
    if arguments.len() < 2 {
        usage("a checkpoint and a stem are needed");
    }
    let Ok(stem) = std::path::absolute(get(1)) else {
        usage("the stem is empty");
    };
    let device = match get(2) {
        "" => Device::Cpu,
        text => text.parse().unwrap_or_else(|e: String| usage(&e)),
    };
    let dtype = match get(3) {
        "" => DType::F32,
        text => text.parse().unwrap_or_else(|e: String| usage(&e)),
    };
    let mut check = Check {
        model: Model::locate(get(0), &LocateOptions::default())?,
        golden: golden(&stem),
        cases: golden_cases(&stem)["cases"].clone(),
        device,
        dtype,
        compared: 0,
        worst: 0.,
    };
    let all = ["text", "unet", "decode", "encode"].map(str::to_owned);
    for stage in arguments.get(4..).filter(|s| !s.is_empty()).unwrap_or(&all) {
        match stage.as_str() {
            "text" => check.text()?,
            "unet" => check.unet()?,
            "decode" => check.decode()?,
            "encode" => check.encode()?,
            other => usage(&format!("no stage `{other}`")),
        }
    }
    let Check {
        compared, worst, ..
    } = check;
    println!("{device} {dtype}: {compared} tensors compared, the largest e is {worst:.2e}");
    if compared == 0 || (dtype == DType::F32 && worst > 1e-4) {
        std::process::exit(1);
    }
    Ok(())
}
