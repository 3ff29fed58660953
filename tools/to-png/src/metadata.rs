//! A picture's metadata, and its form as PNG text.

use std::path::Path;
use turbo_wire::{Metadata, keys};

/// Keyword of the text that AUTOMATIC1111's web UI writes and many programs read.
const PARAMETERS: &str = "parameters";
/// Keyword of the JSON object with all metadata.
const ALL: &str = "sdxl-turbo";

/// The PNG text, keyword and text, for a picture with this metadata.
///
/// Pictures are handed on: of a checkpoint on this machine's disk they tell the name, not the folder it lies in.
pub(crate) fn text(metadata: &Metadata, width: u32, height: u32) -> Vec<(&'static str, String)> {
    let mut metadata = metadata.clone();
    for key in [keys::MODEL, keys::VAE, keys::IMAGE, keys::MASK] {
        if let Some(value) = metadata.get_mut(key) {
            let path = Path::new(&*value);
            if let (true, Some(name)) = (path.is_absolute(), path.file_name()) {
                *value = name.to_string_lossy().into_owned();
            }
        }
    }
    let metadata = &metadata;
    let mut text = Vec::new();
    if let Some(parameters) = parameters(metadata, width, height) {
        text.push((PARAMETERS, parameters));
    }
    if let Ok(json) = serde_json::to_string(metadata) {
        text.push((ALL, json));
    }
    text
}

/// The text as the web UI's `create_infotext` builds it: the prompt, a line for the negative
/// prompt, a line of `name: value`. None for a picture of which nothing is known.
fn parameters(metadata: &Metadata, width: u32, height: u32) -> Option<String> {
    let get = |key: &str| metadata.get(key).cloned();
    let known = [keys::PROMPT, keys::SEED, keys::STEPS];
    if !known.iter().any(|key| metadata.contains_key(*key)) {
        return None;
    }
    let values = [
        ("Steps", get(keys::STEPS)),
        ("Sampler", sampler(metadata)),
        ("CFG scale", get(keys::GUIDANCE_SCALE)),
        ("Seed", get(keys::SEED)),
        ("Size", Some(format!("{width}x{height}"))),
        ("Model", get(keys::MODEL)),
        ("VAE", get(keys::VAE)),
        ("Denoising strength", get(keys::STRENGTH)),
        ("Clip skip", get(keys::CLIP_SKIP)),
    ];
    let values: Vec<String> = values
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", quote(&value?))))
        .collect();

    let mut text = get(keys::PROMPT).unwrap_or_default();
    if let Some(negative) = metadata
        .get(keys::NEGATIVE_PROMPT)
        .filter(|text| !text.is_empty())
    {
        text.push_str("\nNegative prompt: ");
        text.push_str(negative);
    }
    text.push('\n');
    text.push_str(&values.join(", "));
    Some(text.trim().to_owned())
}

/// A value as a JSON string where the line's own punctuation would break it up, which is the web
/// UI's rule.
fn quote(value: &str) -> String {
    if value.contains([',', '\n', ':']) {
        serde_json::Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

/// The web UI's name of the sampler. Where steps were taken and none is named it is Euler
/// ancestral, which is what SDXL Turbo's scheduler, and so `denoise`, is.
fn sampler(metadata: &Metadata) -> Option<String> {
    let steps = metadata.contains_key(keys::STEPS);
    match metadata.get(keys::SCHEDULER).map(String::as_str) {
        None if steps => Some("Euler a".to_owned()),
        None => None,
        Some("EulerAncestralDiscreteScheduler") => Some("Euler a".to_owned()),
        Some("EulerDiscreteScheduler") => Some("Euler".to_owned()),
        Some("DDIMScheduler") => Some("DDIM".to_owned()),
        Some("LCMScheduler") => Some("LCM".to_owned()),
        Some(other) => Some(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_form_that_other_programs_read() {
        let all = metadata(&[
            ("prompt", "a red fox"),
            ("negative_prompt", "snow"),
            ("steps", "1"),
            ("guidance_scale", "0"),
            ("seed", "1"),
            ("model", "stabilityai/sdxl-turbo"),
        ]);
        assert_eq!(
            parameters(&all, 512, 768).unwrap(),
            "a red fox\nNegative prompt: snow\nSteps: 1, Sampler: Euler a, CFG scale: 0, Seed: 1, \
             Size: 512x768, Model: stabilityai/sdxl-turbo"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let prompt = metadata(&[("prompt", "x"), ("negative_prompt", "")]);
        assert_eq!(parameters(&prompt, 8, 16).unwrap(), "x\nSize: 8x16");
        let seed = metadata(&[("seed", "1"), ("scheduler", "EulerDiscreteScheduler")]);
        assert_eq!(
            parameters(&seed, 8, 16).unwrap(),
            "Sampler: Euler, Seed: 1, Size: 8x16"
        );
        let none = metadata(&[("kind", "image")]);
        assert_eq!(parameters(&none, 8, 16), None);
        assert_eq!(
            text(&none, 8, 16),
            [(ALL, r#"{"kind":"image"}"#.to_owned())]
        );
    }

    #[test]
    fn a_folder_of_this_machine_stays_on_it() {
        let all = metadata(&[("seed", "1"), ("model", "/home/me/models/mini")]);
        let all = text(&all, 8, 16);
        assert_eq!(all[0].1, "Seed: 1, Size: 8x16, Model: mini");
        assert_eq!(all[1].1, r#"{"model":"mini","seed":"1"}"#);
    }

    #[test]
    fn values_that_would_break_the_line_are_quoted() {
        assert_eq!(quote("a/b c"), "a/b c");
        assert_eq!(quote("C:\\a, \"b\""), r#""C:\\a, \"b\"""#);
    }
}
