//! Which of the three standard streams were closed when the process started.
//!
//! Rust's runtime opens the null device where one of them is closed, so that no file gets its number. After that, what
//! is written to a closed stdout is lost without an error. The system calls the functions of the section `.init_array`
//! (`__mod_init_func` on Apple's) before `main`, and so before the runtime: one of them looks.

use std::sync::atomic::{AtomicU8, Ordering};

/// A standard stream, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// 0
    Stdin,
    /// 1
    Stdout,
    /// 2
    Stderr,
}

/// A bit for each stream that was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Whether the stream was closed when the process started.
pub fn was_closed(stream: Stream) -> bool {
    // Named here, so that no linker leaves it out.
    #[cfg(unix)]
    std::hint::black_box(&before_main::LOOK);
    CLOSED.load(Ordering::Relaxed) & (1 << stream as u8) != 0
}

#[cfg(unix)]
mod before_main {
    use super::{CLOSED, Ordering};
    use rustix::io::fcntl_getfd;
    use rustix::stdio::{stderr, stdin, stdout};

    // SAFETY:
    // - The section is a list of functions that take no arguments they need and return nothing: `look` is one.
    // - `look` runs before Rust's runtime. It uses nothing of it, only system calls: no allocation, no thread-local, no
    //   panic.
    #[used]
    #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
    #[cfg_attr(
        target_vendor = "apple",
        unsafe(link_section = "__DATA,__mod_init_func")
    )]
    pub(super) static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        let mut closed = 0;
        for (stream, file) in [stdin(), stdout(), stderr()].into_iter().enumerate() {
            if fcntl_getfd(file).is_err() {
                closed |= 1 << stream;
            }
        }
        CLOSED.store(closed, Ordering::Relaxed);
    }
}
