//! Embeddings kept in a folder, by everything that they depend on.
//!
//! An entry is a frame of its own, `KEY.safetensors`; its key is a hash of the texts, of the contents of the
//! checkpoint's text encoders, tokenizers and configs, of the program, and of how it computes. Texts stand for their
//! token ids, as building two tokenizers takes longer than all the rest. The contents are read once; a file
//! `STAMP.identity` remembers their hash for as long as the files' sizes, times and numbers stay.
//!
//! Any number of processes may use a folder at once: files appear whole, by renaming, and what one removes while
//! another reads it is read to its end.

pub(crate) mod digest;
mod entry;
mod identity;

use crate::embeddings::{Embeddings, Text};
use crate::weighted::Weighting;
pub(crate) use identity::Files;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use turbo_cli::{Console, Context, Error, Output, Result, open_regular, parse_size};
use turbo_weights::Model;

/// The environment variable that names the folder where the flag does not.
const VARIABLE: &str = "TURBO_CACHE";

/// Part of every key: to be changed with the meaning of keys or entries.
const FORMAT: &str = "turbo text embeddings 1";

/// Endings of the two kinds of files.
const ENTRY: &str = "safetensors";
const IDENTITY: &str = "identity";

/// Where embeddings are kept.
#[derive(clap::Args, Clone, Debug)]
pub struct CacheArgs {
    /// Folder that keeps embeddings; a prompt found there is not encoded again
    ///
    /// A prompt is found if nothing that changes its embeddings has changed: its text, the checkpoint's text encoders
    /// and tokenizers (by content), --clip-skip, --weighted, --embedding and --lora (by content), --dtype, --device, the instructions of this CPU, and this program.
    /// Then no model is opened, and the frame is the same to the byte. The checkpoint's files are read once, to know
    /// them by. Entries are .safetensors files of a frame each; they hold no prompts. Any number of processes may
    /// share the folder. Without this flag: $TURBO_CACHE, if it is set.
    ///
    /// New files have the permissions that the umask gives, as any file. Whoever may read the folder can find out
    /// whether a prompt that he guesses was encoded, and has its embeddings. Whoever may write there can put other
    /// embeddings in place of yours: share it with those you trust. Links, pipes and devices in it are not followed or
    /// opened.
    #[arg(help_heading = "Cache", long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub cache: Option<PathBuf>,

    /// Most that the folder may hold; what was not used for longest is removed
    #[arg(help_heading = "Cache", long, value_name = "SIZE", value_parser = parse_size, default_value = "1GiB")]
    pub cache_size: u64,

    /// Take embeddings from the folder only: one that is not there is an error
    ///
    /// For machines and jobs that are not to encode. The checkpoint's files have to be there, as they tell it from
    /// others, but are not opened.
    #[arg(help_heading = "Cache", long)]
    pub cache_only: bool,
}

/// An open folder.
pub(crate) struct Cache<'a> {
    folder: PathBuf,
    limit: u64,
    only: bool,
    console: &'a Console,
    /// Whether writing has failed, which is told once.
    failed: Cell<bool>,
}

