//! Signals that the parent left ignored.

/// Whether a signal is ignored now. A program that wants to handle it asks this first: what `nohup` or a shell's `&`
/// ignores is to stay so.
#[cfg(unix)]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY:
    // - `sigaction` is plain data, for which zeros are valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY:
    // - Without a new action nothing is changed.
    // - The old one is written into a value that lives here. An unknown signal is an error, and writes nothing.
    let outcome = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    outcome == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Whether a signal is ignored now.
#[cfg(not(unix))]
pub fn is_ignored(_: i32) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_told() {
        // Rust's runtime ignores SIGPIPE, and nothing else.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGUSR1));
        assert!(!is_ignored(libc::SIGKILL));
        assert!(!is_ignored(9999));
    }
}
