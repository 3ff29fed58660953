//! Published recipes: what a model's authors say of scheduler, steps, guidance and size.

use serde_json::{Map, Value};
use std::fmt::Write;
use turbo_cli::{Error, Result};

/// A recipe, as the card of its model has it.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    /// The short name of the scheduler.
    scheduler: &'static str,
    /// Keys set over `scheduler_config.json`, as a JSON object.
    set: &'static str,
    pub(crate) steps: usize,
    /// Instead of the schedule that so many steps have.
    pub(crate) timesteps: Option<&'static str>,
    pub(crate) eta: Option<f64>,
    pub(crate) guidance_scale: f32,
    /// Of a square picture, in pixels.
    pub(crate) side: usize,
    /// The page that says so.
    source: &'static str,
    /// What a name of a checkpoint or a LoRA says where this recipe is meant: all of these. Of several recipes the one
    /// with the most is meant.
    marks: &'static [&'static str],
}

const TRAILING: &str = r#"{"timestep_spacing": "trailing"}"#;
/// The last two as in the scheduler_config.json of SDXL, which the authors' own code takes over; DDIM's defaults are
/// others, and many a fine-tune's file has lost them.
const DDIM: &str =
    r#"{"timestep_spacing": "trailing", "clip_sample": false, "set_alpha_to_one": false}"#;
const LIGHTNING: &str = "https://huggingface.co/ByteDance/SDXL-Lightning";
const HYPER: &str = "https://huggingface.co/ByteDance/Hyper-SD";
const DMD2: &str = "https://huggingface.co/tianweiy/DMD2";
const NITRO: &str = "https://huggingface.co/ChenDY/NitroFusion";
const PCM: &str = "https://huggingface.co/wangfuyun/PCM_Weights";

const fn few(
    name: &'static str,
    scheduler: &'static str,
    set: &'static str,
    steps: usize,
    source: &'static str,
    marks: &'static [&'static str],
) -> Recipe {
    Recipe {
        name,
        scheduler,
        set,
        steps,
        timesteps: None,
        eta: None,
        guidance_scale: 0.0,
        side: 1024,
        source,
        marks,
    }
}

