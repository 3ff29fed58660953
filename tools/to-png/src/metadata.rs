//! A picture's metadata, and its form as PNG text.

use std::path::Path;
use turbo_wire::metadata::{read, write};
use turbo_wire::{Metadata, keys, rows, settings};

/// Keyword of the text that AUTOMATIC1111's web UI writes and many programs read.
const PARAMETERS: &str = "parameters";
/// Keyword of the JSON object with all metadata.
const ALL: &str = "sdxl-turbo";

/// The metadata of a frame's rows. One copy is made of a frame's, whatever the number of its rows.
pub(crate) struct Rows {
    /// Those of the row that was asked for last.
    metadata: Metadata,
    /// The frame's own, which are row 0's.
    id: Option<String>,
    seed: Option<String>,
    /// The seed, if it is a number.
    first: Option<u64>,
}

impl Rows {
    /// Pictures are handed on: of a checkpoint on this machine's disk the text tells the name, not the folder it lies
    /// in.
    pub(crate) fn new(frame: &Metadata) -> Self {
        let mut metadata = frame.clone();
        for key in [keys::MODEL, keys::VAE, keys::IMAGE, keys::MASK] {
            if let Some(value) = metadata.get_mut(key) {
                *value = without_folder(value);
            }
        }
        for key in [keys::LORA, keys::EMBEDDING] {
            if let Some(value) = metadata.get_mut(key) {
                let names = settings::list(value);
                let names = settings::list_of(names.iter().map(|name| without_folder(name)));
                *value = names.unwrap_or_default();
            }
        }
        Self {
            id: metadata.get(keys::ID).cloned(),
            seed: metadata.get(keys::SEED).cloned(),
            first: read(&metadata, keys::SEED).ok().flatten(),
            metadata,
        }
    }

    /// The id of a row.
    pub(crate) fn id(&self, row: u64) -> Option<String> {
        self.id.as_ref().map(|id| rows::id(id, row))
    }

    /// As [`rows::metadata`] makes it, which makes a copy for each row.
    fn of(&mut self, row: u64) -> &Metadata {
        let seed = match row {
            0 => self.seed.clone(),
            row => self.first.map(|seed| rows::seed(seed, row).to_string()),
        };
        self.metadata.remove(keys::SEED);
        let id = self.id(row);
        write(&mut self.metadata, [(keys::ID, id), (keys::SEED, seed)]);
        &self.metadata
    }

    /// The PNG text of a row's picture, keyword and text.
    pub(crate) fn text(
        &mut self,
        row: u64,
        width: u32,
        height: u32,
    ) -> Vec<(&'static str, String)> {
        let metadata = self.of(row);
        let mut text = Vec::new();
        if let Some(parameters) = parameters(metadata, width, height) {
            text.push((PARAMETERS, parameters));
        }
        if let Ok(json) = serde_json::to_string(metadata) {
            text.push((ALL, json));
        }
        text
    }
}

/// The last part of an absolute path; any other text as it is.
fn without_folder(value: &str) -> String {
    match Path::new(value).file_name() {
        Some(name) if Path::new(value).is_absolute() => name.to_string_lossy().into_owned(),
        _ => value.to_owned(),
    }
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
        ("Schedule type", schedule(metadata)),
        ("CFG scale", get(keys::GUIDANCE_SCALE).map(cfg_scale)),
        ("Seed", get(keys::SEED)),
        ("Size", Some(format!("{width}x{height}"))),
        ("Model", get(keys::MODEL)),
        ("VAE", get(keys::VAE)),
        ("Denoising strength", get(keys::STRENGTH)),
        (
            "Clip skip",
            get(keys::CLIP_SKIP).and_then(|k| clip_skip(&k)),
        ),
        // Whose noise the seed means: that of torch's generator on a CPU, where the web UI takes the GPU's.
        ("RNG", get(keys::SEED).map(|_| "CPU".to_owned())),
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
    // Readers take a line of fewer for a part of the prompt.
    if values.len() >= 3 {
        text.push('\n');
        text.push_str(&values.join(", "));
    }
    Some(text.trim().to_owned())
}

/// Guidance as the web UI counts it: 1 is none. Here it is off at or below 1, as in diffusers, and usually 0, which means
/// there that the prompt does not count.
fn cfg_scale(guidance_scale: String) -> String {
    match guidance_scale.parse::<f64>() {
        Ok(scale) if scale <= 1.0 => "1".to_owned(),
        _ => guidance_scale,
    }
}

/// Which layer counts, from the end: 1 is the one that counts where none is left out. diffusers' `clip_skip` is how many
/// are left out.
fn clip_skip(left_out: &str) -> Option<String> {
    let left_out: u64 = left_out.parse().ok()?;
    (left_out > 0).then(|| left_out.saturating_add(1).to_string())
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
    let set = scheduler_set(metadata);
    let Some(class) = metadata.get(keys::SCHEDULER) else {
        return metadata
            .contains_key(keys::STEPS)
            .then(|| "Euler a".to_owned());
    };
    let order = set
        .get("solver_order")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(2);
    let sde = set.get("algorithm_type").and_then(|value| value.as_str());
    let sde = if sde.is_some_and(|algorithm| algorithm.starts_with("sde-")) {
        " SDE"
    } else {
        ""
    };
    let name = match class.strip_suffix("Scheduler").unwrap_or(class) {
        "EulerAncestralDiscrete" => "Euler a",
        "EulerDiscrete" => "Euler",
        "HeunDiscrete" => "Heun",
        "KDPM2Discrete" => "DPM2",
        "KDPM2AncestralDiscrete" => "DPM2 a",
        "LMSDiscrete" => "LMS",
        "DPMSolverMultistep" => return Some(format!("DPM++ {order}M{sde}")),
        "DPMSolverSinglestep" => return Some(format!("DPM++ {order}S{sde}")),
        "UniPCMultistep" => "UniPC",
        "DEISMultistep" => "DEIS",
        "PNDM" => "PLMS",
        "DDIM" => "DDIM",
        "DDPM" => "DDPM",
        "LCM" => "LCM",
        "TCD" => "TCD",
        _ => class,
    };
    Some(name.to_owned())
}

