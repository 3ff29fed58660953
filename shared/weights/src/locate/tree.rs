//! A folder in diffusers layout: on disk, or embedded in the program.

use crate::tensors::{Bytes, TensorFile};
use crate::{Error, Result};
use serde_json::Value;
use std::io::{ErrorKind, Read};
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

/// A file of a checkpoint, as it lies there.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// From the top of the checkpoint, with `/` between names.
    pub name: String,
    /// Where it is; of one that is built into the program, what to call it.
    path: PathBuf,
    embedded: Option<&'static [u8]>,
}

impl SourceFile {
    pub(crate) fn on_disk(name: String, path: PathBuf) -> Self {
        let embedded = None;
        Self {
            name,
            path,
            embedded,
        }
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, to be read from its beginning.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read + Send>> {
        if let Some(content) = self.embedded {
            return Ok(Box::new(content));
        }
        let path = &self.path;
        let file = std::fs::File::open(path).map_err(|source| self.error(source))?;
        if file.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::NotAFile { path: path.clone() });
        }
        Ok(Box::new(file))
    }

    /// Its size in bytes.
    ///
    /// # Errors
    /// It is not there.
    pub fn size(&self) -> Result<u64> {
        match self.embedded {
            Some(content) => Ok(content.len() as u64),
            None => std::fs::metadata(&self.path)
                .map(|metadata| metadata.len())
                .map_err(|source| self.error(source)),
        }
    }

    fn error(&self, source: std::io::Error) -> Error {
        Error::Io {
            path: self.path.clone(),
            source,
        }
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
                let inside = |path: &str| match folder {
                    "" => Some(path.to_owned()),
                    _ => Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned()),
                };
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

    /// A file that is there, to be copied or hashed.
    pub(crate) fn source(&self, file: &str) -> SourceFile {
        SourceFile {
            name: file.to_owned(),
            path: self.path(file),
            embedded: self.embedded(file),
        }
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
        let value: Value = serde_json::from_str(&text)
            .or_else(|error| serde_json::from_str(&finite(&text)).map_err(|_| error))
            .map_err(|e| bad(format!("not JSON: {e}")))?;
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

/// The text with null for the numbers that Python writes and JSON does not have: diffusers saves a DPM-Solver's
/// configuration with `"lambda_min_clipped": -Infinity`, where no number means the same.
fn finite(text: &str) -> String {
    // Every second part lies between quotes; a quote within a text stays one by its backslash.
    let hidden = text.replace("\\\\", "\0\0").replace("\\\"", "\0\u{1}");
    let parts = hidden.split('"').enumerate().map(|(i, part)| {
        if i % 2 == 1 {
            return part.to_owned();
        }
        let part = part.replace("-Infinity", "null");
        part.replace("Infinity", "null").replace("NaN", "null")
    });
    let text = parts.collect::<Vec<_>>().join("\"");
    text.replace("\0\u{1}", "\\\"").replace("\0\0", "\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_python_writes_and_json_does_not_have() {
        let text = r#"{"a": -Infinity, "Infinity": [NaN, 1], "b\"NaN": "\\", "c": Infinity}"#;
        let value: Value = serde_json::from_str(&finite(text)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": null, "Infinity": [null, 1], "b\"NaN": "\\", "c": null})
        );
    }
}
