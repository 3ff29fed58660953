//! LoRA files that are added to a model.

// Doc comments here are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use clap::Args;
use std::path::Path;
use turbo_cli::{Context, Error, Result};
use turbo_weights::{LocateOptions, Lora, LoraSpec, Part};
use turbo_wire::{keys, settings};

/// Which LoRA files.
#[derive(Args, Clone, Debug, Default)]
pub struct LoraArgs {
    /// LoRA to add to the model: a .safetensors file, or owner/name:file in the cache; =SCALE multiplies it
    ///
    /// May be given several times, and SCALE may be negative. What the file has for the text encoders counts in
    /// encode-text, which names it in the frame; denoise applies the rest of what the frame names. A flag here counts
    /// where the record or frame names none ("lora": a text or a list of texts; [] is none).
    #[arg(help_heading = "Model", long, value_name = "FILE[=SCALE]", value_hint = clap::ValueHint::FilePath)]
    pub lora: Vec<LoraSpec>,
}

impl LoraArgs {
    /// What a record or frame names (the value of [`keys::LORA`]), else the flags.
    ///
    /// # Errors
    /// What it names is no FILE\[=SCALE\].
    pub fn choose(&self, named: Option<&str>) -> Result<Vec<LoraSpec>> {
        let Some(named) = named else {
            return Ok(self.lora.clone());
        };
        let parse = |text: String| {
            let wrong = |why| Error::new(format_args!("{why} in {text:?}"));
            text.parse().map_err(wrong).context(keys::LORA)
        };
        settings::list(named).into_iter().map(parse).collect()
    }
}

/// LoRA files, open, and their scales.
#[derive(Default)]
pub struct Loras(Vec<(Lora, f32)>);

impl Loras {
    /// Finds and opens the files.
    ///
    /// # Errors
    /// One is not there, or is no LoRA for SDXL.
    pub fn open(specs: &[LoraSpec]) -> Result<Self> {
        let options = LocateOptions::with_builtin(None);
        let open = |spec: &LoraSpec| Ok((Lora::locate(&spec.file, &options)?, spec.scale));
        Ok(Self(specs.iter().map(open).collect::<Result<_>>()?))
    }

    /// The LoRAs with their scales, as networks take them.
    pub fn to_add(&self) -> Vec<(&Lora, f32)> {
        self.0.iter().map(|(lora, scale)| (lora, *scale)).collect()
    }

    /// How a frame names them: the value of [`keys::LORA`]; none where there are none.
    pub fn named(&self) -> Option<String> {
        settings::list_of(
            self.0
                .iter()
                .map(|(lora, scale)| format!("{}={scale}", lora.name())),
        )
    }

    /// File and scale of each that changes one of these parts.
    pub fn of_parts(&self, parts: &[Part]) -> impl Iterator<Item = (&Path, f32)> {
        let changes = |lora: &Lora| parts.iter().any(|part| lora.has(*part));
        let those = self.0.iter().filter(move |(lora, _)| changes(lora));
        those.map(|(lora, scale)| (lora.path(), *scale))
    }
}
