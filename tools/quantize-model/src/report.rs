//! Tells the user how it goes: bars, or JSON lines.

use std::path::Path;

use serde::Serialize;
use turbo_cli::{Bar, Console, Unit, max_rss_bytes};

pub(crate) struct Report<'a> {
    console: &'a Console,
    bar: Option<Bar>,
}

/// A file is there; documented in PROGRESS.md of turbo-cli, as the next.
#[derive(Serialize)]
struct WrittenKeys<'a> {
    path: &'a str,
    bytes: u64,
    int8_layers: usize,
    new: bool,
}

/// All is there.
#[derive(Serialize)]
struct QuantizedKeys<'a> {
    folder: &'a str,
    int8_layers: usize,
    max_rss_bytes: Option<u64>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, bar: None }
    }

    /// A file is read to know its hash.
    pub(crate) fn hashing(&mut self, name: &str, bytes: u64) {
        self.start(&format!("hash of {name}"), bytes);
    }

    /// A file is written, from so many bytes.
    pub(crate) fn begin(&mut self, name: &str, bytes: u64) {
        self.start(name, bytes);
        self.console
            .info(format_args!("{name}: from {bytes} bytes of weights"));
    }

    fn start(&mut self, label: &str, bytes: u64) {
        self.bar = None; // the line is free for the next
        self.bar = Some(self.console.bar(label, Some(bytes), Unit::Bytes));
    }

    pub(crate) fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.advance(bytes);
        }
    }

    /// A file is there.
    pub(crate) fn written(&mut self, path: &str, bytes: u64, int8_layers: usize, new: bool) {
        self.bar = None;
        let keys = WrittenKeys {
            path,
            bytes,
            int8_layers,
            new,
        };
        self.console.event("written", &keys);
        let was = if new { "" } else { ", there already" };
        self.console.info(format_args!(
            "{path}: {bytes} bytes, {int8_layers} layers of int8{was}"
        ));
    }

    pub(crate) fn done(&mut self, folder: &Path, int8_layers: usize) {
        self.bar = None;
        let keys = QuantizedKeys {
            folder: &folder.to_string_lossy(),
            int8_layers,
            max_rss_bytes: max_rss_bytes(),
        };
        self.console.event("quantized", &keys);
    }
}
