//! Which files of a repository the tools need.
//!
//! The names come from diffusers' layout; the choice is made by name only, so it works the same
//! on the hub's listing and on a folder of the cache.

use crate::error::Error;
use std::collections::BTreeSet;
use std::path::Path;
use turbo_weights::{ModelId, TAESDXL_FILES, TokenizerFiles, Variant, is_pickle};

/// Which weights to take where a repository has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Dtype {
    /// Half precision, the fp16 variant: half the bytes, and what the tools compute from
    #[default]
    F16,
    /// Single precision, the weights without a variant
    F32,
}

/// A part of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Both tokenizers
    Tokenizer,
    /// The scheduler's configuration
    Scheduler,
    /// Both text encoders
    TextEncoder,
    /// The denoising network
    Unet,
    /// The autoencoder
    Vae,
}

impl Part {
    fn of(part: turbo_weights::Part) -> Self {
        match part {
            turbo_weights::Part::TextEncoder | turbo_weights::Part::TextEncoder2 => {
                Self::TextEncoder
            }
            turbo_weights::Part::Unet => Self::Unet,
            turbo_weights::Part::Vae => Self::Vae,
        }
    }
}

/// The files chosen.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// Paths in the repository, small files first.
    pub files: Vec<String>,
    /// What the user should know about the choice.
    pub notes: Vec<String>,
    /// No other file could be added or preferred, whatever else the repository has: a choice made
    /// from a part of the repository's files is final if it is settled.
    pub settled: bool,
}

/// Chooses from `paths`, the files of repository `id`. `only` limits the choice to some parts;
/// empty means all.
///
/// # Errors
/// [`Error::Unsuitable`] naming the first file that is needed and missing.
pub fn choose(
    id: &ModelId,
    paths: &BTreeSet<String>,
    dtype: Dtype,
    only: &[Part],
) -> Result<Choice, Error> {
    let mut chooser = Chooser {
        id,
        paths,
        dtype,
        configs: Vec::new(),
        weights: Vec::new(),
        notes: Vec::new(),
        settled: true,
    };
    if paths.contains("model_index.json") {
        chooser.pipeline(only)?;
    } else {
        chooser.component(only)?;
    }
    let mut files = chooser.configs;
    files.extend(chooser.weights);
    Ok(Choice {
        files,
        notes: chooser.notes,
        settled: chooser.settled,
    })
}

/// The files that a user names, which must be there.
///
/// # Errors
/// [`Error::Unsuitable`] naming the first one that is not, and what there is of its kind.
pub fn named(id: &ModelId, paths: &BTreeSet<String>, files: &[String]) -> Result<Choice, Error> {
    for file in files {
        if paths.contains(file) {
            continue;
        }
        let kind = |path: &str| path.rsplit_once('.').map(|(_, kind)| kind.to_owned());
        let like = paths.iter().filter(|path| kind(path) == kind(file));
        let like: Vec<&str> = like.map(String::as_str).take(8).collect();
        let there = match like[..] {
            [] => String::new(),
            _ => format!("; it has {}", like.join(", ")),
        };
        return Err(Error::Unsuitable(format!("{id} has no {file}{there}")));
    }
    Ok(Choice {
        files: files.to_vec(),
        notes: Vec::new(),
        settled: true,
    })
}

struct Chooser<'a> {
    id: &'a ModelId,
    paths: &'a BTreeSet<String>,
    dtype: Dtype,
    configs: Vec<String>,
    weights: Vec<String>,
    notes: Vec<String>,
    settled: bool,
}

