//! Folders of something else, told by what their own files say.

use super::tree::Tree;
use serde_json::Value;

/// The other architecture whose folder this is, by its `model_index.json`; none for SDXL's, and for what is not known.
pub(crate) fn other_pipeline(tree: &Tree) -> Option<String> {
    if !tree.has("model_index.json") {
        return None;
    }
    let index = tree.json("model_index.json", "").ok()?;
    let class = index["_class_name"].as_str()?;
    let lacks = |part: &str| index.get(part).is_some_and(|value| value[0].is_null());
    let name = match class {
        _ if class.starts_with("StableDiffusionXL") && lacks("text_encoder") => "SDXL's refiner",
        _ if class.starts_with("StableDiffusionXL") => return None,
        _ if class.starts_with("StableDiffusion3") => "Stable Diffusion 3",
        "StableDiffusionPipeline" => "Stable Diffusion 1 or 2, or SD Turbo",
        _ if class.starts_with("Flux") => "Flux",
        _ if !class.ends_with("Pipeline") => return None,
        other => other,
    };
    let class: String = name
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(80)
        .collect();
    Some(class)
}

/// What a folder is that has no part of a checkpoint, in words.
pub(crate) fn other_folder(tree: &Tree) -> String {
    let class = tree.json("config.json", "").ok();
    let class = class.as_ref().and_then(|config| config.get("_class_name"));
    match class.and_then(Value::as_str) {
        Some("ControlNetModel") => return "a ControlNet".to_owned(),
        Some("UNet2DConditionModel") => {
            return "a UNet alone: give the whole checkpoint's folder".to_owned();
        }
        Some("AutoencoderKL" | "AutoencoderTiny") => {
            return "an autoencoder: give it with --vae".to_owned();
        }
        _ => {}
    }
    let names = tree.list("");
    let file = |with: &str| {
        names
            .iter()
            .find(|name| name.ends_with(".safetensors") && name.contains(with))
    };
    if let Some(lora) = file("lora") {
        return format!("it holds the LoRA {lora}: give that file with --lora");
    }
    match file("") {
        Some(file) => format!("it holds the file {file}: give that file itself"),
        None => "nothing of a checkpoint in it".to_owned(),
    }
}
