//! A progress bar of one line, redrawn in place.
//!
//! The tools of a pipe share a terminal, and its line. The first that has something to draw takes
//! the line (a lock on the terminal, which goes with the process that holds it) and keeps it until
//! its bar is done; the others draw nothing meanwhile. A message of any of them takes the bar's
//! place, and the bar is drawn anew below.

use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{escape, stdio};

/// Nothing is drawn before this, so that short runs stay quiet.
const FIRST: Duration = Duration::from_millis(500);
/// Time between two drawings.
const EVERY: Duration = Duration::from_millis(100);
/// Cells of the bar proper.
const CELLS: u64 = 20;
/// The longest line drawn: a wrapped line could not be redrawn.
const COLUMNS: usize = 79;

/// Whether a bar stands on the terminal's current line. One for the process, as is the terminal.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// Whether stderr is a terminal on which another tool may have drawn a bar.
static SHARED: AtomicBool = AtomicBool::new(false);

/// To be called where stderr is a terminal that bars are drawn on, by this tool or another.
pub(crate) fn expect_bars() {
    SHARED.store(true, Ordering::Relaxed);
}

/// What clears a bar's line, if one may stand there.
pub(crate) fn erase() -> &'static str {
    if DRAWN.swap(false, Ordering::Relaxed) || SHARED.load(Ordering::Relaxed) {
        "\r\x1b[K"
    } else {
        ""
    }
}

/// Moves past the bar's line, so that a shell's prompt does not overwrite it.
pub(crate) fn leave_line() {
    if DRAWN.swap(false, Ordering::Relaxed) {
        let _ = stdio::say("\n");
    }
}

/// What a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Frames, steps, files.
    Items,
    /// Bytes, shown in units of 1000, with the speed.
    Bytes,
}

/// A bar on stderr, gone when dropped. It draws only where stderr is a terminal, with
/// `--progress auto` and without `--quiet`; otherwise it costs nothing. Any thread may advance it.
#[derive(Debug)]
pub struct Bar(Option<Mutex<State>>);

#[derive(Debug)]
struct State {
    label: String,
    unit: Unit,
    done: u64,
    total: Option<u64>,
    start: Instant,
    drawn: Option<Instant>,
    turn: Turn,
}

/// The right to draw on the terminal.
#[derive(Debug)]
enum Turn {
    /// Not asked for yet, or another process has it.
    Waiting,
    /// This bar's, for as long as the file is open. Without a file there is no way to share: then
    /// each draws as it likes.
    Mine { _lock: Option<File> },
}

impl Turn {
    /// Whether this bar may draw, after asking once more.
    fn take(&mut self, open: impl FnOnce() -> io::Result<File>) -> bool {
        if matches!(self, Self::Waiting) {
            // Opened anew, as a lock on stderr itself is one that all the processes have, which
            // inherited it. Where opening makes a copy (macOS), all of them have this lock too.
            let file = open().ok();
            let locked = file.as_ref().map(File::try_lock);
            if matches!(locked, Some(Err(TryLockError::WouldBlock))) {
                return false;
            }
            *self = Self::Mine { _lock: file };
        }
        true
    }
}

fn terminal() -> io::Result<File> {
    File::open("/dev/stderr")
}

impl Bar {
    /// A bar labelled `label`, which is drawn only if it `is_shown`; without a `total` it only counts.
    pub(crate) fn new(label: &str, total: Option<u64>, unit: Unit, is_shown: bool) -> Self {
        Self(is_shown.then(|| {
            Mutex::new(State {
                label: escape(label).into_owned(),
                unit,
                done: 0,
                total,
                start: Instant::now(),
                drawn: None,
                turn: Turn::Waiting,
            })
        }))
    }

    /// Counts `n` more as done.
    pub fn advance(&self, n: u64) {
        self.update(|state| state.done = state.done.saturating_add(n));
    }

