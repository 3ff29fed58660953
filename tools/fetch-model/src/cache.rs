//! The cache folder of one model, laid out as Python's `huggingface_hub` does it:
//!
//! ```text
//! models--owner--name/blobs/<hash>                   the content
//! models--owner--name/snapshots/<commit>/<path>  ->  ../../blobs/<hash>
//! models--owner--name/refs/<revision>                the commit, 40 digits
//! .locks/models--owner--name/<hash>.lock             held while a blob is downloaded
//! ```

use crate::error::Error;
use crate::id::{Commit, ContentHash, is_safe_path};
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use turbo_cli::open_regular;
use turbo_weights::ModelId;

/// How deep a listing of a snapshot goes; the files of a pipeline lie one folder down.
const LIST_DEPTH: usize = 2;

/// One model's folder in the cache.
#[derive(Debug)]
pub struct ModelCache {
    folder: PathBuf,
    locks: PathBuf,
}

impl ModelCache {
    /// The folder of model `id` in `cache`; nothing is created.
    pub fn new(cache: &Path, id: &ModelId) -> Self {
        let name = id.cache_folder();
        Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(&name),
        }
    }

    /// The folder that a commit's files appear in.
    pub fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }

    /// Where content with this hash lies.
    pub fn blob(&self, hash: &ContentHash) -> PathBuf {
        self.folder.join("blobs").join(hash.as_str())
    }

    /// Where content with this hash grows until it is whole.
    pub fn incomplete(&self, hash: &ContentHash) -> PathBuf {
        self.folder
            .join("blobs")
            .join(format!("{}.incomplete", hash.as_str()))
    }

    /// The commit that a revision stood for when it was last fetched.
    pub fn commit_of(&self, revision: &str) -> Option<Commit> {
        Commit::parse(revision).or_else(|| {
            let file = open_regular(File::options().read(true), &self.ref_path(revision)).ok()?;
            let mut text = String::new();
            // The digits and some white space; no more of what somebody else put there.
            file.take(100).read_to_string(&mut text).ok()?;
            Commit::parse(text.trim())
        })
    }

    /// Notes which commit a revision stands for. A commit needs no note.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn set_commit_of(&self, revision: &str, commit: &Commit) -> Result<(), Error> {
        if self.commit_of(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        let path = self.ref_path(revision);
        create_parent(&path)?;
        // Renamed into place, so that no reader meets half a hash; new, so that no link of others is written through.
        let temporary = beside(&path);
        let _ = fs::remove_file(&temporary);
        File::create_new(&temporary)
            .and_then(|mut file| file.write_all(commit.as_str().as_bytes()))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|e| {
                let _ = fs::remove_file(&temporary);
                Error::io("write", &path, e)
            })
    }

    fn ref_path(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// Whether a commit's snapshot has content for `path`.
    pub fn has(&self, commit: &Commit, path: &str) -> bool {
        is_safe_path(path) && self.snapshot(commit).join(path).is_file()
    }

    /// The paths that a commit's snapshot has content for; none if there is no snapshot.
    pub fn list(&self, commit: &Commit) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        list_into(&self.snapshot(commit), "", LIST_DEPTH, &mut paths);
        paths
    }

    /// Makes `path` of a commit's snapshot show the blob `hash`, unless it does already.
    ///
    /// # Errors
    /// If the link cannot be made.
    pub fn link(&self, commit: &Commit, path: &str, hash: &ContentHash) -> Result<(), Error> {
        let link = self.snapshot(commit).join(path);
        let blob = self.blob(hash);
        if let (Ok(there), Ok(wanted)) = (fs::canonicalize(&link), fs::canonicalize(&blob))
            && there == wanted
        {
            return Ok(());
        }
        create_parent(&link)?;
        // From snapshots/<commit>/<path> up to the model's folder, then down to the blob.
        let mut target: PathBuf = path.split('/').map(|_| "..").collect();
        target.push("..");
        target.push("blobs");
        target.push(hash.as_str());
        let temporary = beside(&link);
        make_link(&target, &blob, &temporary)
            .and_then(|()| fs::rename(&temporary, &link))
            .map_err(|e| {
                let _ = fs::remove_file(&temporary);
                Error::io("link", &link, e)
            })
    }

    /// Waits until no other process downloads this blob, and keeps others from it until the
    /// result is dropped. `on_wait` is called if there is somebody to wait for.
    ///
    /// The lock is the one Python takes. Where the file system has no locks none is taken: two
    /// downloads then write the same bytes to the same places.
    ///
    /// # Errors
    /// If the lock file cannot be made.
    pub fn lock(&self, hash: &ContentHash, on_wait: impl FnOnce()) -> Result<File, Error> {
        let path = self.locks.join(format!("{}.lock", hash.as_str()));
        create_parent(&path)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        let file = open_regular(&mut options, &path).map_err(|e| Error::io("open", &path, e))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            on_wait();
            // An error here means a file system without locks; see above.
            let _ = file.lock();
        }
        Ok(file)
    }
}