impl<'a> Cache<'a> {
    /// The folder that the arguments name, made if it is not there; none if they name none.
    pub(crate) fn open(args: &CacheArgs, console: &'a Console) -> Result<Option<Self>> {
        let variable = || std::env::var_os(VARIABLE).map(PathBuf::from);
        let folder = args.cache.clone().or_else(variable);
        let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty()) else {
            if args.cache_only {
                return Err(Error::usage(format_args!(
                    "--cache-only: expected a folder to take embeddings from, found none; name it with --cache DIR or \
                     ${VARIABLE}"
                )));
            }
            return Ok(None);
        };
        if !args.cache_only {
            fs::create_dir_all(&folder)
                .context("--cache")
                .in_file(&*folder)?;
        }
        Ok(Some(Self {
            folder,
            limit: args.cache_size,
            only: args.cache_only,
            console,
            failed: Cell::new(false),
        }))
    }

    /// Whether an embedding that the cache lacks is an error.
    pub(crate) fn only(&self) -> bool {
        self.only
    }

    /// That error.
    pub(crate) fn missing(&self, what: &str) -> Error {
        Error::new(format_args!(
            "{what}: expected its embeddings in {}, found none; run once without --cache-only to put them there",
            self.folder.display()
        ))
    }

    /// What all keys of a checkpoint have in common. `added` are files that change it, `computation` says how numbers are
    /// made of it.
    pub(crate) fn keys(&self, model: &Model, added: Files, computation: &str) -> Result<Keys> {
        let mut files = model.text_files()?;
        files.extend(added);
        files.push(identity::program()?);
        let (stamp, stamps) = (identity::stamp(&files)?, identity::stamps(&files)?);
        let path = self.path(&stamp, IDENTITY);
        let identity = if let Some(known) = identity::read(&path) {
            touch(&path);
            known
        } else {
            let identity = identity::contents(&files, self.console)?;
            identity::check(&files, &stamps)?;
            if identity::are_settled(&files) && !self.only {
                self.wrote(&path, write_file(&path, &format!("{identity}\n")));
            }
            identity
        };
        Ok(Keys {
            prefix: [FORMAT, &identity, computation].map(ToOwned::to_owned),
            files,
            stamps,
        })
    }

    /// Looks for a text's embeddings. An entry that is damaged is told of and counts as none.
    pub(crate) fn get(&self, key: &str) -> Option<Embeddings> {
        let path = self.path(key, ENTRY);
        match entry::read(&path, key) {
            Ok(Some(found)) => {
                touch(&path);
                Some(found)
            }
            Ok(None) => None,
            Err(error) => {
                self.console.warn(format_args!(
                    "{}: damaged, and to be replaced: {error}",
                    path.display()
                ));
                None
            }
        }
    }

    /// Keeps a text's embeddings, and makes room for them. A folder that cannot be written is told of once, and is no
    /// reason to stop.
    ///
    /// # Errors
    /// The checkpoint is not any more the one that the keys are of: the embeddings may be of neither.
    pub(crate) fn put(&self, keys: &Keys, text: &Text, embeddings: &Embeddings) -> Result<()> {
        keys.check()?;
        if self.failed.get() {
            return Ok(());
        }
        let key = keys.of(text);
        let path = self.path(&key, ENTRY);
        self.wrote(&path, entry::write(&path, &key, embeddings));
        self.make_room();
        Ok(())
    }

    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{name}.{ending}"))
    }

    fn wrote(&self, path: &Path, result: Result<()>) {
        if let Err(error) = result
            && !self.failed.replace(true)
        {
            self.console.warn(format_args!(
                "the cache is not written any more: {}",
                error.in_file(path)
            ));
        }
    }

    /// Removes what was not used for longest, until the rest fits.
    fn make_room(&self) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // Nobody else's files: just those whose names are keys.
            let is_ours = path
                .extension()
                .is_some_and(|e| e == ENTRY || e == IDENTITY)
                && path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .is_some_and(digest::is_hex);
            if is_ours && let Ok(metadata) = entry.metadata() {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((used, metadata.len(), path));
            }
        }
        let mut held: u64 = files.iter().map(|(_, size, _)| size).sum();
        files.sort();
        for (_, size, path) in files {
            if held <= self.limit {
                break;
            }
            // Where another process was quicker it is gone as well.
            let _ = fs::remove_file(path);
            held -= size;
        }
    }
}

/// The keys of a checkpoint's entries.
pub(crate) struct Keys {
    prefix: [String; 3],
    files: identity::Files,
    stamps: Vec<String>,
}

impl Keys {
    /// The key of a text's embeddings: 64 hexadecimal digits.
    pub(crate) fn of(&self, text: &Text) -> String {
        let clip_skip = text.clip_skip.to_string();
        let own = [&text.first[..], &text.second, &clip_skip];
        let weighting = text.weighting.map(Weighting::name);
        let prefix = self.prefix.iter().map(String::as_str);
        digest::of_parts(prefix.chain(own).chain(weighting).map(str::as_bytes))
    }

    /// To be called when the model has been opened, and when something has been computed with it: whether it is still
    /// the one that the keys are of.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check(&self) -> Result<()> {
        identity::check(&self.files, &self.stamps)
    }
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let mut output = Output::own_file(path)?;
    output.write_all(text.as_bytes())?;
    output.finish()
}

/// Notes that a file was used. Where that is not allowed it will be removed earlier, and that is all.
fn touch(path: &Path) {
    if let Ok(file) = open_regular(File::options().append(true), path) {
        let _ = file.set_modified(SystemTime::now());
    }
}
