//! Ctrl-C: temporary files go, the exit status is 130.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files to remove when interrupted.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn temporary() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over SIGINT, unless the parent has it ignored (as a shell does for `tool &` and nohup),
/// which stays so.
pub(crate) fn install() {
    // No handler is no reason not to work: SIGINT then does what the parent chose for it.
    let _ = ctrlc::try_set_handler(|| {
        // Kept locked until the end, so that no file is made after the cleaning.
        let files = temporary();
        for file in files.iter() {
            let _ = std::fs::remove_file(file);
        }
        crate::bar::leave_line();
        std::process::exit(130);
    });
}

/// Remembers a temporary file for as long as it lives.
pub(crate) struct Guard(PathBuf);

impl Guard {
    /// Makes a file with `create`, with no gap in which an interruption could miss it.
    pub(crate) fn create<F>(create: impl FnOnce() -> io::Result<F>) -> io::Result<(F, Self)>
    where
        F: AsRef<Path>,
    {
        let mut files = temporary();
        let file = create()?;
        let path = file.as_ref().to_path_buf();
        files.push(path.clone());
        Ok((file, Self(path)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        temporary().retain(|path| *path != self.0);
    }
}
