//! LoRA files: what is added to the weights of a network's layers.

use super::hub;
use super::model::LocateOptions;
use crate::names::identify;
use crate::names::lora::{self, Role};
use crate::tensors::{TensorFile, Weight};
use crate::{Error, ModelId, Part, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// `FILE[=SCALE]` as given on a command line or in a record.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSpec {
    /// A path, or `owner/name[@revision]:file.safetensors` in the Hugging Face cache.
    pub file: String,
    /// What the change of the weights is multiplied by; any finite number, 1 where none is given.
    pub scale: f32,
}

impl FromStr for LoraSpec {
    type Err = String;

    /// A `=` that no number follows belongs to the file's name.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (file, scale) = match text.rsplit_once('=') {
            Some((file, scale)) if !Path::new(text).exists() => match scale.trim().parse::<f32>() {
                Ok(number) if number.is_finite() => (file, number),
                Ok(_) => return Err(format!("scale: expected a finite number, found {scale}")),
                Err(_) if scale.contains('.') && scale.ends_with("safetensors") => (text, 1.0),
                Err(_) => {
                    return Err(format!(
                        "scale: expected a number after `=`, found `{scale}`"
                    ));
                }
            },
            _ => (text, 1.0),
        };
        if file.is_empty() {
            return Err("expected FILE or FILE=SCALE".to_owned());
        }
        Ok(Self {
            file: file.to_owned(),
            scale,
        })
    }
}

/// What a LoRA adds to one layer's weight, seen as a matrix of its rows: `scale * up x down`.
#[derive(Clone, Debug)]
pub struct LoraPair {
    /// `[rank, inputs]`; of a convolution, inputs times window, as in a row of its weight.
    pub down: Weight,
    /// `[outputs, rank]`.
    pub up: Weight,
    /// Alpha over rank. The user's scale is not in it.
    pub scale: f32,
}

/// An open LoRA file, under the names of diffusers' layers.
pub struct Lora {
    name: String,
    path: PathBuf,
    /// The pair of each layer, by the part of the checkpoint and the layer's flat name.
    pairs: BTreeMap<(Part, String), LoraPair>,
    /// The layers that were asked for.
    seen: Mutex<HashSet<(Part, String)>>,
}

