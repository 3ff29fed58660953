//! Tells the user how it goes: a bar, or JSON lines.

use crate::fetch::{Fetched, Watch};
use crate::hub::RemoteFile;
use serde::Serialize;
use std::time::{Duration, Instant};
use turbo_cli::{Bar, Console, Unit};
use turbo_weights::ModelId;

/// Time between two JSON lines about one file.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Report<'a> {
    console: &'a Console,
    current: Option<Current>,
}

/// How far a file is; documented in PROGRESS.md of turbo-cli, as the next.
#[derive(Serialize)]
struct DownloadKeys<'a> {
    path: &'a str,
    bytes: u64,
    size: u64,
    resumed_from: u64,
    done: bool,
}

/// All is there.
#[derive(Serialize)]
struct FetchedKeys<'a> {
    model: &'a str,
    commit: &'a str,
    snapshot: &'a str,
    files: usize,
    downloaded_files: usize,
    downloaded_bytes: u64,
}

struct Current {
    bar: Bar,
    path: String,
    size: u64,
    from: u64,
    bytes: u64,
    told: Instant,
}

impl<'a> Report<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self {
            console,
            current: None,
        }
    }

    pub(crate) fn fetched(&mut self, model: &ModelId, fetched: &Fetched) {
        self.current = None;
        let Fetched {
            commit,
            snapshot,
            files,
            downloaded_files,
            downloaded_bytes,
        } = fetched;
        self.console.event(
            "fetched",
            &FetchedKeys {
                model: model.repository(),
                commit: commit.as_str(),
                snapshot: &snapshot.to_string_lossy(),
                files: *files,
                downloaded_files: *downloaded_files,
                downloaded_bytes: *downloaded_bytes,
            },
        );
        self.console.info(format_args!(
            "{}: {files} files, {downloaded_files} of them downloaded ({downloaded_bytes} bytes)",
            model.repository()
        ));
    }

    fn tell_current(&mut self, now: Instant) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.told = now;
        self.console.event(
            "download",
            &DownloadKeys {
                path: &current.path,
                bytes: current.bytes,
                size: current.size,
                resumed_from: current.from,
                done: current.bytes == current.size,
            },
        );
    }
}

impl Watch for Report<'_> {
    fn begin(&mut self, file: &RemoteFile, from: u64) {
        self.current = None;
        self.current = Some(Current {
            bar: self
                .console
                .bar(&file.path, Some(file.size - from), Unit::Bytes),
            path: file.path.clone(),
            size: file.size,
            from,
            bytes: from,
            told: Instant::now(),
        });
        if from > 0 {
            self.note(&format!(
                "{}: going on at byte {from} of {}",
                file.path, file.size
            ));
        } else {
            self.note(&format!("{}: {} bytes", file.path, file.size));
        }
    }

    fn advance(&mut self, bytes: u64) {
        let now = Instant::now();
        let Some(current) = &mut self.current else {
            return;
        };
        current.bytes += bytes;
        current.bar.advance(bytes);
        if current.bytes == current.size || now - current.told >= EVERY {
            self.tell_current(now);
        }
    }

    fn note(&mut self, text: &str) {
        self.console.info(text);
    }

    fn warn(&mut self, text: &str) {
        self.console.warn(text);
    }
}
