//! Tells the user how it goes: a bar, or JSON lines.

use crate::fetch::Watch;
use crate::hub::RemoteFile;
use crate::id::ModelSpec;
use crate::{Args, Fetched};
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};
use turbo_cli::{Bar, Console, Progress, Unit};

/// Time between two JSON lines about one file.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Report<'a> {
    console: &'a Console,
    json: bool,
    current: Option<Current>,
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
            json: wants_json(),
            current: None,
        }
    }

    pub(crate) fn fetched(&mut self, model: &ModelSpec, fetched: &Fetched) {
        self.current = None;
        let Fetched {
            commit,
            snapshot,
            files,
            downloaded_files,
            downloaded_bytes,
        } = fetched;
        self.tell(&json!({
            "event": "fetched",
            "tool": self.console.tool(),
            "model": model.id.as_str(),
            "commit": commit.as_str(),
            "snapshot": snapshot.to_string_lossy(),
            "files": files,
            "downloaded_files": downloaded_files,
            "downloaded_bytes": downloaded_bytes,
        }));
        self.console.info(format_args!(
            "{}: {files} files, {downloaded_files} of them downloaded ({downloaded_bytes} bytes)",
            model.id
        ));
    }

    fn tell_current(&mut self, now: Instant) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.told = now;
        let event = json!({
            "event": "download",
            "tool": self.console.tool(),
            "path": current.path,
            "bytes": current.bytes,
            "size": current.size,
            "resumed_from": current.from,
            "done": current.bytes == current.size,
        });
        self.tell(&event);
    }

    fn tell(&self, event: &serde_json::Value) {
        if self.json {
            // In one piece, so that lines of several tools do not mix; a closed stderr is no
            // reason to stop a download.
            let _ = std::io::stderr().write_all(format!("{event}\n").as_bytes());
        }
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

/// Whether `--progress json` was given. The flag is the console's; its value is read from the
/// same definition.
fn wants_json() -> bool {
    turbo_cli::command::<Args>()
        .try_get_matches_from(std::env::args_os())
        .is_ok_and(|matches| matches.get_one::<Progress>("progress") == Some(&Progress::Json))
}
