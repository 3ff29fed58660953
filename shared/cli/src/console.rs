//! What a tool says on stderr.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::bar::{self, Bar, Unit};
use crate::{
    Error, OnError, Progress, ReportArgs, Result, escape, escape_json, max_rss_bytes, stdio,
};

/// Most characters of a message. What it quotes may be of any length.
const LONGEST: usize = 2000;

/// The way to stderr: errors, warnings, progress, each a line written at once, so that the lines
/// of several tools in a pipe do not mix. A stderr that cannot be written changes nothing.
#[derive(Debug)]
pub struct Console {
    tool: String,
    quiet: bool,
    verbose: bool,
    progress: Progress,
    bars: bool,
    failed: AtomicBool,
}

/// What `--progress json` tells of a finished frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameReport<'a> {
    /// Number of the frame in its stream, from 0.
    pub frame: u64,
    /// The frame's `id`, if it has one.
    pub id: Option<&'a str>,
    /// Time spent opening the model for this frame; zero when it was open.
    pub open: Duration,
    /// Time spent computing, opening not included.
    pub compute: Duration,
    /// Time of each step, in `denoise` only.
    pub steps: Option<&'a [Duration]>,
}

/// A line of `--progress json`. What is in it is documented in PROGRESS.md, in this order.
#[derive(Serialize)]
struct Line<'a, T> {
    event: &'a str,
    tool: &'a str,
    #[serde(flatten)]
    keys: &'a T,
}

#[derive(Serialize)]
struct FrameKeys<'a> {
    frame: u64,
    id: Option<&'a str>,
    open_s: f64,
    compute_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_s: Option<Vec<f64>>,
    max_rss_bytes: Option<u64>,
}

impl Console {
    /// A console for `tool`. [`crate::main`] makes it; a test may make its own.
    pub fn new(tool: &str, report: &ReportArgs) -> Self {
        // A bar redraws its line, which a dumb terminal cannot. NO_COLOR changes nothing: there
        // are no colours.
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let redraws = !dumb && io::stderr().is_terminal();
        if redraws {
            bar::expect_bars();
        }
        Self {
            tool: tool.to_owned(),
            quiet: report.quiet,
            verbose: report.verbose,
            progress: report.progress,
            bars: report.progress == Progress::Auto && !report.quiet && redraws,
            failed: AtomicBool::new(false),
        }
    }

    /// The tool's name.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// Whether `--quiet` was given, for reports that are no errors.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Reports an error and lets the tool go on; the exit status becomes 1.
    pub fn error(&self, error: &Error) {
        self.failed.store(true, Ordering::Relaxed);
        self.line(error);
    }

    /// What `--on-error` asks for a record that failed: gives the error back to stop with, or
    /// reports it and goes on. A gone reader and a wrong command line always stop.
    ///
    /// # Errors
    /// The error itself.
    pub fn stop_or_skip(&self, error: Error, on_error: OnError) -> Result<()> {
        if on_error == OnError::Stop || error.is_reader_gone() || error.is_usage() {
            return Err(error);
        }
        self.error(&error);
        Ok(())
    }

    /// Whether [`Console::error`] was called.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Says something the user should know, unless `--quiet`.
    pub fn warn(&self, text: impl fmt::Display) {
        if !self.quiet {
            self.line(format_args!("warning: {text}"));
        }
    }

    /// Says what is being done, if `--verbose`.
    pub fn info(&self, text: impl fmt::Display) {
        if self.verbose {
            self.line(text);
        }
    }

    /// Tells that a frame is done: a JSON line for `--progress json`, a line for `--verbose`.
    /// To be called once the frame is written and flushed.
    pub fn frame_done(&self, report: &FrameReport<'_>) {
        if self.progress == Progress::Json {
            let steps = report.steps.map(|steps| steps.iter().copied());
            self.event(
                "frame",
                &FrameKeys {
                    frame: report.frame,
                    id: report.id,
                    open_s: seconds(report.open),
                    compute_s: seconds(report.compute),
                    step_s: steps.map(|steps| steps.map(seconds).collect()),
                    max_rss_bytes: max_rss_bytes(),
                },
            );
        } else if self.verbose {
            let id = report.id.map(|id| format!(" ({id})")).unwrap_or_default();
            self.line(format_args!(
                "frame {}{id}: opened {:.3} s, computed {:.3} s",
                report.frame,
                report.open.as_secs_f64(),
                report.compute.as_secs_f64()
            ));
        }
    }

    /// Tells of anything else that happened, as a JSON line for `--progress json` and not at all
    /// otherwise. `event` and the `keys` of a struct have to stand in PROGRESS.md.
    pub fn event(&self, event: &str, keys: &impl Serialize) {
        if self.progress == Progress::Json
            && let Ok(json) = serde_json::to_string(&self.as_event(event, keys))
        {
            put(&escape_json(&json));
        }
    }

    fn as_event<'a, T>(&'a self, event: &'a str, keys: &'a T) -> Line<'a, T> {
        let tool = &self.tool;
        Line { event, tool, keys }
    }

    /// Writes a tool's own report, lines with their ends, at once and with any verbosity. Text
    /// from a stream has to be escaped by the caller ([`crate::escape`]).
    ///
    /// # Errors
    /// stderr cannot be written. A tool for which the report is not the result may ignore it.
    pub fn report(&self, lines: &str) -> Result<()> {
        let text = format!("{}{lines}", bar::erase());
        stdio::say(&text).map_err(|e| Error::from(e).context("stderr"))
    }

    /// A bar labelled `label` ("denoise: frame 3"); without a `total` it only counts.
    pub fn bar(&self, label: &str, total: Option<u64>, unit: Unit) -> Bar {
        Bar::new(label, total, unit, self.bars)
    }

    fn line(&self, text: impl fmt::Display) {
        let mut text = text.to_string();
        if let Some((end, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(end);
            text.push_str("...");
        }
        put(&format!("{}: {}", self.tool, escape(&text)));
    }
}

/// Microseconds are as fine as anybody measures.
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// Writes a line at once, in place of a bar if one stands there.
pub(crate) fn put(line: &str) {
    let text = format!("{}{line}\n", bar::erase());
    let _ = stdio::say(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_turns_the_status_and_stopping_gives_the_error_back() {
        let console = Console::new("t", &ReportArgs::default());
        assert!(
            console
                .stop_or_skip(Error::new("a"), OnError::Stop)
                .is_err()
        );
        assert!(!console.has_failed());
        assert!(console.stop_or_skip(Error::new("a"), OnError::Skip).is_ok());
        assert!(console.has_failed());
        assert!(
            console
                .stop_or_skip(Error::usage("a"), OnError::Skip)
                .is_err()
        );
    }

    #[test]
    fn the_event_has_the_documented_keys() {
        let keys = FrameKeys {
            frame: 2,
            id: None,
            open_s: seconds(Duration::from_millis(1500)),
            compute_s: 0.0,
            step_s: Some(vec![0.25]),
            max_rss_bytes: None,
        };
        let console = Console::new("denoise", &ReportArgs::default());
        assert_eq!(
            serde_json::to_string(&console.as_event("frame", &keys)).unwrap(),
            r#"{"event":"frame","tool":"denoise","frame":2,"id":null,"open_s":1.5,"compute_s":0.0,"step_s":[0.25],"max_rss_bytes":null}"#
        );
    }
}
