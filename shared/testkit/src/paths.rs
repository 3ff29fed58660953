//! Where tests find their data.

use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the top")
}

/// `tests/golden` of this repository.
pub fn golden_dir() -> PathBuf {
    project().join("tests/golden")
}

/// Data that is not in this repository: `$TURBO_SHARED`, or `shared` beside the project's folder. Where there is
/// none, says on stderr what is skipped.
pub fn shared_dir() -> Option<PathBuf> {
    let beside = || Some(project().parent()?.join("shared"));
    let path = std::env::var_os("TURBO_SHARED")
        .map(PathBuf::from)
        .or_else(beside)?;
    if path.join("data").is_dir() {
        Some(path)
    } else {
        eprintln!(
            "skipped: {} has no data/; set TURBO_SHARED to the folder that does",
            path.display()
        );
        None
    }
}
