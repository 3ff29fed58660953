//! Where the bytes of weights lie: a mapped file, the program itself, or, rarely, memory of our own.

#[cfg(unix)]
use super::cut;
use crate::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

/// How much is entered into the page tables at a time: little enough for page faults elsewhere in the process to get
/// their turn in between.
#[cfg(target_os = "linux")]
const CHUNK: usize = 64 << 20;

/// A mapped file. It is not watched any more when it is unmapped, since fields are dropped in their order.
pub(crate) struct Mapped {
    #[cfg(unix)]
    _watch: cut::Watch,
    map: Mmap,
    path: PathBuf,
    file: File,
    /// Of the file, before it was mapped.
    facts: Facts,
}

/// Length of a file, and when it was written to last.
type Facts = (u64, Option<SystemTime>);

impl Mapped {
    /// The file's, whatever stands under its name by now.
    fn facts(file: &File) -> std::io::Result<Facts> {
        let metadata = file.metadata()?;
        Ok((metadata.len(), metadata.modified().ok()))
    }
}

/// The files that are mapped, and some that were.
static MAPPED: Mutex<Vec<Weak<Mapped>>> = Mutex::new(Vec::new());

/// Whether all files that are mapped now are what they were when they were mapped: what has been computed with them is
/// theirs then.
///
/// # Errors
/// [`Error::Changed`]: one was overwritten, or cut by less than a page, which the system tells nobody.
pub fn check_unchanged() -> Result<()> {
    let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    mapped.retain(|file| file.strong_count() > 0);
    for file in mapped.iter().filter_map(Weak::upgrade) {
        // A file whose facts are not to be had is none that changed.
        if Mapped::facts(&file.file).is_ok_and(|facts| facts != file.facts) {
            return Err(Error::Changed {
                path: file.path.clone(),
            });
        }
    }
    Ok(())
}

/// Read-only bytes that live as long as anybody refers to them. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Bytes {
    Mapped(Arc<Mapped>),
    Static(&'static [u8]),
    Owned(Arc<[u8]>),
}

impl Bytes {
    /// Maps a whole regular file, read-only and shared.
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        // Before it is opened, since opening a pipe waits for a writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(Error::NotAFile {
                path: path.to_owned(),
            });
        }
        let file = File::open(path).map_err(io)?;
        let facts = Mapped::facts(&file).map_err(io)?;
        // SAFETY: the map is read-only and is handed out as `&[u8]`, for which every byte pattern is valid. What
        // Rust cannot promise is that nobody changes or cuts the file meanwhile. A cut ends the process (`cut`), a
        // change is told by `check_unchanged`; checkpoints are files that are written under another name and renamed
        // (as the Hugging Face cache and `fetch-model` do), and the bytes are only ever used as numbers, never as
        // lengths, offsets or text, once the header has been checked.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let mapped = Arc::new(Mapped {
            #[cfg(unix)]
            _watch: cut::watch(path, &map),
            map,
            path: path.to_owned(),
            file,
            facts,
        });
        let mut all = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&mapped));
        Ok(Self::Mapped(mapped))
    }

    /// Asks the operating system to have this range in memory soon, and returns when it has done what it will.
    ///
    /// Advice only: nothing depends on it, so a system that refuses is not an error.
    #[cfg(unix)]
    pub(crate) fn prefetch(&self, range: Range<usize>) {
        use memmap2::Advice;
        let Self::Mapped(mapped) = self else { return };
        let map = &mapped.map;
        // The whole range first, so that the disk is busy; then the page tables.
        let _ = map.advise_range(Advice::WillNeed, range.start, range.len());
        #[cfg(target_os = "linux")]
        for start in range.clone().step_by(CHUNK) {
            let len = CHUNK.min(range.end - start);
            if map.advise_range(Advice::PopulateRead, start, len).is_err() {
                break; // Linux before 5.14
            }
        }
    }

    /// Windows reads ahead by itself.
    #[cfg(not(unix))]
    #[allow(clippy::unused_self, clippy::needless_pass_by_value)]
    pub(crate) fn prefetch(&self, _range: Range<usize>) {}

    /// Lets the operating system take this range's pages out of the process: they are in the file. Advice only.
    #[cfg(unix)]
    pub(crate) fn release(&self, range: Range<usize>) {
        let Self::Mapped(mapped) = self else { return };
        // SAFETY: the map is of a file, shared and read-only, so whoever reads the range next finds the same bytes in it.
        #[allow(unsafe_code)]
        let _ = unsafe {
            mapped.map.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                range.start,
                range.len(),
            )
        };
    }

    /// Windows takes pages out by itself.
    #[cfg(not(unix))]
    #[allow(clippy::unused_self, clippy::needless_pass_by_value)]
    pub(crate) fn release(&self, _range: Range<usize>) {}

    /// The same mapping or block of memory, wherever it was cloned to.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        std::ptr::eq(self.as_ptr(), other.as_ptr())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => &mapped.map,
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}
