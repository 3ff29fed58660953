//! Memory that ends, as under `ulimit -v` or a job scheduler's limit: which work wanted how much, and exit status 1.

use std::alloc::Layout;
use std::fmt::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::interrupt;

static TOOL: OnceLock<String> = OnceLock::new();

/// What is being done, for the message.
static TASK: Mutex<String> = Mutex::new(String::new());

/// Says what is being done, for when memory ends: "frame 3: 1024x1024".
pub fn set_task(task: impl fmt::Display) {
    let mut text = task.to_string();
    // Swapped, so that nothing is freed or made while the lock is held.
    std::mem::swap(
        &mut *TASK.lock().unwrap_or_else(PoisonError::into_inner),
        &mut text,
    );
}

/// From now on memory that ends is told of.
pub(crate) fn install(tool: &str) {
    let _ = TOOL.set(tool.to_owned());
    turbo_process::on_exhaustion(end);
}

/// Ends the process if a panic says that memory has ended: its payload is then the layout of what was wanted.
pub(crate) fn check(panic: &PanicHookInfo<'_>) {
    if let Some(layout) = panic.payload().downcast_ref::<Layout>() {
        end(layout.size());
    }
}

/// Tells that so many bytes were not to be had, and ends the process. Allocates nothing.
fn end(wanted: usize) -> ! {
    let mut line = Line::default();
    let _ = write!(line, "{}: ", TOOL.get().map_or("", String::as_str));
    if let Ok(task) = TASK.try_lock()
        && !task.is_empty()
    {
        let _ = write!(line, "{task}: ");
    }
    let _ = write!(line, "not enough memory: ");
    match held() {
        Some(held) => {
            let least = Bytes(held.saturating_add(wanted as u64));
            let _ = write!(
                line,
                "expected at least {least}, found {} in use and {} more refused",
                Bytes(held),
                Bytes(wanted as u64)
            );
        }
        None => {
            let _ = write!(line, "expected {} more, found none", Bytes(wanted as u64));
        }
    }
    if let Some(limit) = limit() {
        let _ = write!(line, " (`ulimit -v` allows {})", Bytes(limit));
    }
    let _ = writeln!(line, "; allow more, or ask for smaller pictures");
    line.print();
    interrupt::remove_temporary_files();
    exit()
}

/// Ends the process at once: no destructor runs, and nothing that was registered for its end.
fn exit() -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(1);
    #[cfg(not(unix))]
    std::process::exit(1)
}

/// Bytes of address space that this process has.
fn held() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        // By hand, as std's way allocates. The first number is the count of pages.
        let file = open(c"/proc/self/statm", OFlags::RDONLY, Mode::empty()).ok()?;
        let mut text = [0; 64];
        let length = rustix::io::read(&file, &mut text).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        let pages: u64 = text.split(' ').next()?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The limit on address space, if there is one.
fn limit() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::As).current;
    #[cfg(not(unix))]
    None
}

/// A number of bytes, in units of 1000 from a thousand on.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1_000_000_000 => write!(f, "{:.2} GB", n as f64 / 1e9),
            n if n >= 1_000_000 => write!(f, "{:.1} MB", n as f64 / 1e6),
            n if n >= 1000 => write!(f, "{:.1} kB", n as f64 / 1e3),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// A line in memory that is there already. What does not fit is left out.
struct Line {
    text: [u8; 1024],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            text: [0; 1024],
            length: 0,
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if let Some(place) = self.text.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

impl Line {
    /// Past std's stderr, which this thread may be in the middle of.
    fn print(&self) {
        let text = &self.text[..self.length];
        #[cfg(unix)]
        let _ = rustix::io::write(rustix::stdio::stderr(), text);
        #[cfg(not(unix))]
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_bytes_have_units() {
        let mut line = Line::default();
        write!(
            line,
            "{} {} {}",
            Bytes(999),
            Bytes(4_198_400),
            Bytes(31 << 30)
        )
        .unwrap();
        assert_eq!(&line.text[..line.length], b"999 bytes 4.2 MB 33.29 GB");
        write!(line, "{}", "x".repeat(5000)).unwrap();
        assert_eq!(line.length, 1024);
    }
}
