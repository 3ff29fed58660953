//! Which checkpoint, and which program: by content, and without reading it each time.

use super::digest;
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use turbo_cli::{Console, Context, Error, Result, Unit, open_regular};

/// Files with names that do not depend on where they lie.
pub(crate) type Files = Vec<(String, PathBuf)>;

/// A file that was changed so shortly before it was read may be changed again without its time showing it: FAT counts
/// in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// The program itself, of which another build may compute other numbers.
pub(crate) fn program() -> Result<(String, PathBuf)> {
    // Leads to the file that runs, even where another has taken its place.
    let path = if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        std::env::current_exe().context("the program's own file")?
    };
    Ok(("program".to_owned(), path))
}

/// What the file system tells of the files without opening them, as 64 digits: as long as these are the same, so are
/// the contents.
pub(crate) fn stamp(files: &[(String, PathBuf)]) -> Result<String> {
    let mut parts = Vec::new();
    for (name, path) in files {
        let metadata = path.metadata().in_file(&**path)?;
        let place = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        parts.push(name.clone().into_bytes());
        parts.push(place.into_os_string().into_encoded_bytes());
        parts.push(facts(&metadata).into_bytes());
    }
    Ok(digest::of_parts(parts.iter().map(Vec::as_slice)))
}

/// The stamp of each file by itself.
pub(crate) fn stamps(files: &Files) -> Result<Vec<String>> {
    files
        .iter()
        .map(|file| stamp(std::slice::from_ref(file)))
        .collect()
}

/// Whether the files are what they were when they had these stamps.
///
/// # Errors
/// One is not, or is not there any more.
pub(crate) fn check(files: &Files, stamps: &[String]) -> Result<()> {
    for (file, known) in files.iter().zip(stamps) {
        if stamp(std::slice::from_ref(file))? != *known {
            let error = Error::new(
                "expected a file that stays as it is, found it changed meanwhile; start again",
            );
            return Err(error.in_file(&*file.1));
        }
    }
    Ok(())
}

/// What a file remembers of a checkpoint's contents; none where it is not there or something else.
pub(crate) fn read(path: &Path) -> Option<String> {
    let file = open_regular(File::options().read(true), path).ok()?;
    let mut known = String::new();
    // The digits and a newline; no more of what somebody else put there.
    file.take(65).read_to_string(&mut known).ok()?;
    known.truncate(known.trim_end().len());
    digest::is_hex(&known).then_some(known)
}

/// Size, times and, where it has one, number of a file.
fn facts(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok();
    let facts = format!("{} {modified:?}", metadata.len());
    #[cfg(unix)]
    let facts = {
        use std::os::unix::fs::MetadataExt as M;
        let changed = (M::ctime(metadata), M::ctime_nsec(metadata));
        format!(
            "{facts} {changed:?} {} {}",
            M::dev(metadata),
            M::ino(metadata)
        )
    };
    facts
}

/// Whether the files have been left alone for long enough that their stamp tells any further change.
pub(crate) fn are_settled(files: &Files) -> bool {
    let now = SystemTime::now();
    let old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age >= SETTLED);
    files.iter().all(|(_, path)| {
        path.metadata().is_ok_and(|metadata| {
            #[cfg(unix)]
            {
                let changed = std::os::unix::fs::MetadataExt::ctime(&metadata);
                let changed = Duration::from_secs(u64::try_from(changed).unwrap_or(0));
                if !old(SystemTime::UNIX_EPOCH + changed) {
                    return false;
                }
            }
            metadata.modified().is_ok_and(old)
        })
    })
}

/// The contents of the files, as 64 digits. Reads all of them.
pub(crate) fn contents(files: &Files, console: &Console) -> Result<String> {
    let total = files
        .iter()
        .filter_map(|(_, path)| Some(path.metadata().ok()?.len()))
        .sum();
    let label = format!("{}: checkpoint's hash, once", console.tool());
    let bar = console.bar(&label, Some(total), Unit::Bytes);
    let mut parts = Vec::new();
    for (name, path) in files {
        let hash = hash_file(path, &|n| bar.advance(n)).in_file(&**path)?;
        parts.extend([name.clone(), hash]);
    }
    Ok(digest::of_parts(parts.iter().map(String::as_bytes)))
}

fn hash_file(path: &Path, read: &dyn Fn(u64)) -> Result<String> {
    if !path.metadata()?.is_file() {
        return Err(Error::new("expected a file")); // opening a pipe waits for its writer
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest::hex(hash)),
            n => {
                hash.update(&buffer[..n]);
                read(n as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_cli::ReportArgs;

    fn console() -> Console {
        Console::new("t", &ReportArgs::default())
    }

    #[test]
    fn contents_are_told_apart_and_places_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let of = |name: &str, path: PathBuf| {
            contents(&vec![(name.to_owned(), path)], &console()).unwrap()
        };
        let one = of("a", file("1", "x"));
        assert_eq!(one, of("a", file("2", "x")));
        assert_ne!(one, of("a", file("1", "y")));
        assert_ne!(one, of("b", file("1", "x")));
        assert!(contents(&vec![("a".to_owned(), folder.path().into())], &console()).is_err());
    }

    #[test]
    fn a_stamp_changes_with_the_file_and_a_new_file_is_not_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let files = vec![("a".to_owned(), path.clone())];
        let before = stamp(&files).unwrap();
        assert_eq!(before, stamp(&files).unwrap());
        assert!(!are_settled(&files));
        // Another file of the same size and time in its place.
        let other = folder.path().join("b");
        std::fs::write(&other, "y").unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        File::options()
            .write(true)
            .open(&other)
            .unwrap()
            .set_modified(time)
            .unwrap();
        std::fs::rename(&other, &path).unwrap();
        if cfg!(unix) {
            assert_ne!(before, stamp(&files).unwrap());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(stamp(&files).is_err());
    }
}
