//! What can go wrong, and what to do about it.

use std::path::PathBuf;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a checkpoint could not be found, opened or read. Every message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that exists could not be opened, read or mapped.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A mapped file that was overwritten.
    #[error(
        "{}: expected a file that stays as it is while it is in use, found it changed meanwhile; start again, and \
         replace such a file by renaming another",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A path that names nothing.
    #[error(
        "{}: no such file or folder; give a folder in diffusers layout, a .safetensors file or a hub id, \
         type `fetch-model stabilityai/sdxl-turbo` to get a model, or try `--model demo`",
        path.display()
    )]
    NoSuchPath {
        /// The path as given.
        path: PathBuf,
    },
    /// A folder, a pipe or a device where a file is wanted.
    #[error("{}: expected a regular file", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A path that cannot travel in a stream's metadata.
    #[error("{}: the path is not UTF-8, so the next tool could not be told of it; rename it", path.display())]
    NotUtf8 {
        /// The path as given.
        path: PathBuf,
    },
    /// Neither a path nor a hub id.
    #[error(
        "{0}; a model is `demo`, a folder, a .safetensors file or a hub id OWNER/NAME[@REVISION]; try `--model demo`"
    )]
    BadId(#[from] InvalidId),
    /// A hub id that is not in the cache.
    #[error("{id}: not in the Hugging Face cache at {}; type `fetch-model {id}`, or try `--model demo`", cache.display())]
    NotInCache {
        /// The id, with its revision if one was given.
        id: String,
        /// The cache folder looked in.
        cache: PathBuf,
    },
    /// The model is in the cache, the revision is not.
    #[error(
        "{id}: revision `{revision}` is not in the Hugging Face cache at {} ({found}); \
         type `fetch-model {id}@{revision}`, or try `--model demo`",
        cache.display()
    )]
    NoSuchRevision {
        /// The id without its revision.
        id: String,
        /// The revision asked for.
        revision: String,
        /// What the cache has instead, in words.
        found: String,
        /// The cache folder looked in.
        cache: PathBuf,
    },
    /// A shortened commit hash that fits several snapshots.
    #[error("{id}: revision `{revision}` fits {} cached commits ({}); give more digits", found.len(), found.join(", "))]
    AmbiguousRevision {
        /// The id without its revision.
        id: String,
        /// The revision asked for.
        revision: String,
        /// The commits that fit.
        found: Vec<String>,
    },
    /// No cache folder can be told from the environment.
    #[error("no home folder, so no Hugging Face cache: set HF_HOME or HF_HUB_CACHE")]
    NoCache,
    /// `demo` in a build without one.
    #[error("this build has no demo checkpoint; give a folder, a .safetensors file or a hub id")]
    NoDemo,
    /// A folder without any part of a checkpoint.
    #[error("{}: {found}; expected a folder in diffusers layout (model_index.json, unet/, vae/, ...)", path.display())]
    NotACheckpoint {
        /// The folder.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A part has no weights that can be read.
    #[error("{}: no weights: expected {expected}; {fix}", folder.display())]
    NoWeights {
        /// The part's folder.
        folder: PathBuf,
        /// The file names that would do.
        expected: String,
        /// What to do.
        fix: String,
    },
    /// Weights as pickle, which runs code when it is opened.
    #[error("{}: pickle is never read, since opening it can run code; convert it to .safetensors", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
    },
    /// A config, tokenizer or index file is not there.
    #[error("{}: not found; {fix}", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// What to do.
        fix: String,
    },
    /// A text file that is no JSON, or JSON of another form.
    #[error("{}: {reason}", path.display())]
    BadJson {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// `weight_map` of an index names something that is not so.
    #[error("{}: {reason}", path.display())]
    BadIndex {
        /// The index file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file shorter or longer than its header says.
    #[error("{}: expected {expected} bytes by its header, found {found}; fetch or copy it again", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Bytes by the header.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A file that is not safetensors.
    #[error("{}: not a safetensors file: {reason}", path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// What the header reader says.
        reason: String,
    },
    /// Two tensors of one file mean the same weight.
    #[error("{}: two tensors for `{name}`", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The canonical name.
        name: String,
    },
    /// A weight the network needs is not there.
    #[error("{}: no tensor `{name}`{hint}", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The nearest name there is, in words, or nothing.
        hint: String,
    },
    /// A weight has another shape than the config says.
    #[error(
        "{}: tensor `{name}`: expected shape {expected:?}, found {found:?}; does the config belong to these weights?",
        path.display()
    )]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that the config asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A weight has another number of axes than its place demands.
    #[error("{}: tensor `{name}`: expected {expected} axes, found shape {found:?}", path.display())]
    WrongRank {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The number of axes that its place demands.
        expected: usize,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// Weights of something else where an autoencoder is wanted.
    #[error(
        "{}: not an autoencoder: expected AutoencoderKL's tensors (diffusers' or LDM's names) or TAESDXL's",
        path.display()
    )]
    NotAVae {
        /// The file.
        path: PathBuf,
    },
    /// A weight in a type that is not computed with.
    #[error("{}: tensor `{name}`: expected F32, F16, BF16, F64, F8_E4M3, F8_E5M2, or I8 with a `weight_scale` beside it, found {found}", path.display())]
    WrongDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type in the file.
        found: String,
    },
    /// A layer in int8 that cannot be read.
    #[error("{}: tensor `{name}`: expected {reason}", path.display())]
    Int8 {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What was expected, and what was found.
        reason: String,
    },
    /// Weights the network has no place for.
    #[error(
        "{}: {count} tensors are left over: {}; does the config belong to these weights?",
        path.display(),
        listed(names, *count)
    )]
    LeftOver {
        /// The file.
        path: PathBuf,
        /// The first five, by name.
        names: Vec<String>,
        /// All of them.
        count: usize,
    },
    /// A single file that holds something else.
    #[error("{}: not a single-file SDXL checkpoint: {reason}", path.display())]
    NotSingleFile {
        /// The file.
        path: PathBuf,
        /// What it looks like, and what to do.
        reason: String,
    },
    /// A path that names no LoRA.
    #[error(
        "{}: no such file; a LoRA is a .safetensors file, or OWNER/NAME:FILE in the Hugging Face cache", path.display()
    )]
    NoSuchLora {
        /// The path as given.
        path: PathBuf,
    },
    /// A file of a repository that is not in the cache.
    #[error("{id}: {file} is not in the Hugging Face cache at {}; type `fetch-model {id} {file}`", cache.display())]
    FileNotInCache {
        /// The repository, with its revision if one was given.
        id: String,
        /// The file's path in it.
        file: String,
        /// The cache folder looked in.
        cache: PathBuf,
    },
    /// A file that is no LoRA for SDXL, or one of a kind that is not supported.
    #[error("{}: not a LoRA that can be used: {reason}", path.display())]
    NotALora {
        /// The file.
        path: PathBuf,
        /// What it is, or which tensor is not understood.
        reason: String,
    },
    /// A config value that a single file cannot tell.
    #[error(
        "{}: cannot tell {what} from the weights; put the checkpoint's configs, in diffusers layout, in the folder {}",
        path.display(),
        folder.display()
    )]
    NoConfig {
        /// The checkpoint.
        path: PathBuf,
        /// What is not known.
        what: String,
        /// The folder where configs are looked for.
        folder: PathBuf,
    },
}

/// Text that is no hub id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{spec}`: {reason}")]
pub struct InvalidId {
    /// What was given.
    pub spec: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

fn listed(names: &[String], count: usize) -> String {
    let more = count - names.len();
    let names = names.join(", ");
    if more == 0 {
        names
    } else {
        format!("{names} and {more} more")
    }
}
