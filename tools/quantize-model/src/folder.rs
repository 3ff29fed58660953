//! The folder that is written.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use turbo_cli::{Context, Error, Output, Result, quote};
use turbo_weights::{Model, Part, Variant};

pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder, with one for each part.
    pub(crate) fn create(path: &Path, model: &Model) -> Result<Self> {
        let folder = Self {
            path: path.to_owned(),
        };
        make(path)?;
        let real = |path: &Path| fs::canonicalize(path).ok();
        let source = model.folder_on_disk();
        if source.is_some_and(|source| real(source) == real(path)) {
            return Err(Error::new(format_args!(
                "{}: expected another folder than the model's",
                path.display()
            )));
        }
        for part in model.parts() {
            make(&path.join(part.folder()))?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a part's weights, and its name in the folder.
    pub(crate) fn weights(&self, part: Part) -> (PathBuf, String) {
        let name = format!("{}/{}", part.folder(), Variant::Plain.file(part.stem()));
        (self.path.join(&name), name)
    }

    /// Refuses a folder with other weights of the part, which tools would read in place of what is written.
    pub(crate) fn expect_ours(&self, part: Part) -> Result<()> {
        let ours = Variant::Plain.file(part.stem());
        let folder = self.path.join(part.folder());
        for entry in fs::read_dir(&folder).context(folder.display())? {
            let entry = entry.context(folder.display())?.file_name();
            let name = entry.to_string_lossy();
            let weights = name.ends_with(".safetensors") || name.contains(".safetensors.index.");
            if weights && name != ours {
                return Err(Error::new(format_args!(
                    "{}: expected no weights but what this tool writes, found {name}; give another folder, or empty \
                     this one with `rm -r {}`",
                    folder.display(),
                    quote(&folder)
                )));
            }
        }
        Ok(())
    }

    /// Writes a small file, unless it is there.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|found| found == content) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            make(parent)?;
        }
        let mut output = Output::file(&path)?;
        output.write_all(content).context(path.display())?;
        output.finish()
    }
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path)
        .context("expected a folder that can be written")
        .context(path.display())
}
