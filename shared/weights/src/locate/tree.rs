//! A folder in diffusers layout: on disk, or embedded in the program.

use crate::tensors::{Bytes, TensorFile};
use crate::{Error, Result};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A checkpoint built into the program: pairs of path and content, in diffusers layout (`unet/config.json`, ...).
///
/// Contents are used in place. The same content may stand under several paths.
#[derive(Clone, Copy)]
pub struct EmbeddedFiles(pub &'static [(&'static str, &'static [u8])]);

impl std::fmt::Debug for EmbeddedFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, content)| (name, content.len())))
            .finish()
    }
}

/// Reads files by their path from the top of a checkpoint, with `/` between names.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Disk(PathBuf),
    Embedded(EmbeddedFiles),
}

impl Tree {
    /// The path for messages, and on a disk for opening.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        match self {
            Self::Disk(root) => root.join(file),
            Self::Embedded(_) => Path::new("demo").join(file),
        }
    }

    /// Whether the file is there (behind symbolic links, as the Hugging Face cache has them).
    pub(crate) fn has(&self, file: &str) -> bool {
        match self {
            Self::Disk(root) => root.join(file).is_file(),
            Self::Embedded(_) => self.embedded(file).is_some(),
        }
    }

    /// Names of the files in a folder, sorted; none if there is no such folder.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Disk(root) => {
                let entries = std::fs::read_dir(root.join(folder))
                    .into_iter()
                    .flatten()
                    .flatten();
                entries
                    .filter_map(|e| e.file_name().into_string().ok())
                    .collect()
            }
            Self::Embedded(files) => {
                let inside =
                    |path: &str| Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
                files
                    .0
                    .iter()
                    .filter_map(|(path, _)| inside(path))
                    .collect()
            }
        };
        names.sort();
        names
    }

    /// A text file. `fix` is what to do when it is not there.
    pub(crate) fn text(&self, file: &str, fix: &str) -> Result<String> {
        let path = self.path(file);
        if matches!(self, Self::Disk(_)) && path.exists() && !path.is_file() {
            return Err(Error::NotAFile { path }); // reading a pipe would wait for a writer
        }
        let bytes = match self {
            Self::Disk(_) => std::fs::read(&path),
            Self::Embedded(_) => self
                .embedded(file)
                .map(<[u8]>::to_vec)
                .ok_or(ErrorKind::NotFound.into()),
        };
        let bytes = bytes.map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Error::MissingFile {
                path: path.clone(),
                fix: fix.to_owned(),
            },
            _ => Error::Io {
                path: path.clone(),
                source,
            },
        })?;
        String::from_utf8(bytes).map_err(|e| Error::BadJson {
            path,
            reason: format!("not UTF-8: {e}"),
        })
    }

    /// A JSON object. `fix` is what to do when the file is not there.
    pub(crate) fn json(&self, file: &str, fix: &str) -> Result<Value> {
        let text = self.text(file, fix)?;
        let bad = |reason| Error::BadJson {
            path: self.path(file),
            reason,
        };
        let value: Value =
            serde_json::from_str(&text).map_err(|e| bad(format!("not JSON: {e}")))?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(bad("expected a JSON object".to_owned()))
        }
    }

    /// A safetensors file.
    pub(crate) fn tensors(&self, file: &str) -> Result<TensorFile> {
        match self {
            Self::Disk(root) => TensorFile::open(&root.join(file)),
            Self::Embedded(_) => {
                let path = self.path(file);
                let Some(content) = self.embedded(file) else {
                    return Err(Error::MissingFile {
                        path,
                        fix: "the demo was built without it".to_owned(),
                    });
                };
                TensorFile::parse(&path, &Bytes::Static(content))
            }
        }
    }

    fn embedded(&self, file: &str) -> Option<&'static [u8]> {
        let Self::Embedded(files) = self else {
            return None;
        };
        files
            .0
            .iter()
            .find(|(path, _)| *path == file)
            .map(|(_, content)| *content)
    }
}
