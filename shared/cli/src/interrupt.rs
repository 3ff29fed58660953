//! Signals that end a process: temporary files go. After Ctrl-C the exit status is 130; the others end the process as
//! they end any other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files to remove when interrupted.
static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn temporary() -> MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over the signals that end a process, unless the parent has them ignored (as a shell does for `tool &`, and
/// nohup), which stays so.
pub(crate) fn install() {
    // No handler is no reason not to work: SIGINT then does what the parent chose for it.
    let _ = ctrlc::try_set_handler(|| {
        let _files = clean();
        std::process::exit(130);
    });
    #[cfg(unix)]
    terminated();
}

/// ctrlc would take over SIGTERM and SIGHUP too, but not where SIGINT is ignored, and without telling them apart.
#[cfg(unix)]
fn terminated() {
    use signal_hook::consts::{
        SIGALRM, SIGHUP, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ,
    };
    use signal_hook::{iterator::Signals, low_level::emulate_default_handler};
    // The handler takes note and does no more: a write beyond `ulimit -f` is then an error of the write.
    let _ = signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default());
    // A closed terminal, a time that is up, and job schedulers send these.
    let mut ends = vec![SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGALRM, SIGUSR1, SIGUSR2];
    ends.retain(|&signal| !turbo_process::is_ignored(signal));
    let Ok(mut signals) = Signals::new(ends) else {
        return;
    };
    let wait = move || {
        for signal in signals.forever() {
            let _files = clean();
            let _ = emulate_default_handler(signal);
        }
    };
    let _ = std::thread::Builder::new().spawn(wait);
}

/// Removes the temporary files of a process that is about to end in a way that nothing can hold up: it has no memory
/// left, or its weights are gone. Allocates nothing, and waits for nobody.
pub fn remove_temporary_files() {
    if let Ok(files) = TEMPORARY.try_lock() {
        for file in files.iter() {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Removes the temporary files. They stay locked until the end, so that no file is made after the cleaning.
fn clean() -> MutexGuard<'static, Vec<PathBuf>> {
    let files = temporary();
    for file in files.iter() {
        let _ = std::fs::remove_file(file);
    }
    crate::bar::leave_line();
    files
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
