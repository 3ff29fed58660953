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
    /// What a name of a checkpoint or a LoRA says where this recipe is meant: all of these.
    marks: &'static [&'static str],
}

const TRAILING: &str = r#"{"timestep_spacing": "trailing"}"#;
const LIGHTNING: &str = "https://huggingface.co/ByteDance/SDXL-Lightning";
const HYPER: &str = "https://huggingface.co/ByteDance/Hyper-SD";
const DMD2: &str = "https://huggingface.co/tianweiy/DMD2";
const NITRO: &str = "https://huggingface.co/ChenDY/NitroFusion";

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

/// All of them. A name means the first whose marks it has, so the more particular ones stand first.
#[rustfmt::skip]
const RECIPES: &[Recipe] = &[
    Recipe { side: 512, ..few("turbo", "euler-ancestral", TRAILING, 1, "https://huggingface.co/stabilityai/sdxl-turbo", &["sdxl", "turbo"]) },
    few("lightning-1", "euler", r#"{"timestep_spacing": "trailing", "prediction_type": "sample"}"#, 1, LIGHTNING, &["lightning", "1step"]),
    few("lightning-2", "euler", TRAILING, 2, LIGHTNING, &["lightning", "2step"]),
    few("lightning-8", "euler", TRAILING, 8, LIGHTNING, &["lightning", "8step"]),
    few("lightning-4", "euler", TRAILING, 4, LIGHTNING, &["lightning"]),
    Recipe { timesteps: Some("800"), ..few("hyper-1-unet", "lcm", "{}", 1, HYPER, &["hyper", "1step", "unet"]) },
    Recipe { eta: Some(1.0), ..few("hyper-1", "tcd", "{}", 1, HYPER, &["hyper", "1step"]) },
    few("hyper-2", "ddim", TRAILING, 2, HYPER, &["hyper", "2step"]),
    few("hyper-4", "ddim", TRAILING, 4, HYPER, &["hyper", "4step"]),
    few("hyper-8", "ddim", TRAILING, 8, HYPER, &["hyper", "8step"]),
    Recipe { timesteps: Some("399"), ..few("dmd2-1", "lcm", "{}", 1, DMD2, &["dmd2", "1step"]) },
    Recipe { timesteps: Some("999,749,499,249"), ..few("dmd2-4", "lcm", "{}", 4, DMD2, &["dmd2"]) },
    few("nitro-realism", "lcm", r#"{"shifted_timestep": 250, "original_inference_steps": 4}"#, 1, NITRO, &["nitrosd", "realism"]),
    few("nitro-vibrant", "lcm", r#"{"shifted_timestep": 500, "original_inference_steps": 4}"#, 1, NITRO, &["nitrosd", "vibrant"]),
    few("lcm", "lcm", "{}", 4, "https://huggingface.co/latent-consistency/lcm-lora-sdxl", &["lcm"]),
    Recipe { eta: Some(0.3), ..few("tcd", "tcd", "{}", 4, "https://huggingface.co/h1t/TCD-SDXL-LoRA", &["tcd"]) },
    Recipe { guidance_scale: 2.0, ..few("dreamshaper-turbo", "dpmpp-2m", "{}", 6, "https://huggingface.co/Lykon/dreamshaper-xl-v2-turbo", &["dreamshaper", "turbo"]) },
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
    // A merge of another model's is not SDXL Turbo: its authors say something else.
    RECIPES
        .iter()
        .find(speaks)
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

    #[test]
    fn the_table_has_a_line_a_recipe() {
        assert_eq!(table().lines().count(), RECIPES.len() + 1);
        assert!(table().contains("dmd2-4"), "{}", table());
    }
}