impl Lora {
    /// Finds and opens the file: a path, or `owner/name[@revision]:file.safetensors` in the cache.
    ///
    /// # Errors
    /// It is not there, is no LoRA, or one for another architecture; a tensor whose name is not understood.
    pub fn locate(file: &str, options: &LocateOptions) -> Result<Self> {
        let home = std::env::home_dir();
        let path = hub::expand_home(Path::new(file), home.as_deref());
        if !path.exists()
            && let Some((id, inside)) = file.split_once(':')
            && let Ok(id) = id.parse::<ModelId>()
        {
            let (path, commit) = hub::file(&options.cache()?, &id, inside)?;
            return Self::open_as(format!("{}:{inside}", id.at(&commit)), &path);
        }
        let path = std::path::absolute(&path).map_err(|source| Error::Io { path, source })?;
        let Some(name) = path.to_str().map(str::to_owned) else {
            return Err(Error::NotUtf8 { path });
        };
        if !path.exists() {
            return Err(Error::NoSuchLora { path });
        }
        Self::open_as(name, &path)
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Lora::locate`]'s.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_as(path.display().to_string(), path)
    }

    fn open_as(name: String, path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let not = |reason: String| Error::NotALora {
            path: path.to_owned(),
            reason,
        };
        if let Some(other) = identify::other_lora(&file) {
            return Err(not(format!("a LoRA for {other}; the tools run SDXL")));
        }
        let mut halves: BTreeMap<(Part, String), Halves> = BTreeMap::new();
        for weight in &file.weights {
            let Some((part, layer, role)) = lora::read(weight.name()) else {
                return Err(not(refusal(&file, weight.name())));
            };
            let halves = halves.entry((part, layer)).or_default();
            let place = match role {
                Role::Down => &mut halves.down,
                Role::Up => &mut halves.up,
                Role::Alpha => &mut halves.alpha,
            };
            if place.replace(weight.widened()).is_some() {
                return Err(Error::Duplicate {
                    path: path.to_owned(),
                    name: weight.name().to_owned(),
                });
            }
        }
        if let Some((name, dtype)) = file.foreign.first() {
            return Err(Error::WrongDtype {
                path: path.to_owned(),
                name: name.clone(),
                found: dtype.clone(),
            });
        }
        if halves.is_empty() {
            return Err(not("it has no tensors".to_owned()));
        }
        let peft = Peft::of(&file).map_err(not)?;
        let mut pairs = BTreeMap::new();
        for ((part, layer), halves) in halves {
            let pair = halves.pair(&layer, peft.alpha(part, &layer)).map_err(not)?;
            pairs.insert((part, layer), pair);
        }
        Ok(Self {
            name,
            path: path.to_owned(),
            pairs,
            seen: Mutex::default(),
        })
    }

    /// What to call it in a stream's metadata: an absolute path, or `owner/name@commit:file`. The next tool finds the
    /// same file by it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it changes any layer of this part.
    pub fn has(&self, part: Part) -> bool {
        self.pairs.keys().any(|(of, _)| *of == part)
    }

    /// What it adds to the layer that diffusers or transformers call `layer` (`down_blocks.1.attentions.0.proj_in`,
    /// without `.weight`), whose weight has this shape; none if it leaves the layer alone.
    ///
    /// # Errors
    /// The shapes do not fit the weight's.
    pub fn pair(&self, part: Part, layer: &str, shape: &[usize]) -> Result<Option<LoraPair>> {
        let key = (part, lora::flat(layer));
        let Some(pair) = self.pairs.get(&key) else {
            return Ok(None);
        };
        let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
        for (weight, at, expected) in [(&pair.up, 0, rows), (&pair.down, 1, columns)] {
            if weight.shape()[at] != expected {
                let reason = format!(
                    "tensor `{}`: expected {expected} {} for a layer {shape:?}, found {}: it was made for another model",
                    weight.name(),
                    ["outputs", "inputs"][at],
                    weight.shape()[at],
                );
                return Err(Error::NotALora {
                    path: self.path.clone(),
                    reason,
                });
            }
        }
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key);
        Ok(Some(pair.clone()))
    }

    /// Says that layers of `part` whose names begin with `prefix` are knowingly not asked for.
    pub fn ignore(&self, part: Part, prefix: &str) {
        let prefix = lora::flat(prefix);
        let keys = self.pairs.keys();
        let ignored = keys.filter(|(of, layer)| *of == part && layer.starts_with(&prefix));
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(ignored.cloned());
    }

    /// To be called when a network has asked for all its layers.
    ///
    /// # Errors
    /// The file has layers of this part that the network has not.
    pub fn finish(&self, part: Part) -> Result<()> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = self
            .pairs
            .iter()
            .filter(|(key, _)| key.0 == part && !seen.contains(*key))
            .map(|(_, pair)| pair.down.name().to_owned())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let count = names.len();
        names.truncate(5);
        Err(Error::LeftOver {
            path: self.path.clone(),
            names,
            count,
        })
    }
}

/// The tensors of one layer.
#[derive(Default)]
struct Halves {
    down: Option<Weight>,
    up: Option<Weight>,
    alpha: Option<Weight>,
}

impl Halves {
    fn pair(self, layer: &str, peft_alpha: Option<f32>) -> std::result::Result<LoraPair, String> {
        let (Some(down), Some(up)) = (self.down, self.up) else {
            return Err(format!("layer {layer} lacks its down or its up"));
        };
        let matrix = |weight: Weight| match *weight.shape() {
            [rows, columns] => Ok(weight.reshape(&[rows, columns])),
            [rows, channels, height, width] => {
                Ok(weight.reshape(&[rows, channels * height * width]))
            }
            ref other => Err(format!(
                "tensor `{}`: expected a matrix or a convolution, found shape {other:?}",
                weight.name()
            )),
        };
        let (down, up) = (matrix(down)?, matrix(up)?);
        let rank = down.shape()[0];
        if rank == 0 || up.shape()[1] != rank {
            return Err(format!(
                "tensor `{}`: expected {rank} columns as `{}` has rows, found {}",
                up.name(),
                down.name(),
                up.shape()[1]
            ));
        }
        let alpha = match self.alpha {
            Some(alpha) => match alpha.to_f32()[..] {
                [alpha] if alpha.is_finite() => Some(alpha),
                _ => return Err(format!("tensor `{}`: expected a number", alpha.name())),
            },
            None => peft_alpha,
        };
        let scale = alpha.map_or(1.0, |alpha| alpha / rank as f32);
        Ok(LoraPair { down, up, scale })
    }
}

/// What PEFT's own configuration says, where diffusers has put it into the file's metadata.
struct Peft(serde_json::Map<String, serde_json::Value>);

impl Peft {
    fn of(file: &TensorFile) -> std::result::Result<Self, String> {
        let Some(text) = file.metadata.get("lora_adapter_metadata") else {
            return Ok(Self(serde_json::Map::new()));
        };
        let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
            .map_err(|e| format!("metadata `lora_adapter_metadata`: not a JSON object: {e}"))?;
        for (key, value) in &map {
            let on = value.as_bool() == Some(true);
            if on && (key.ends_with(".use_dora") || key.ends_with(".use_rslora")) {
                return Err(format!("metadata says {key}, which is not supported"));
            }
        }
        Ok(Self(map))
    }

    fn alpha(&self, part: Part, layer: &str) -> Option<f32> {
        let part = part.folder();
        let pattern = self.0.get(&format!("{part}.alpha_pattern"));
        let of_layer = pattern.and_then(|p| p.as_object()).and_then(|pattern| {
            let fits = |name: &str| layer.ends_with(&lora::flat(name));
            pattern
                .iter()
                .find(|(name, _)| fits(name))
                .map(|(_, alpha)| alpha)
        });
        let of_all = self.0.get(&format!("{part}.lora_alpha"));
        of_layer.or(of_all)?.as_f64().map(|alpha| alpha as f32)
    }
}

/// Why a key is not understood.
fn refusal(file: &TensorFile, key: &str) -> String {
    let has = |word: &str| key.contains(word);
    // Of what these hold, a merged checkpoint holds all.
    let unsupported = |name: &str| {
        format!(
            "tensor `{key}`: {name} is not supported; merge it into a checkpoint with the program that it is for, and \
             give that as --model"
        )
    };
    if has("dora_scale") || has("lora_magnitude_vector") {
        return unsupported("DoRA");
    }
    for (word, name) in [
        ("hada_", "LoHa"),
        ("lokr_", "LoKr"),
        ("lora_mid", "LoCon with a middle tensor"),
        ("oft_", "OFT"),
    ] {
        if has(word) {
            return unsupported(name);
        }
    }
    if let Some(other) = identify::identify(file)
        && !other.starts_with("a LoRA")
    {
        return format!("it is {other}, no LoRA");
    }
    format!("tensor `{key}` is not understood")
}