impl Chooser<'_> {
    fn pipeline(&mut self, only: &[Part]) -> Result<(), Error> {
        let wanted = |part: Part| only.is_empty() || only.contains(&part);
        self.need("model_index.json")?;
        if wanted(Part::Scheduler) {
            self.need("scheduler/scheduler_config.json")?;
        }
        if wanted(Part::Tokenizer) {
            for folder in ["tokenizer", "tokenizer_2"] {
                let whole = format!("{folder}/{}", TokenizerFiles::WHOLE);
                let [vocab, merges, config, special] =
                    TokenizerFiles::NAMES.map(|name| format!("{folder}/{name}"));
                if !self.paths.contains(&vocab) && self.paths.contains(&whole) {
                    // As transformers 5 saves it.
                    self.need(&whole)?;
                    self.need(&config)?;
                    continue;
                }
                for file in [vocab, merges, config] {
                    self.need(&file)?;
                }
                // Newer transformers put its content into tokenizer_config.json.
                self.take_if_there(&special);
            }
        }
        for part in turbo_weights::Part::ALL {
            if wanted(Part::of(part)) {
                self.need(&format!("{}/config.json", part.folder()))?;
                self.weights_of(part.folder(), part.stem())?;
            }
        }
        Ok(())
    }

    /// A repository that is one autoencoder: TAESDXL, or a VAE on its own.
    fn component(&mut self, only: &[Part]) -> Result<(), Error> {
        let wanted = only.is_empty() || only.contains(&Part::Vae);
        let stem = turbo_weights::Part::Vae.stem();
        let diffusers = self.paths.contains("config.json")
            && self
                .paths
                .iter()
                .any(|path| path.starts_with(stem) && is_safetensors(path));
        let originals: Vec<String> = TAESDXL_FILES
            .into_iter()
            .filter(|path| self.paths.contains(*path))
            .map(str::to_owned)
            .collect();
        if !wanted || (!diffusers && originals.is_empty()) {
            return Err(self.unsuitable(
                "has no model_index.json, nor config.json beside diffusion_pytorch_model.safetensors; \
                 the tools need a repository in diffusers' layout",
            ));
        }
        if diffusers {
            self.need("config.json")?;
            self.weights_of("", stem)?;
        }
        // The originals are small, and readable where the diffusers form is not there.
        self.settled &= !originals.is_empty();
        self.weights.extend(originals);
        Ok(())
    }

    fn weights_of(&mut self, folder: &str, stem: &str) -> Result<(), Error> {
        if self.dtype == Dtype::F16 {
            if self.take_weights(folder, stem, Variant::Fp16)? {
                return Ok(());
            }
            self.settled = false;
            if self.take_weights(folder, stem, Variant::Plain)? {
                self.notes.push(format!(
                    "{}: {} has no fp16 weights, so the plain ones are taken",
                    self.id,
                    if folder.is_empty() {
                        "the repository"
                    } else {
                        folder
                    },
                ));
                return Ok(());
            }
        } else if self.take_weights(folder, stem, Variant::Plain)? {
            return Ok(());
        }
        let plain = join(folder, &Variant::Plain.file(stem));
        Err(
            if self.dtype == Dtype::F32 && self.has_weights(folder, stem, Variant::Fp16) {
                self.unsuitable(&format!(
                    "has {folder} as fp16 only, no {plain}; leave out --dtype f32"
                ))
            } else if self
                .paths
                .iter()
                .any(|path| in_folder(folder, path) && is_pickle(Path::new(path)))
            {
                self.unsuitable(&format!(
                    "has pickle weights but no {plain}; pickle can run code and is never loaded: \
                 look for a revision or repository with safetensors"
                ))
            } else {
                self.unsuitable(&format!("has no {plain}"))
            },
        )
    }

    /// Takes one variant's weights, whole or in shards; `false` if there are none.
    fn take_weights(&mut self, folder: &str, stem: &str, variant: Variant) -> Result<bool, Error> {
        let whole = join(folder, &variant.file(stem));
        if self.paths.contains(&whole) {
            self.weights.push(whole);
            return Ok(true);
        }
        let Some(index) = self.index(folder, stem, variant) else {
            return Ok(false);
        };
        let mut shards: Vec<(u32, u32, String)> = Vec::new();
        for path in self.paths {
            if let Some(name) = file_in(folder, path)
                && let Some((number, count)) = shard(name, stem, variant.suffix())
            {
                shards.push((number, count, path.clone()));
            }
        }
        shards.sort();
        let count = shards.first().map_or(1, |shard| shard.1);
        for number in 1..=count {
            if !shards
                .iter()
                .any(|shard| (shard.0, shard.1) == (number, count))
            {
                return Err(self.unsuitable(&format!(
                    "has {index}, but not shard {number} of {count} beside it"
                )));
            }
        }
        self.configs.push(index);
        self.weights.extend(
            shards
                .into_iter()
                .filter(|shard| shard.1 == count)
                .map(|shard| shard.2),
        );
        Ok(true)
    }

    fn has_weights(&self, folder: &str, stem: &str, variant: Variant) -> bool {
        self.paths.contains(&join(folder, &variant.file(stem)))
            || self.index(folder, stem, variant).is_some()
    }

    /// The index of a sharded variant.
    fn index(&self, folder: &str, stem: &str, variant: Variant) -> Option<String> {
        let mut names = variant
            .indexes(stem)
            .into_iter()
            .map(|name| join(folder, &name));
        names.find(|path| self.paths.contains(path))
    }

    fn need(&mut self, path: &str) -> Result<(), Error> {
        if self.paths.contains(path) {
            self.configs.push(path.to_owned());
            Ok(())
        } else {
            Err(self.unsuitable(&format!("has no {path}")))
        }
    }

    fn take_if_there(&mut self, path: &str) {
        if self.paths.contains(path) {
            self.configs.push(path.to_owned());
        } else {
            self.settled = false;
        }
    }

    fn unsuitable(&self, problem: &str) -> Error {
        Error::Unsuitable(format!("{} {problem}", self.id))
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The file name of `path`, if it lies directly in `folder` (empty: the top).
fn file_in<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let name = if folder.is_empty() {
        path
    } else {
        path.strip_prefix(folder)?.strip_prefix('/')?
    };
    (!name.contains('/')).then_some(name)
}

fn in_folder(folder: &str, path: &str) -> bool {
    file_in(folder, path).is_some()
}

fn is_safetensors(path: &str) -> bool {
    path.ends_with(".safetensors") || path.ends_with(".safetensors.index.json")
}

/// Number and count of a shard: `STEM.fp16-00001-of-00002.safetensors`, or with the variant last.
fn shard(name: &str, stem: &str, variant: &str) -> Option<(u32, u32)> {
    let middle = name.strip_prefix(stem)?.strip_suffix(".safetensors")?;
    let numbers = match middle
        .strip_prefix(variant)
        .filter(|rest| rest.starts_with('-'))
    {
        Some(rest) => rest,
        None => middle.strip_suffix(variant)?,
    };
    let (number, count) = numbers.strip_prefix('-')?.split_once("-of-")?;
    let digits = |text: &str| {
        (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (number, count): (u32, u32) = (digits(number)?, digits(count)?);
    (1..=count).contains(&number).then_some((number, count))
}

#[cfg(test)]
mod tests;
