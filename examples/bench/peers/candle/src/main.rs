//! candle-transformers' Stable Diffusion XL as it is, in float32: its UNet, and its VAE.
//!
//!     candle-peer CHECKPOINT --stage unet|vae --dtype f32 [--size 512] [--runs 5] [--threads 2]
//!
//! Its UNet leaves out SDXL's size and pooled conditioning, whose weights it does not read; their time is negligible.

use anyhow::{bail, Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_transformers::models::stable_diffusion::StableDiffusionConfig;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Greatest memory beside file pages so far.
static ANON: AtomicU64 = AtomicU64::new(0);

/// A line of /proc/self/status, in bytes.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let checkpoint = args.next().context("CHECKPOINT --stage unet|vae --dtype f32 ...")?;
    let rest: Vec<String> = args.collect();
    let flags: HashMap<&str, &str> = rest
        .chunks_exact(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let number = |flag, default| flags.get(flag).map_or(Ok(default), |n| n.parse::<usize>());
    let (size, runs, threads) = (number("--size", 512)?, number("--runs", 5)?, number("--threads", 2)?);
    if flags.get("--dtype") != Some(&"f32") {
        bail!("--dtype f32 is measured, no other");
    }
    // Before the pools start: candle has two.
    std::env::set_var("RAYON_NUM_THREADS", threads.to_string());
    std::env::set_var("CANDLE_NUM_THREADS", threads.to_string());
    std::thread::spawn(|| loop {
        ANON.fetch_max(status("RssAnon"), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    });

    let (device, side) = (Device::Cpu, size / 8);
    let config = StableDiffusionConfig::sdxl_turbo(None, Some(size), Some(size));
    let latents = Tensor::randn(0f32, 1f32, (1, 4, side, side), &device)?;
    let file = |part: &str| format!("{checkpoint}/{part}/diffusion_pytorch_model.fp16.safetensors");
    let begin = Instant::now();
    let stage = *flags.get("--stage").unwrap_or(&"");
    let step: Box<dyn Fn() -> Result<Tensor>> = match stage {
        "unet" => {
            let unet = config.build_unet(file("unet"), &device, 4, false, DType::F32)?;
            let embeds = Tensor::randn(0f32, 1f32, (1, 77, 2048), &device)?;
            Box::new(move || Ok(unet.forward(&latents, 999.0, &embeds)?))
        }
        "vae" => {
            let vae = config.build_vae(file("vae"), &device, DType::F32)?;
            Box::new(move || Ok(vae.decode(&latents)?))
        }
        _ => bail!("--stage unet or --stage vae"),
    };
    let open_s = begin.elapsed().as_secs_f64();
    let mut seconds = Vec::new();
    for _ in 0..=runs {
        let begin = Instant::now();
        step()?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    ANON.fetch_max(status("RssAnon"), Ordering::Relaxed);
    let first_s = seconds.remove(0);
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median_s = (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2.0;
    let report = serde_json::json!({
        "stage": stage,
        "dtype": "f32",
        "size": size,
        "threads": threads,
        "versions": {"candle-transformers": "0.11.1"},
        "open_s": open_s,
        "first_s": first_s,
        "seconds": seconds,
        "median_s": median_s,
        "peak_anon_bytes": ANON.load(Ordering::Relaxed),
        "peak_rss_bytes": status("VmHWM"),
    });
    println!("{report}");
    Ok(())
}