    /// Sets how much is done.
    pub fn set(&self, done: u64) {
        self.update(|state| state.done = done);
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let Some(state) = &self.0 else { return };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let now = Instant::now();
        let due = match state.drawn {
            None => now - state.start >= FIRST,
            Some(last) => now - last >= EVERY,
        };
        if due {
            state.drawn = Some(now);
            if !state.turn.take(terminal) {
                return;
            }
            let line = format!("\r{}\x1b[K", state.line(now - state.start));
            DRAWN.store(true, Ordering::Relaxed);
            let _ = stdio::say(&line);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // Not where another tool's bar stands.
        if self.0.is_some() && DRAWN.load(Ordering::Relaxed) {
            let _ = stdio::say(erase());
        }
    }
}

impl State {
    /// `label [=====>    ] 3/8 0:12 eta 0:20`, at most [`COLUMNS`] characters.
    fn line(&self, elapsed: Duration) -> String {
        let mut end = String::new();
        if let Some(total) = self.total {
            let cells = if total == 0 {
                CELLS
            } else {
                (self.done.min(total) as u128 * u128::from(CELLS) / u128::from(total)) as u64
            };
            let bar = "=".repeat(cells as usize);
            let _ = write!(end, " [{bar:<20}] ");
        } else {
            end.push(' ');
        }
        end.push_str(&self.amount(self.done));
        if let Some(total) = self.total {
            let _ = write!(end, "/{}", self.amount(total));
        }
        let seconds = elapsed.as_secs_f64();
        if self.unit == Unit::Bytes && seconds > 0.0 {
            let _ = write!(end, " {}/s", bytes(self.done as f64 / seconds));
        }
        let _ = write!(end, " {}", clock(seconds));
        if let Some(total) = self.total
            && self.done > 0
            && self.done < total
        {
            let left = seconds / self.done as f64 * (total - self.done) as f64;
            let _ = write!(end, " eta {}", clock(left));
        }
        let room = COLUMNS.saturating_sub(end.chars().count());
        let mut line: String = self.label.chars().take(room).collect();
        line.push_str(&end);
        line
    }

    fn amount(&self, n: u64) -> String {
        match self.unit {
            Unit::Items => n.to_string(),
            Unit::Bytes => bytes(n as f64),
        }
    }
}

fn bytes(n: f64) -> String {
    match n {
        n if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.1} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.0} kB", n / 1e3),
        n => format!("{n:.0} B"),
    }
}

/// `m:ss` or `h:mm:ss`.
fn clock(seconds: f64) -> String {
    let s = seconds.round() as u64;
    if s < 3600 {
        format!("{}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(unit: Unit, done: u64, total: Option<u64>) -> State {
        State {
            label: "denoise".to_owned(),
            unit,
            done,
            total,
            start: Instant::now(),
            drawn: None,
            turn: Turn::Waiting,
        }
    }

    #[test]
    fn lines() {
        let at = Duration::from_secs(30);
        assert_eq!(
            state(Unit::Items, 3, Some(12)).line(at),
            "denoise [=====               ] 3/12 0:30 eta 1:30"
        );
        assert_eq!(state(Unit::Items, 3, None).line(at), "denoise 3 0:30");
        assert_eq!(
            state(Unit::Bytes, 1_500_000_000, Some(3_000_000_000)).line(at),
            "denoise [==========          ] 1.50 GB/3.00 GB 50.0 MB/s 0:30 eta 0:30"
        );
        assert_eq!(
            state(Unit::Items, 9, Some(0)).line(at),
            format!("denoise [{}] 9/0 0:30", "=".repeat(20))
        );
        assert_eq!(clock(3725.2), "1:02:05");
    }

    #[test]
    fn a_long_label_is_cut_to_one_line() {
        let mut state = state(Unit::Items, u64::MAX, Some(u64::MAX));
        state.label = "x".repeat(500);
        assert_eq!(state.line(Duration::ZERO).chars().count(), COLUMNS);
    }

    #[test]
    fn one_bar_at_a_time_has_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terminal");
        File::create(&path).unwrap();
        let (mut first, mut second) = (Turn::Waiting, Turn::Waiting);
        assert!(first.take(|| File::open(&path)) && first.take(|| File::open(&path)));
        assert!(!second.take(|| File::open(&path)) && !second.take(|| File::open(&path)));
        drop(first);
        assert!(second.take(|| File::open(&path)));
        // A terminal that cannot be opened anew, such as another user's.
        assert!(Turn::Waiting.take(|| File::open(folder.path().join("none"))));
    }
}
