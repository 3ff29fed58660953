//! A file that grows in the cache until its content is whole.

use crate::error::Error;
use crate::hash::Hasher;
use crate::hub::RemoteFile;
use crate::id::ContentHash;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use turbo_cli::open_regular;

const CHUNK: usize = 1 << 20;

/// Content under way: what is on disk, and the hash of it.
pub struct Partial<'a> {
    path: PathBuf,
    target: &'a RemoteFile,
    file: File,
    len: u64,
    hasher: Hasher,
}

impl<'a> Partial<'a> {
    /// Opens `path`, which holds the beginning of `target` if an earlier run was interrupted.
    ///
    /// # Errors
    /// If the file cannot be created or read.
    pub fn open(path: PathBuf, target: &'a RemoteFile) -> Result<Self, Error> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        // What others may have put there is not followed, nor waited for.
        let file = open_regular(&mut options, &path).map_err(|e| Error::io("write", &path, e))?;
        let hasher = Hasher::like(&target.hash, target.size);
        let mut partial = Self {
            path,
            target,
            file,
            len: 0,
            hasher,
        };
        partial.take_up()?;
        Ok(partial)
    }

    /// Hashes what is there, and stands behind it.
    fn take_up(&mut self) -> Result<(), Error> {
        let io = |e| Error::io("read", &self.path, e);
        if self.file.metadata().map_err(io)?.len() > self.target.size {
            return self.clear();
        }
        let (len, hasher) = (&mut self.len, &mut self.hasher);
        read_all(&mut self.file, |bytes| {
            *len += bytes.len() as u64;
            hasher.update(bytes);
        })
        .map_err(|e| Error::io("read", &self.path, e))
    }

    /// Bytes that are there.
    pub fn received(&self) -> u64 {
        self.len
    }

    /// Bytes that are still to come.
    pub fn missing(&self) -> u64 {
        self.target.size - self.len
    }

    /// Adds bytes; no more than are missing.
    ///
    /// # Errors
    /// If the disk is full, or else fails.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(bytes)
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all content.
    ///
    /// # Errors
    /// If the file cannot be cut.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.len = 0;
        self.hasher = Hasher::like(&self.target.hash, self.target.size);
        Ok(())
    }

    /// The hash of what is there.
    pub fn hash(&self) -> ContentHash {
        self.hasher.clone().finish()
    }

    /// Gives whole content its name. It is on the disk first: a name never stands for content
    /// that a power cut took away.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn finish(self, blob: &Path) -> Result<(), Error> {
        self.file
            .sync_all()
            .map_err(|e| Error::io("write", &self.path, e))?;
        fs::rename(&self.path, blob).map_err(|e| Error::io("write", blob, e))
    }

    /// Removes the file.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The hash of a file's content, of the kind that `like` is.
///
/// # Errors
/// If the file cannot be read.
pub fn hash_file(path: &Path, like: &ContentHash) -> Result<ContentHash, Error> {
    let io = |e| Error::io("read", path, e);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut hasher = Hasher::like(like, size);
    read_all(&mut file, |bytes| hasher.update(bytes)).map_err(io)?;
    Ok(hasher.finish())
}

fn read_all(file: &mut File, mut each: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => each(&chunk[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