/// All of them, by kind and then by steps, each kind below what its page says. Where a page gives a range, this is its
/// middle.
#[rustfmt::skip]
const RECIPES: &[Recipe] = &[
    // Card: 1 step, guidance off, 512. Class and spacing: its scheduler_config.json.
    Recipe { side: 512, ..few("turbo", "euler-ancestral", TRAILING, 1, "https://huggingface.co/stabilityai/sdxl-turbo", &["sdxl", "turbo"]) },
    // Card: Euler, trailing, guidance 0, 1024 px, as many steps as the file's name says; of one step, "sample".
    few("lightning-1", "euler", r#"{"timestep_spacing": "trailing", "prediction_type": "sample"}"#, 1, LIGHTNING, &["lightning", "1step"]),
    few("lightning-2", "euler", TRAILING, 2, LIGHTNING, &["lightning", "2step"]),
    few("lightning-4", "euler", TRAILING, 4, LIGHTNING, &["lightning"]),
    few("lightning-8", "euler", TRAILING, 8, LIGHTNING, &["lightning", "8step"]),
    // Card: the LoRA of one step TCD with eta 1, the network of one step LCM at 800, the other LoRAs DDIM, trailing;
    // guidance 0, but 5 to 8 for the CFG LoRAs, of which no more is said.
    Recipe { eta: Some(1.0), ..few("hyper-1", "tcd", "{}", 1, HYPER, &["hyper", "1step"]) },
    few("hyper-2", "ddim", DDIM, 2, HYPER, &["hyper", "2step"]),
    few("hyper-4", "ddim", DDIM, 4, HYPER, &["hyper", "4step"]),
    few("hyper-8", "ddim", DDIM, 8, HYPER, &["hyper", "8step"]),
    Recipe { timesteps: Some("800"), ..few("hyper-1-unet", "lcm", "{}", 1, HYPER, &["hyper", "1step", "unet"]) },
    Recipe { guidance_scale: 6.5, ..few("hyper-8-cfg", "ddim", DDIM, 8, HYPER, &["hyper", "8step", "cfg"]) },
    Recipe { guidance_scale: 6.5, ..few("hyper-12-cfg", "ddim", DDIM, 12, HYPER, &["hyper", "12step", "cfg"]) },
    // Card: LCM, guidance 0, at these timesteps.
    Recipe { timesteps: Some("399"), ..few("dmd2-1", "lcm", "{}", 1, DMD2, &["dmd2", "1step"]) },
    Recipe { timesteps: Some("999,749,499,249"), ..few("dmd2-4", "lcm", "{}", 4, DMD2, &["dmd2"]) },
    // Card: LCM that tells the network shifted timesteps.
    few("nitro-realism", "lcm", r#"{"shifted_timestep": 250, "original_inference_steps": 4}"#, 1, NITRO, &["nitrosd", "realism"]),
    few("nitro-vibrant", "lcm", r#"{"shifted_timestep": 500, "original_inference_steps": 4}"#, 1, NITRO, &["nitrosd", "vibrant"]),
    // Card: DDIM, trailing, without the two; SmallCFG guidance 1 to 2, which its authors' demo leaves off; NormalCFG
    // 2.5 to 3.5 at 4 steps and 3 to 6 at 8. Their demo runs the LCM-like file with LCM, 4 steps, guidance off.
    few("pcm-small-2", "ddim", DDIM, 2, PCM, &["pcm", "smallcfg", "2step"]),
    few("pcm-small-4", "ddim", DDIM, 4, PCM, &["pcm", "smallcfg", "4step"]),
    few("pcm-small-8", "ddim", DDIM, 8, PCM, &["pcm", "smallcfg", "8step"]),
    few("pcm-small-16", "ddim", DDIM, 16, PCM, &["pcm", "smallcfg", "16step"]),
    Recipe { guidance_scale: 3.0, ..few("pcm-normal-4", "ddim", DDIM, 4, PCM, &["pcm", "normalcfg", "4step"]) },
    Recipe { guidance_scale: 4.5, ..few("pcm-normal-8", "ddim", DDIM, 8, PCM, &["pcm", "normalcfg", "8step"]) },
    few("pcm-lcm", "lcm", "{}", 4, "https://github.com/G-U-N/Phased-Consistency-Model", &["pcm", "lcmlike"]),
    // Card: LCM, 2 to 8 steps, guidance off or 1 to 2.
    few("lcm", "lcm", "{}", 4, "https://huggingface.co/latent-consistency/lcm-lora-sdxl", &["lcm"]),
    // Card: TCD, 4 steps, guidance 0, eta 0.3.
    Recipe { eta: Some(0.3), ..few("tcd", "tcd", "{}", 4, "https://huggingface.co/h1t/TCD-SDXL-LoRA", &["tcd"]) },
    // Card: DPMSolverMultistep, 6 steps, guidance 2.
    Recipe { guidance_scale: 2.0, ..few("dreamshaper-turbo", "dpmpp-2m", "{}", 6, "https://huggingface.co/Lykon/dreamshaper-xl-v2-turbo", &["dreamshaper", "turbo"]) },
    // Card: 40 steps, of which a refiner may do the last. Class and spacing: its scheduler_config.json. Guidance: the default of diffusers' pipeline.
    Recipe { guidance_scale: 5.0, ..few("base", "euler", r#"{"timestep_spacing": "leading"}"#, 40, "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0", &["xl", "base"]) },
];

/// What `--recipe` takes to print the table.
pub(crate) const LIST: &str = "list";

/// The value of `--recipe`: a recipe's name, or [`LIST`].
pub(crate) fn parse(name: &str) -> Result<String, String> {
    if name == LIST || RECIPES.iter().any(|recipe| recipe.name == name) {
        Ok(name.to_owned())
    } else {
        Err(format!("expected {LIST}, or one of {}", names()))
    }
}

fn names() -> String {
    let names: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
    names.join(", ")
}

/// The recipe of a name.
pub(crate) fn recipe(name: &str) -> Result<&'static Recipe> {
    let found = RECIPES.iter().find(|recipe| recipe.name == name);
    found.ok_or_else(|| {
        Error::new(format_args!(
            "recipe: expected one of {}, found {name:?}",
            names()
        ))
    })
}

/// The recipe that a checkpoint's or a LoRA's name speaks of. Only the last part of a path counts, and an id's owner
/// does not.
pub(crate) fn of_name(name: &str) -> Option<&'static Recipe> {
    let last = name.split('@').next()?.rsplit(['/', '\\']).next()?;
    let mut last = last.to_lowercase().replace(['-', '_', ' ', '.'], "");
    last = last.replace("steps", "step");
    let speaks = |recipe: &&Recipe| {
        let marks = recipe.marks;
        !marks.is_empty() && marks.iter().all(|mark| last.contains(mark))
    };
    // The most particular one; of equals the first.
    let found = RECIPES.iter().rev().filter(speaks);
    found
        .max_by_key(|recipe| recipe.marks.len())
        // A merge of another model's is not SDXL Turbo: its authors say something else.
        .filter(|recipe| recipe.name != "turbo" || last.starts_with("sdxlturbo"))
}

/// The table of `--recipe list`.
pub(crate) fn table() -> String {
    let mut text = format!(
        "{:<18}{:<16}{:>5}  {:>8}  {:>4}  {}\n",
        "recipe", "scheduler", "steps", "guidance", "size", "also; source"
    );
    for recipe in RECIPES {
        let mut also = Vec::new();
        if recipe.set != "{}" {
            also.push(recipe.set.trim_matches(['{', '}']).replace('"', ""));
        }
        also.extend(recipe.timesteps.map(|list| format!("timesteps: {list}")));
        also.extend(recipe.eta.map(|eta| format!("eta: {eta}")));
        also.push(recipe.source.to_owned());
        let _ = writeln!(
            text,
            "{:<18}{:<16}{:>5}  {:>8}  {:>4}  {}",
            recipe.name,
            recipe.scheduler,
            recipe.steps,
            recipe.guidance_scale,
            recipe.side,
            also.join("; ")
        );
    }
    text
}

impl Recipe {
    /// Its keys over `scheduler_config.json`.
    pub(crate) fn set(&self) -> Map<String, Value> {
        serde_json::from_str(self.set).unwrap_or_default()
    }

    /// The short name of its scheduler.
    pub(crate) fn scheduler(&self) -> &'static str {
        self.scheduler
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_scheduler::{SchedulerConfig, Start};

    #[test]
    fn every_recipe_is_one_that_its_scheduler_takes() {
        for recipe in RECIPES {
            let base = SchedulerConfig::from_json(&serde_json::json!({})).unwrap();
            let level = recipe.level();
            assert!(
                recipe.set == "{}" || !level.set.is_empty(),
                "{}",
                recipe.name
            );
            let sampling = crate::sampling::Levels::of(vec![level]).settle(base, 1, Start::Noise);
            let sampling = sampling.unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
            assert_eq!(sampling.calls().len(), recipe.steps, "{}", recipe.name);
            assert!(recipe.source.starts_with("https://"), "{}", recipe.name);
        }
    }

    #[test]
    fn names_of_files_that_are_published() {
        for (name, expected) in [
            ("stabilityai/sdxl-turbo", Some("turbo")),
            ("sd_xl_turbo_1.0_fp16.safetensors", Some("turbo")),
            (
                "/models/sdxl_lightning_4step_unet.safetensors",
                Some("lightning-4"),
            ),
            ("ByteDance/SDXL-Lightning@main", Some("lightning-4")),
            ("sdxl_lightning_2step_lora.safetensors", Some("lightning-2")),
            ("sdxl_lightning_1step_x0.safetensors", Some("lightning-1")),
            ("Hyper-SDXL-1step-Unet.safetensors", Some("hyper-1-unet")),
            ("Hyper-SDXL-1step-lora.safetensors", Some("hyper-1")),
            ("Hyper-SDXL-8steps-lora.safetensors", Some("hyper-8")),
            (
                "Hyper-SDXL-8steps-CFG-lora.safetensors",
                Some("hyper-8-cfg"),
            ),
            (
                "Hyper-SDXL-12steps-CFG-lora.safetensors",
                Some("hyper-12-cfg"),
            ),
            (
                "pcm_sdxl_smallcfg_16step_converted.safetensors",
                Some("pcm-small-16"),
            ),
            (
                "sdxl/pcm_sdxl_normalcfg_8step_converted.safetensors",
                Some("pcm-normal-8"),
            ),
            ("pcm_sdxl_normalcfg_16step_converted.safetensors", None),
            (
                "pcm_sdxl_lcmlike_lora_converted.safetensors",
                Some("pcm-lcm"),
            ),
            ("dmd2_sdxl_4step_lora_fp16.safetensors", Some("dmd2-4")),
            ("dmd2_sdxl_1step_unet_fp16.safetensors", Some("dmd2-1")),
            ("nitrosd-vibrant_unet.safetensors", Some("nitro-vibrant")),
            ("latent-consistency/lcm-lora-sdxl", Some("lcm")),
            ("h1t/TCD-SDXL-LoRA", Some("tcd")),
            ("Lykon/dreamshaper-xl-v2-turbo", Some("dreamshaper-turbo")),
            ("stabilityai/stable-diffusion-xl-base-1.0", Some("base")),
            ("lightning/realvis-xl", None),
            ("demo", None),
            ("turbovision-xl", None),
        ] {
            assert_eq!(of_name(name).map(|recipe| recipe.name), expected, "{name}");
        }
    }

    /// lightning-2 before lightning-4, and no other kind between.
    #[test]
    fn a_kind_stands_together_by_its_steps() {
        let kind = |recipe: &Recipe| {
            let words = recipe.name.split('-');
            let counts = |word: &&str| word.parse::<usize>().is_err();
            words.filter(counts).collect::<Vec<_>>().join("-")
        };
        let mut seen: Vec<(String, usize)> = Vec::new();
        for recipe in RECIPES {
            let own = (kind(recipe), recipe.steps);
            let last = seen.iter().rfind(|(kind, _)| *kind == own.0);
            if let Some(last) = last {
                assert_eq!(Some(last), seen.last(), "{}", recipe.name);
                assert!(last.1 < recipe.steps, "{}", recipe.name);
            }
            seen.push(own);
        }
    }

    #[test]
    fn the_table_has_a_line_a_recipe() {
        assert_eq!(table().lines().count(), RECIPES.len() + 1);
        assert!(table().contains("dmd2-4"), "{}", table());
    }
}