/// The web UI's name of the schedule, where it is one that has a name there.
fn schedule(metadata: &Metadata) -> Option<String> {
    let set = scheduler_set(metadata);
    [
        ("use_karras_sigmas", "Karras"),
        ("use_exponential_sigmas", "Exponential"),
        ("use_beta_sigmas", "Beta"),
    ]
    .iter()
    .find(|(key, _)| set.get(*key) == Some(&true.into()))
    .map(|(_, name)| (*name).to_owned())
}

/// The keys that were set over the checkpoint's.
fn scheduler_set(metadata: &Metadata) -> serde_json::Map<String, serde_json::Value> {
    let set = metadata.get(keys::SCHEDULER_SET);
    set.and_then(|set| serde_json::from_str(set).ok())
        .unwrap_or_default()
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
            "a red fox\nNegative prompt: snow\nSteps: 1, Sampler: Euler a, CFG scale: 1, Seed: 1, \
             Size: 512x768, Model: stabilityai/sdxl-turbo, RNG: CPU"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let prompt = metadata(&[("prompt", "x"), ("negative_prompt", "")]);
        assert_eq!(parameters(&prompt, 8, 16).unwrap(), "x");
        let seed = metadata(&[("seed", "1"), ("scheduler", "EulerDiscreteScheduler")]);
        assert_eq!(
            parameters(&seed, 8, 16).unwrap(),
            "Sampler: Euler, Seed: 1, Size: 8x16, RNG: CPU"
        );
        let none = metadata(&[("kind", "image")]);
        assert_eq!(parameters(&none, 8, 16), None);
        assert_eq!(
            Rows::new(&none).text(0, 8, 16),
            [(ALL, r#"{"kind":"image"}"#.to_owned())]
        );
    }

    #[test]
    fn numbers_are_counted_as_others_count_them() {
        for (here, there) in [
            ("0", "1"),
            ("0.0", "1"),
            ("1", "1"),
            ("1.5", "1.5"),
            ("7", "7"),
            ("x", "x"),
        ] {
            assert_eq!(cfg_scale(here.to_owned()), there);
        }
        for (here, there) in [("0", None), ("1", Some("2")), ("2", Some("3")), ("x", None)] {
            assert_eq!(clip_skip(here).as_deref(), there);
        }
    }

    #[test]
    fn samplers_and_schedules_have_the_web_uis_names() {
        for (scheduler, set, expected) in [
            ("LCMScheduler", "{}", "Sampler: LCM"),
            ("DPMSolverMultistepScheduler", "{}", "Sampler: DPM++ 2M"),
            (
                "DPMSolverMultistepScheduler",
                r#"{"algorithm_type":"sde-dpmsolver++","solver_order":3,"use_karras_sigmas":true}"#,
                "Sampler: DPM++ 3M SDE, Schedule type: Karras",
            ),
            (
                "KDPM2AncestralDiscreteScheduler",
                r#"{"use_karras_sigmas":false,"use_exponential_sigmas":true}"#,
                "Sampler: DPM2 a, Schedule type: Exponential",
            ),
            ("MyScheduler", "{}", "Sampler: MyScheduler"),
        ] {
            let pairs = [
                ("seed", "1"),
                ("scheduler", scheduler),
                ("scheduler_set", set),
            ];
            assert_eq!(
                parameters(&metadata(&pairs), 8, 16).unwrap(),
                format!("{expected}, Seed: 1, Size: 8x16, RNG: CPU")
            );
        }
    }

    #[test]
    fn a_folder_of_this_machine_stays_on_it() {
        let all = metadata(&[("seed", "1"), ("model", "/home/me/models/mini")]);
        let all = Rows::new(&all).text(0, 8, 16);
        assert_eq!(all[0].1, "Seed: 1, Size: 8x16, Model: mini, RNG: CPU");
        assert_eq!(all[1].1, r#"{"model":"mini","seed":"1"}"#);
        let listed = metadata(&[
            ("embedding", r#"["/home/me/knit.safetensors=<knit>"]"#),
            (
                "lora",
                r#"["/home/me/ink.safetensors=0.5","owner/name@0:x.safetensors=1"]"#,
            ),
        ]);
        assert_eq!(
            Rows::new(&listed).text(0, 8, 16)[0].1,
            r#"{"embedding":"[\"knit.safetensors=<knit>\"]","lora":"[\"ink.safetensors=0.5\",\"owner/name@0:x.safetensors=1\"]"}"#
        );
    }

    #[test]
    fn values_that_would_break_the_line_are_quoted() {
        assert_eq!(quote("a/b c"), "a/b c");
        assert_eq!(quote("C:\\a, \"b\""), r#""C:\\a, \"b\"""#);
    }

    #[test]
    fn rows_count_on() {
        for seed in ["18446744073709551615", "7.0", "lucky"] {
            let frame = metadata(&[("seed", seed), ("id", "fox"), ("mood", "wild")]);
            let mut rows = Rows::new(&frame);
            for row in [0, 2, 0, 5] {
                assert_eq!(*rows.of(row), rows::metadata(&frame, row), "{seed} {row}");
            }
        }
    }
}
