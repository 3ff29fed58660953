//! Checkpoints with something wrong.

use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A checkpoint of which parts can be changed: a temporary folder of links to the files of another, gone when
/// dropped.
#[derive(Debug)]
pub struct Altered(TempDir);

impl Altered {
    /// All of `folder`, so far unchanged.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn of(folder: &Path) -> Self {
        let copy = tempfile::tempdir().expect("a temporary folder");
        link(folder, copy.path());
        Self(copy)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes a file or folder away.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        let path = self.path().join(name);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self
    }

    /// Puts other bytes in a file's place.
    ///
    /// # Panics
    /// If the file is not there.
    #[must_use]
    pub fn with_bytes(self, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        let path = self.path().join(name);
        let old = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // The link, not what it points to.
        let this = self.without(name);
        fs::write(&path, change(old)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        this
    }

    /// Changes a JSON file.
    ///
    /// # Panics
    /// If the file is not there or is no JSON object.
    #[must_use]
    pub fn with_json(self, name: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        self.with_bytes(name, |old| {
            let mut object = serde_json::from_slice(&old).expect("a JSON object");
            change(&mut object);
            serde_json::to_vec(&object).expect("JSON")
        })
    }

    /// Changes the header and the body of a safetensors file.
    ///
    /// # Panics
    /// If the file is not there or is something else.
    #[must_use]
    pub fn with_tensors(
        self,
        name: &str,
        change: impl FnOnce(&mut Map<String, Value>, &mut Vec<u8>),
    ) -> Self {
        self.with_bytes(name, |old| {
            let (length, rest) = old.split_first_chunk::<8>().expect("eight bytes");
            let (header, body) = rest.split_at(u64::from_le_bytes(*length) as usize);
            let mut header = serde_json::from_slice(header).expect("a JSON object");
            let mut body = body.to_vec();
            change(&mut header, &mut body);
            let header = serde_json::to_vec(&header).expect("JSON");
            [&(header.len() as u64).to_le_bytes()[..], &header, &body].concat()
        })
    }
}

fn link(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let entry = entry.expect("a folder entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            fs::create_dir(&target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
            link(&source, &target);
        } else {
            link_file(&source, &target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
        }
    }
}

#[cfg(unix)]
fn link_file(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link_file(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::hard_link(from, to)
}
