//! The checkpoint whose files change, and file systems with little room.

use super::event::{Event, Weights};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A checkpoint.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) name: String,
    /// Its files, where it has some, and those that it is a copy of.
    pub(super) folder: Option<(PathBuf, PathBuf)>,
}

impl Model {
    pub(super) fn built_in(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: None,
        }
    }

    /// A copy of the folder `from` at `to`.
    pub(super) fn copy_of(from: &Path, to: PathBuf) -> Self {
        copy(from, &to);
        Self {
            name: to.display().to_string(),
            folder: Some((to, from.to_owned())),
        }
    }

    /// What files of its own are called by.
    pub(super) fn short(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or("model")
    }

    /// The file that an event changes.
    pub(super) fn file(&self, event: &Event) -> Option<PathBuf> {
        match event {
            Event::Overwritten(weights) | Event::Cut(weights, _) => Some(self.at(*weights)),
            _ => None,
        }
    }

    fn at(&self, weights: Weights) -> PathBuf {
        let (folder, _) = self.folder.as_ref().expect("only files are changed");
        folder.join(weights.path())
    }

    /// Puts an equal file in the place of one.
    pub(super) fn replace(&self, weights: Weights) {
        let (_, original) = self.folder.as_ref().expect("only files are changed");
        let path = self.at(weights);
        let new = path.with_extension("new");
        let replaced =
            fs::copy(original.join(weights.path()), &new).and_then(|_| fs::rename(&new, &path));
        replaced.expect("replaced");
    }

    /// Writes other numbers over one, in its place.
    pub(super) fn overwrite(&self, weights: Weights) {
        let path = self.at(weights);
        let mut bytes = fs::read(&path).expect("is there");
        let half = bytes.len() / 2;
        bytes[half..].iter_mut().for_each(|byte| *byte ^= 1);
        let file = File::options().write(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(&bytes));
        written.expect("written");
    }

    /// Cuts one to so many thousandths of its length.
    pub(super) fn cut(&self, weights: Weights, share: u64) {
        let file = File::options().write(true).open(self.at(weights));
        let file = file.expect("is there");
        let length = file.metadata().expect("is there").len();
        file.set_len(length * share / 1000).expect("cut");
    }

    /// Puts back what was changed.
    pub(super) fn restore(&self) {
        let Some((folder, original)) = &self.folder else {
            return;
        };
        for weights in Weights::ALL {
            let read = |folder: &Path| fs::read(folder.join(weights.path())).expect("is there");
            if read(folder) != read(original) {
                self.replace(weights);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// A file system in memory, with so much room; gone when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
}

impl Disk {
    /// None where this user may not mount any.
    pub(super) fn mount(path: PathBuf, bytes: usize) -> Option<Self> {
        fs::create_dir_all(&path).expect("made");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]);
        let status = mount.arg(&path).stderr(Stdio::null()).status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self { path })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}
