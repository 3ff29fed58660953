//! A located checkpoint.

mod copies;
mod text_files;

use super::autoencoder::{self, Autoencoder, open_vae};
use super::derive::{self, Derive};
use super::foreign;
use super::hub::{self, HubFolders, expand_home};
use super::id::ModelId;
use super::tokenizer::{self, TokenizerFiles};
use super::tree::{EmbeddedFiles, Tree};
use super::variant::{self, Variant};
use crate::names::single_file::Marks;
use crate::names::{self, single_file};
use crate::tensors::{TensorFile, Weights};
use crate::{Error, Part, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How a checkpoint is looked for and read.
#[derive(Clone, Debug, Default)]
pub struct LocateOptions {
    /// Which weights to prefer where a part has two files; none means [`Variant::Fp16`].
    pub variant: Option<Variant>,
    /// The Hugging Face cache; none means the one that [`HubFolders`] tell.
    pub cache: Option<PathBuf>,
    /// What `demo` means, in programs that have it built in.
    pub builtin: Option<EmbeddedFiles>,
}

impl LocateOptions {
    /// The defaults, for a program in which `demo` means `builtin`.
    pub fn with_builtin(builtin: Option<EmbeddedFiles>) -> Self {
        Self {
            builtin,
            ..Self::default()
        }
    }

    pub(crate) fn cache(&self) -> Result<PathBuf> {
        match &self.cache {
            Some(cache) => Ok(cache.clone()),
            None => Ok(HubFolders::from_env()?.cache),
        }
    }
}

/// A located checkpoint. A folder's files are opened when they are asked for, a single file's header at once.
pub struct Model {
    name: String,
    source: Source,
    options: LocateOptions,
    /// What to do when a file is missing.
    fix: String,
}

enum Source {
    Folder(Tree),
    File {
        file: TensorFile,
        marks: Marks,
        /// The folder beside the file that is called like it (`x/` for `x.safetensors`). Its configs and tokenizers
        /// count as far as they go; what is not there is derived from the tensors.
        configs: Tree,
    },
}

/// What a model's spec leads to.
enum Place {
    Demo,
    Path(PathBuf),
    Hub(ModelId),
}

impl Place {
    /// Whatever exists, or starts with `.`, `/` or `~`, is a path; anything else is an id.
    fn of(spec: &str) -> Result<Self> {
        if spec == "demo" {
            return Ok(Self::Demo);
        }
        let home = std::env::home_dir();
        let path = expand_home(Path::new(spec), home.as_deref());
        if path.exists() {
            return Ok(Self::Path(path));
        }
        if spec.starts_with(['.', '/', '~']) || spec.ends_with(".safetensors") {
            return Err(Error::NoSuchPath { path });
        }
        Ok(Self::Hub(spec.parse()?))
    }
}

impl Model {
    /// Finds a checkpoint:
    /// - `demo`: the one built into the program ([`LocateOptions::builtin`]);
    /// - a path (whatever exists, or starts with `.`, `/` or `~`): a folder in diffusers layout, or a single file;
    /// - a hub id `owner/name[@revision]`: looked up in the Hugging Face cache; the revision (`main` without it) is
    ///   a branch, a tag, a commit or the beginning of one.
    ///
    /// # Errors
    /// It is not there, which the message says what to do about, or is no checkpoint.
    pub fn locate(spec: &str, options: &LocateOptions) -> Result<Self> {
        match Place::of(spec)? {
            Place::Demo => {
                let files = options.builtin.ok_or(Error::NoDemo)?;
                Self::folder(
                    spec.to_owned(),
                    Tree::Embedded(files),
                    options,
                    "the demo was built without it",
                )
            }
            Place::Hub(id) => {
                let (folder, commit) = hub::snapshot(&options.cache()?, &id)?;
                let fix = format!("the cached model is incomplete: type `fetch-model {id}`");
                Self::folder(
                    id.at(&commit).to_string(),
                    Tree::Disk(folder),
                    options,
                    &fix,
                )
            }
            Place::Path(path) => {
                let path = absolute(&path)?;
                let Some(name) = path.to_str().map(str::to_owned) else {
                    return Err(Error::NotUtf8 { path });
                };
                if path.is_dir() {
                    let fix = "the folder is incomplete: copy it again, or give another model";
                    return Self::folder(name, Tree::Disk(path), options, fix);
                }
                Self::file(name, &path, options)
            }
        }
    }

    fn folder(name: String, tree: Tree, options: &LocateOptions, fix: &str) -> Result<Self> {
        let not = |found: String| Error::NotACheckpoint {
            path: tree.path(""),
            found,
        };
        let known = |part: &Part| !tree.list(part.folder()).is_empty();
        if !tree.has("model_index.json") && !Part::ALL.iter().any(known) {
            return Err(not(foreign::other_folder(&tree)));
        }
        if let Some(other) = foreign::other_pipeline(&tree) {
            return Err(not(format!("a folder of {other}; the tools run SDXL")));
        }
        Ok(Self {
            name,
            source: Source::Folder(tree),
            options: options.clone(),
            fix: fix.to_owned(),
        })
    }

    fn file(name: String, path: &Path, options: &LocateOptions) -> Result<Self> {
        let (file, marks) = single_file::open(path)?;
        let source = Source::File {
            file,
            marks,
            configs: Tree::Disk(path.with_extension("")),
        };
        let fix = "give a folder that has it".to_owned();
        Ok(Self {
            name,
            source,
            options: options.clone(),
            fix,
        })
    }

    /// What to call the model in a stream's metadata: `demo`, an absolute path, or `owner/name@commit`. The next
    /// tool finds the same checkpoint by it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part's `config.json`; of a single file, what stands for it.
    ///
    /// # Errors
    /// It is missing or no JSON object; of a single file, widths that are not SDXL's.
    pub fn config(&self, part: Part) -> Result<Value> {
        let path = config_file(part);
        self.json(&path, |file, folder| {
            let own = single_file::part(file, part)?;
            let pooled = match part {
                Part::Unet => self.pooled_width()?,
                _ => 0,
            };
            Derive { file: &own, folder }.config(part, pooled)
        })
    }

    /// `scheduler_config.json`; of a single file, the one published for SDXL Turbo, with what the file's own marks say
    /// (`v_pred`, `ztsnr`).
    ///
    /// # Errors
    /// It is missing or no JSON object.
    pub fn scheduler_config(&self) -> Result<Value> {
        let mut config = self.json("scheduler/scheduler_config.json", |_, _| {
            Ok(derive::scheduler())
        })?;
        if let Source::File { marks, .. } = &self.source {
            if marks.v_prediction {
                config["prediction_type"] = "v_prediction".into();
            }
            if marks.zero_terminal_snr {
                // As diffusers' guide on rescaled schedules has it.
                config["rescale_betas_zero_snr"] = true.into();
                config["timestep_spacing"] = "trailing".into();
            }
        }
        Ok(config)
    }

    /// `model_index.json`; of a single file, the published one.
    ///
    /// # Errors
    /// It is missing or no JSON object.
    pub fn model_index(&self) -> Result<Value> {
        self.json("model_index.json", |_, _| Ok(derive::model_index()))
    }

    /// Maps the part's weights, under diffusers' names.
    ///
    /// # Errors
    /// They are missing, cut, pickled or garbage, or an index does not fit its shards.
    pub fn weights(&self, part: Part) -> Result<Weights> {
        let prefer = self.options.variant.unwrap_or_default();
        let file = match &self.source {
            Source::Folder(tree) => {
                let mut file = variant::open(tree, part, prefer, &self.fix)?;
                names::canonical(part, &mut file);
                file
            }
            Source::File { file, .. } => single_file::part(file, part)?,
        };
        let weights = Weights::from_file(file)?;
        if part == Part::TextEncoder {
            // A `CLIPTextModel` uses no projection, though some files have one.
            weights.ignore("text_projection.");
        }
        Ok(weights)
    }

    /// The checkpoint's own autoencoder.
    ///
    /// # Errors
    /// Those of [`Model::config`] and [`Model::weights`]; a class that is not known.
    pub fn vae(&self) -> Result<Autoencoder> {
        let config = self.config(Part::Vae)?;
        match &self.source {
            Source::Folder(tree) => {
                let prefer = self.options.variant.unwrap_or_default();
                let file = variant::open(tree, Part::Vae, prefer, &self.fix)?;
                autoencoder::with_config(tree, &config_file(Part::Vae), config, file)
            }
            Source::File { file, .. } => {
                autoencoder::from_file(single_file::part(file, Part::Vae)?, Some(config))
            }
        }
    }

    /// The files of tokenizer 1 (`tokenizer/`) or 2 (`tokenizer_2/`).
    ///
    /// A single file has none; they are taken from its config folder, else from beside it, else from the cached
    /// SDXL Turbo or SDXL base, in this order.
    ///
    /// # Errors
    /// A file is missing or no JSON.
    ///
    /// # Panics
    /// For `n` other than 1 and 2.
    pub fn tokenizer(&self, n: u8) -> Result<TokenizerFiles> {
        TokenizerFiles::read(&self.tokenizer_tree(n)?, tokenizer::folder(n), &self.fix)
    }

    /// Where tokenizer `n` lies.
    fn tokenizer_tree(&self, n: u8) -> Result<Tree> {
        let folder = tokenizer::folder(n);
        let (file, configs) = match &self.source {
            Source::Folder(tree) => return Ok(tree.clone()),
            Source::File { file, configs, .. } => (file, configs),
        };
        if TokenizerFiles::are_in(configs, folder) {
            return Ok(configs.clone());
        }
        let cached = |id: &str| {
            let id: ModelId = id.parse().ok()?;
            Some(Tree::Disk(
                hub::snapshot(&self.options.cache().ok()?, &id).ok()?.0,
            ))
        };
        let beside = file
            .path
            .parent()
            .map(|folder| Tree::Disk(folder.to_owned()));
        let trees = [
            beside,
            cached("stabilityai/sdxl-turbo"),
            cached("stabilityai/stable-diffusion-xl-base-1.0"),
        ];
        match trees.into_iter().flatten().find(|tree| TokenizerFiles::are_in(tree, folder)) {
            Some(tree) => Ok(tree),
            None => Err(Error::MissingFile {
                path: configs.path(&format!("{folder}/vocab.json")),
                fix: "a single file has no tokenizer: put it there, or type `fetch-model stabilityai/sdxl-turbo`, \
                      whose tokenizer it then uses"
                    .to_owned(),
            }),
        }
    }

    /// Where the part's config is, or would be, for messages.
    pub fn config_path(&self, part: Part) -> PathBuf {
        match &self.source {
            Source::Folder(tree) => tree.path(&config_file(part)),
            Source::File { file, configs, .. } => {
                let path = config_file(part);
                if configs.has(&path) {
                    configs.path(&path)
                } else {
                    file.path.clone()
                }
            }
        }
    }

    /// A JSON file, or for single files without it what `derive` makes of the tensors.
    fn json(
        &self,
        path: &str,
        derive: impl FnOnce(&TensorFile, &Path) -> Result<Value>,
    ) -> Result<Value> {
        match &self.source {
            Source::Folder(tree) => tree.json(path, &self.fix),
            Source::File { configs, .. } if configs.has(path) => configs.json(path, &self.fix),
            Source::File { file, configs, .. } => derive(file, &configs.path("")),
        }
    }

    /// Width of the second text encoder's pooled output.
    fn pooled_width(&self) -> Result<usize> {
        let weights = self.weights(Part::TextEncoder2)?;
        let name = "text_projection.weight";
        weights
            .shape(name)
            .map(|shape| shape[0])
            .ok_or_else(|| Error::MissingTensor {
                path: weights.path().to_owned(),
                name: name.to_owned(),
                hint: String::new(),
            })
    }
}

/// Finds an autoencoder by itself: a path as in [`open_vae`], or a hub id such as `madebyollin/taesdxl`.
///
/// # Errors
/// Those of [`open_vae`], and those of an id that is not in the cache.
pub fn locate_vae(spec: &str, options: &LocateOptions) -> Result<Autoencoder> {
    match Place::of(spec)? {
        Place::Demo => Model::locate(spec, options)?.vae(),
        Place::Path(path) => open_vae(path, options.variant),
        Place::Hub(id) => open_vae(hub::snapshot(&options.cache()?, &id)?.0, options.variant),
    }
}

fn config_file(part: Part) -> String {
    format!("{}/config.json", part.folder())
}

/// Symbolic links stay: in the cache they lead to files without a telling name.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}
