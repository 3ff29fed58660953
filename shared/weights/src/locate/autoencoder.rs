//! Autoencoders by themselves: `--vae PATH`.

use super::derive::Derive;
use super::tree::Tree;
use super::variant::{self, Variant};
use crate::names::{self, single_file};
use crate::tensors::{TensorFile, Weights};
use crate::{Error, Part, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// TAESDXL's own files.
pub const TAESDXL_FILES: [&str; 2] = ["taesdxl_decoder.safetensors", "taesdxl_encoder.safetensors"];

/// The two classes of autoencoder there are for SDXL's latents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VaeClass {
    /// The one SDXL was trained with.
    AutoencoderKl,
    /// TAESDXL, small and fast.
    AutoencoderTiny,
}

impl VaeClass {
    /// The class's name in diffusers, as it stands in `_class_name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AutoencoderKl => "AutoencoderKL",
            Self::AutoencoderTiny => "AutoencoderTiny",
        }
    }

    fn of_config(config: &Value, path: &Path) -> Result<Self> {
        match config.get("_class_name").and_then(Value::as_str) {
            Some("AutoencoderKL") => Ok(Self::AutoencoderKl),
            Some("AutoencoderTiny") => Ok(Self::AutoencoderTiny),
            found => Err(Error::BadJson {
                path: path.to_owned(),
                reason: format!(
                    "`_class_name`: expected AutoencoderKL or AutoencoderTiny, found {}",
                    found.unwrap_or("nothing")
                ),
            }),
        }
    }

    fn of_names(file: &TensorFile) -> Option<Self> {
        let any = |prefixes: [&str; 2]| prefixes.iter().any(|prefix| file.has_prefix(prefix));
        if any(["decoder.layers.", "encoder.layers."]) {
            Some(Self::AutoencoderTiny)
        } else if any(["decoder.mid_block.", "encoder.mid_block."]) {
            Some(Self::AutoencoderKl)
        } else {
            None
        }
    }
}

/// An autoencoder: what it is, how it is configured, and its weights under diffusers' names.
pub struct Autoencoder {
    /// Its class.
    pub class: VaeClass,
    /// Its `config.json`, or what stands for it.
    pub config: Value,
    /// Encoder, decoder or both.
    pub weights: Weights,
}

/// Opens an autoencoder from
/// - a folder in diffusers layout (`config.json` beside the weights), or a whole checkpoint's with a `vae/` in it;
/// - a folder with TAESDXL's own files, `taesdxl_decoder.safetensors` and `taesdxl_encoder.safetensors` or one;
/// - a file: diffusers', LDM's or TAESD's, or a single-file checkpoint, of which the rest is not read.
///
/// The config of a file `x.safetensors` is `x/vae/config.json`, else the `config.json` beside it, whichever is there
/// and of the same class; else it is derived from the tensors with the values published for SDXL.
///
/// # Errors
/// It is not there, is no autoencoder, or is of a class that is not known.
pub fn open_vae(path: impl AsRef<Path>, variant: Option<Variant>) -> Result<Autoencoder> {
    let path = path.as_ref();
    if path.is_dir() {
        return open_folder(&Tree::Disk(path.to_owned()), variant.unwrap_or_default());
    }
    if !path.exists() {
        return Err(Error::NoSuchPath {
            path: path.to_owned(),
        });
    }
    let whole = TensorFile::open(path)?;
    let file = if single_file::has_vae(&whole) {
        single_file::part(&whole, Part::Vae)?
    } else {
        let mut file = whole;
        names::canonical(Part::Vae, &mut file);
        file
    };
    let own = Tree::Disk(path.with_extension(""));
    let beside = Tree::Disk(path.parent().unwrap_or(Path::new("")).to_owned());
    let places = [(own, "vae/config.json"), (beside, "config.json")];
    let place = places.iter().find(|(tree, name)| tree.has(name));
    let config = place.map(|(tree, name)| tree.json(name, "")).transpose()?;
    from_file(file, config)
}

fn open_folder(tree: &Tree, prefer: Variant) -> Result<Autoencoder> {
    const FIX: &str = "give an autoencoder's folder or its .safetensors file";
    if tree.has("vae/config.json") {
        let config = tree.json("vae/config.json", FIX)?;
        return with_config(
            tree,
            "vae/config.json",
            config,
            variant::open(tree, Part::Vae, prefer, FIX)?,
        );
    }
    let original: Vec<&str> = TAESDXL_FILES
        .into_iter()
        .filter(|half| tree.has(half))
        .collect();
    let weights = variant::open_stem(tree, "", Part::Vae.stem(), prefer, FIX);
    if tree.has("config.json") && (original.is_empty() || weights.is_ok()) {
        return with_config(
            tree,
            "config.json",
            tree.json("config.json", FIX)?,
            weights?,
        );
    }
    let mut all = TensorFile {
        path: tree.path(""),
        weights: Vec::new(),
        foreign: Vec::new(),
        metadata: HashMap::new(),
    };
    for half in original {
        let mut file = tree.tensors(half)?;
        names::canonical(Part::Vae, &mut file);
        all.weights.extend(file.weights);
        all.foreign.extend(file.foreign);
    }
    if all.weights.is_empty() {
        let fix = FIX.to_owned();
        return Err(Error::MissingFile {
            path: tree.path("config.json"),
            fix,
        });
    }
    all.weights.sort_by(|a, b| a.name().cmp(b.name()));
    from_file(all, None)
}

/// What a checkpoint's own `vae/` says.
pub(crate) fn with_config(
    tree: &Tree,
    config_file: &str,
    config: Value,
    mut file: TensorFile,
) -> Result<Autoencoder> {
    let class = VaeClass::of_config(&config, &tree.path(config_file))?;
    names::canonical(Part::Vae, &mut file);
    Ok(Autoencoder {
        class,
        config,
        weights: Weights::from_file(file)?,
    })
}

/// Tells the class by the tensors' names. `config` counts only if it is of that class.
pub(crate) fn from_file(file: TensorFile, config: Option<Value>) -> Result<Autoencoder> {
    let Some(class) = VaeClass::of_names(&file) else {
        return Err(Error::NotAVae { path: file.path });
    };
    let same =
        |config: &Value| config.get("_class_name").and_then(Value::as_str) == Some(class.name());
    let derive = Derive {
        file: &file,
        folder: &file.path.with_extension(""),
    };
    let config = match (config.filter(same), class) {
        (Some(config), _) => config,
        (None, VaeClass::AutoencoderKl) => derive.autoencoder_kl()?,
        (None, VaeClass::AutoencoderTiny) => derive.autoencoder_tiny()?,
    };
    Ok(Autoencoder {
        class,
        config,
        weights: Weights::from_file(file)?,
    })
}
