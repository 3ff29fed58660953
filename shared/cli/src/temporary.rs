//! Temporary files beside their target: locked while they are written, so that what a killed process left behind is
//! known from what another is still writing.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile};

use crate::interrupt::Guard;
use crate::regular;

/// Names that nobody else gives: what is called so and not locked may be removed.
const PREFIX: &str = ".turbo-";
const SUFFIX: &str = ".part";

/// How often a new file is tried for. Each failure means that another process took it for a leftover in the moment
/// between its making and its locking.
const TRIES: usize = 100;

/// Makes a temporary file in `folder`, locked until it is closed. The first time in each folder, removes what killed
/// processes left there.
pub(crate) fn create(
    builder: &mut Builder<'_, '_>,
    folder: &Path,
) -> io::Result<(NamedTempFile, Guard)> {
    static CLEANED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let first = CLEANED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .insert(folder.to_path_buf());
    if first {
        remove_leftovers(folder);
    }
    builder.prefix(PREFIX).suffix(SUFFIX);
    for _ in 0..TRIES {
        let (file, guard) = Guard::create(|| builder.tempfile_in(folder))?;
        between_steps();
        match file.as_file().try_lock() {
            Ok(()) if !is_at(file.as_file(), file.path()) => {}
            Err(TryLockError::WouldBlock) => {}
            // Where the file system has no locks nobody can mistake it for a leftover.
            Ok(()) | Err(TryLockError::Error(_)) => {
                between_steps();
                return Ok((file, guard));
            }
        }
    }
    Err(io::Error::other(
        "the temporary file was removed each time it was made",
    ))
}

/// Removes the temporary files in `folder` that no living process has locked. What cannot be read or removed stays.
pub fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        if ours && let Some(leftover) = Leftover::find(entry.path()) {
            leftover.remove();
        }
    }
}

/// A temporary file that nobody had locked. It is locked now, until it is removed: its maker, who locks it in the moment
/// after making it, would otherwise find it unlocked and in its place, and lose it.
struct Leftover {
    path: PathBuf,
    _locked: File,
}

impl Leftover {
    fn find(path: PathBuf) -> Option<Self> {
        let file = regular::open(File::options().write(true), &path).ok()?;
        between_steps();
        let free = file.try_lock().is_ok() && is_at(&file, &path);
        free.then_some(Self {
            path,
            _locked: file,
        })
    }

    fn remove(self) {
        between_steps();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where another process may come between. Tests hold the step open here.
#[cfg(not(test))]
fn between_steps() {}

#[cfg(test)]
use tests::between_steps;

/// Whether the path still leads to this file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: io::Result<std::fs::Metadata>| {
        metadata.map(|metadata| (metadata.dev(), metadata.ino()))
    };
    match (place(file.metadata()), place(std::fs::metadata(path))) {
        (Ok(file), Ok(path)) => file == path,
        _ => false,
    }
}

/// An open file cannot be replaced there.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};
    use std::time::Duration;

    /// Waits for up to a millisecond, so that the others get through steps of theirs.
    pub(super) fn between_steps() {
        let random = RandomState::new().hash_one(0);
        std::thread::sleep(Duration::from_micros(random % 1000));
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn leftovers_go_and_files_in_use_stay() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (used, _guard) = create(&mut Builder::new(), folder).unwrap();
        let used_name = used.path().file_name().unwrap().to_str().unwrap();
        // As a process that was killed leaves it; and files of others.
        let others = [".turbo-x.part.txt", ".other.part", "a.png"];
        for name in others.iter().chain(&[".turbo-dead.part"]) {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.join(".turbo-folder.part")).unwrap();
        remove_leftovers(folder);
        let mut expected = vec![".turbo-folder.part", used_name];
        expected.extend(others);
        expected.sort_unstable();
        assert_eq!(names(folder), expected);
    }

    #[test]
    fn the_first_file_in_a_folder_clears_it_and_later_ones_do_not_look() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join(".turbo-dead.part"), "x").unwrap();
        drop(create(&mut Builder::new(), folder).unwrap());
        assert!(names(folder).is_empty());
        std::fs::write(folder.join(".turbo-dead.part"), "x").unwrap();
        drop(create(&mut Builder::new(), folder).unwrap());
        assert_eq!(names(folder), [".turbo-dead.part"]);
    }

    /// Between the look at a leftover and its removal its maker may lock it. It must not get a file that is removed
    /// then.
    #[test]
    fn a_leftover_is_locked_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let made = Builder::new()
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .tempfile_in(folder.path())
            .unwrap();
        let leftover = Leftover::find(made.path().to_owned()).unwrap();
        assert!(
            made.as_file().try_lock().is_err(),
            "its maker has to make another"
        );
        leftover.remove();
        made.as_file().try_lock().unwrap();
        assert!(!is_at(made.as_file(), made.path()));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_of_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("a"), "x").unwrap();
        std::os::unix::fs::symlink("a", folder.join(".turbo-link.part")).unwrap();
        let pipe = folder.join(".turbo-pipe.part");
        let made = std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap();
        assert!(made.success());
        remove_leftovers(folder);
        assert_eq!(names(folder), [".turbo-link.part", ".turbo-pipe.part", "a"]);
    }

    /// Makers and cleaners at once, each of whose steps is held open: every maker gets a file that stays.
    #[test]
    fn makers_and_cleaners_do_not_hinder_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::thread::scope(|scope| {
            for maker in 0..4 {
                scope.spawn(move || {
                    for round in 0..50 {
                        let (file, _guard) = create(&mut Builder::new(), folder).unwrap();
                        remove_leftovers(folder);
                        file.persist(folder.join(format!("{maker}-{round}")))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(names(folder).len(), 200);
    }
}