/// Makes the folder that `path` is to lie in.
pub(crate) fn create_parent(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e)),
        None => Ok(()),
    }
}

/// A name beside `path` that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn list_into(folder: &Path, prefix: &str, depth: usize, paths: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Through the link: a link without its blob is not there.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        let path = format!("{prefix}{name}");
        if metadata.is_file() {
            paths.insert(path);
        } else if depth > 1 {
            list_into(&entry.path(), &format!("{path}/"), depth - 1, paths);
        }
    }
}

/// A symbolic link to the blob; where the file system has none, a second name for the same content, or else the content
/// itself, which then lies in the snapshot alone, as `huggingface_hub` does it.
fn make_link(target: &Path, blob: &Path, link: &Path) -> io::Result<()> {
    or_without_links(symlink(target, link), blob, link)
}

fn or_without_links(made: io::Result<()>, blob: &Path, link: &Path) -> io::Result<()> {
    match made {
        Err(e) if has_no_links(&e) => fs::hard_link(blob, link).or_else(|_| fs::rename(blob, link)),
        made => made,
    }
}

/// How file systems refuse what they do not have. A folder that may not be written refuses the other ways too.
fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
    )
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Symbolic links need a privilege on Windows.
#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> ContentHash {
        ContentHash::parse(&digit.repeat(40)).unwrap()
    }

    fn cache() -> (tempfile::TempDir, ModelCache, Commit) {
        let dir = tempfile::tempdir().unwrap();
        let cache = ModelCache::new(dir.path(), &"o/n".parse().unwrap());
        (dir, cache, Commit::parse(&"c".repeat(40)).unwrap())
    }

    #[cfg(unix)]
    #[test]
    fn links_are_relative_and_replace_stale_ones() {
        let (dir, cache, commit) = cache();
        for digit in ["a", "b"] {
            create_parent(&cache.blob(&hash(digit))).unwrap();
            fs::write(cache.blob(&hash(digit)), digit).unwrap();
        }
        let root = dir
            .path()
            .join("models--o--n/snapshots")
            .join("c".repeat(40));
        for (path, target) in [
            ("x.json", "../../blobs/"),
            ("unet/x.json", "../../../blobs/"),
        ] {
            for digit in ["a", "b", "b"] {
                cache.link(&commit, path, &hash(digit)).unwrap();
                let expected = format!("{target}{}", digit.repeat(40));
                assert_eq!(
                    fs::read_link(root.join(path)).unwrap(),
                    Path::new(&expected)
                );
                assert_eq!(fs::read_to_string(root.join(path)).unwrap(), digit);
            }
        }
        assert_eq!(
            cache.list(&commit),
            ["unet/x.json", "x.json"].map(String::from).into()
        );
        fs::remove_file(cache.blob(&hash("b"))).unwrap();
        assert!(cache.list(&commit).is_empty());
    }

    #[test]
    fn without_symbolic_links_the_file_itself_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (blob, link) = (dir.path().join("blob"), dir.path().join("link"));
        fs::write(&blob, "content").unwrap();
        let refused = |kind: io::ErrorKind| or_without_links(Err(kind.into()), &blob, &link);
        assert!(refused(io::ErrorKind::StorageFull).is_err());
        refused(io::ErrorKind::PermissionDenied).unwrap();
        assert_eq!(fs::read_to_string(&link).unwrap(), "content");
        assert!(!link.is_symlink());
    }

    #[test]
    fn references_are_whole_and_without_line_end() {
        let (dir, cache, commit) = cache();
        let revision = "refs/pr/1";
        assert_eq!(cache.commit_of(revision), None);
        cache.set_commit_of(revision, &commit).unwrap();
        let file = dir.path().join("models--o--n/refs/refs/pr/1");
        assert_eq!(fs::read_to_string(&file).unwrap(), commit.as_str());
        assert_eq!(cache.commit_of(revision), Some(commit.clone()));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);

        fs::write(&file, "../../../etc").unwrap();
        assert_eq!(cache.commit_of(revision), None);
        assert_eq!(cache.commit_of(commit.as_str()), Some(commit));
    }

    #[test]
    fn a_lock_is_waited_for() {
        let (_dir, cache, _) = cache();
        let held = cache
            .lock(&hash("a"), || panic!("nobody holds it"))
            .unwrap();
        let (told, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let second =
                scope.spawn(|| cache.lock(&hash("a"), || told.send(()).unwrap()).map(drop));
            waiting.recv().unwrap();
            drop(held);
            second.join().unwrap().unwrap();
        });
    }
}
