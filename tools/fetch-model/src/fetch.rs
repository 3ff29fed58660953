//! Brings one file into the cache: resumes, retries, checks.

use crate::cache::{ModelCache, create_parent};
use crate::error::Error;
use crate::http::{Answer, HttpError, text};
use crate::hub::{Hub, OpenError, RemoteFile, broken_off};
use crate::id::Commit;
use crate::partial::{Partial, hash_file};
use crate::retry::Retries;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

const CHUNK: usize = 256 << 10;
/// This many new bytes make a try a success, so that a long download over a bad line may break
/// off often, but not without end.
const PROGRESS: u64 = 1 << 20;

/// Is told how a download goes.
pub trait Watch {
    /// Bytes arrive from `from` (0, or where an earlier run stopped) to the file's size. Called
    /// again with 0 if the download has to start over.
    fn begin(&mut self, file: &RemoteFile, from: u64);
    /// `bytes` more have arrived.
    fn advance(&mut self, bytes: u64);
    /// Something the user may want to know.
    fn note(&mut self, text: &str);
    /// Something the user should know.
    fn warn(&mut self, text: &str);
}

/// What a run brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The commit.
    pub commit: Commit,
    /// The folder with the files.
    pub snapshot: PathBuf,
    /// Number of files the tools need.
    pub files: usize,
    /// How many of them were downloaded.
    pub downloaded_files: usize,
    /// Bytes that were downloaded.
    pub downloaded_bytes: u64,
}

/// Brings files of one model into the cache.
pub struct Fetch<'a> {
    /// Where they come from.
    pub hub: &'a Hub<'a>,
    /// Where they go.
    pub cache: &'a ModelCache,
    /// Failed tries in a row that are followed by another.
    pub retries: u32,
    /// Read what is in the cache, and replace it if it is damaged.
    pub verify: bool,
}

/// Why a try ended early.
enum Stop {
    /// Another may do better.
    Http(HttpError),
    /// What came is wrong: its size, or its hash.
    Wrong { expected: String, found: String },
    /// No other will do better.
    Fatal(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl Fetch<'_> {
    /// Makes `file` of `commit` whole in the cache and shows it in the snapshot. Gives the number
    /// of bytes that had to be downloaded, `None` if the content was there already.
    ///
    /// # Errors
    /// If it cannot be had, not after all retries; a partial file stays to be resumed, unless its
    /// content is wrong.
    pub fn file(
        &self,
        commit: &Commit,
        file: &RemoteFile,
        watch: &mut dyn Watch,
    ) -> Result<Option<u64>, Error> {
        if self.is_shown(commit, file, watch)? {
            return Ok(None);
        }
        if self.is_there(file, watch)? {
            self.cache.link(commit, &file.path, &file.hash)?;
            return Ok(None);
        }
        let _lock = self.cache.lock(&file.hash, || {
            watch.warn(&format!(
                "{}: another program is downloading it; waiting",
                file.path
            ));
        })?;
        let blob = self.cache.blob(&file.hash);
        if self.is_there(file, watch)? {
            self.cache.link(commit, &file.path, &file.hash)?;
            return Ok(None);
        }
        create_parent(&blob)?;
        let mut partial = Partial::open(self.cache.incomplete(&file.hash), file)?;
        let before = partial.received();
        if let Err(error) = self.fill(&mut partial, commit, file, watch) {
            if matches!(error, Error::WrongContent { .. }) {
                partial.discard();
            }
            return Err(error);
        }
        partial.finish(&blob)?;
        self.cache.link(commit, &file.path, &file.hash)?;
        Ok(Some(file.size - before))
    }

    /// Whether the snapshot has the file itself, as it is where the file system has no links. It may be damaged then.
    fn is_shown(
        &self,
        commit: &Commit,
        file: &RemoteFile,
        watch: &mut dyn Watch,
    ) -> Result<bool, Error> {
        let path = self.cache.snapshot(commit).join(&file.path);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == file.size => {}
            _ => return Ok(false),
        }
        if !self.verify || hash_file(&path, &file.hash)? == file.hash {
            return Ok(true);
        }
        watch.warn(&format!(
            "{}: damaged in the cache; fetching it anew",
            file.path
        ));
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        Ok(false)
    }

    /// Whether the content is in the cache. Something else under its name is not.
    fn is_there(&self, file: &RemoteFile, watch: &mut dyn Watch) -> Result<bool, Error> {
        let blob = self.cache.blob(&file.hash);
        match fs::metadata(&blob) {
            Ok(metadata) if metadata.is_file() && metadata.len() == file.size => {
                if !self.verify || hash_file(&blob, &file.hash)? == file.hash {
                    return Ok(true);
                }
                watch.warn(&format!(
                    "{}: damaged in the cache; fetching it anew",
                    file.path
                ));
                fs::remove_file(&blob).map_err(|e| Error::io("remove", &blob, e))?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn fill(
        &self,
        partial: &mut Partial<'_>,
        commit: &Commit,
        file: &RemoteFile,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let mut retries = Retries::new(self.retries);
        let mut best = partial.received();
        let mut was_wrong = false;
        watch.begin(file, partial.received());
        loop {
            let stop = if partial.missing() > 0 {
                self.attempt(partial, commit, file, watch).err()
            } else {
                None
            };
            let stop = match stop {
                None => match partial.hash() {
                    found if found == file.hash => return Ok(()),
                    found => Stop::Wrong {
                        expected: file.hash.to_string(),
                        found: found.to_string(),
                    },
                },
                Some(stop) => stop,
            };
            match stop {
                Stop::Fatal(error) => return Err(error),
                Stop::Wrong { expected, found } => {
                    partial.clear()?;
                    if was_wrong {
                        return Err(Error::WrongContent {
                            path: file.path.clone(),
                            expected,
                            found,
                        });
                    }
                    was_wrong = true;
                    best = 0;
                    watch.warn(&format!(
                        "{}: expected {expected}, found {found}; discarded, trying once more",
                        file.path
                    ));
                    watch.begin(file, 0);
                }
                Stop::Http(error) => {
                    let beyond = matches!(&error, HttpError::Status(status) if status.code == 416)
                        && partial.received() > 0;
                    if beyond {
                        // The server has less than was there before: not the same content.
                        partial.clear()?;
                        best = 0;
                        watch.begin(file, 0);
                        continue;
                    }
                    if partial.received() >= best + PROGRESS {
                        best = partial.received();
                        retries.progress();
                    }
                    watch.note(&format!("{}: {}", file.path, error.brief()));
                    if !retries.wait(&error) {
                        return Err(self.hub.explain(error, &file.path));
                    }
                }
            }
        }
    }

    /// One request, from where `partial` ends to the end of the file.
    fn attempt(
        &self,
        partial: &mut Partial<'_>,
        commit: &Commit,
        file: &RemoteFile,
        watch: &mut dyn Watch,
    ) -> Result<(), Stop> {
        let mut answer = self
            .hub
            .open(commit, file, partial.received())
            .map_err(|e| match e {
                OpenError::Http(error) => Stop::Http(error),
                OpenError::Fatal(error) => Stop::Fatal(error),
            })?;
        if partial.received() > 0 && !continues(&answer, partial.received(), file.size) {
            // It sends the file from its start, as every server may.
            if answer.response.status().as_u16() != 200 {
                return Err(Stop::Fatal(Error::BadAnswer {
                    what: file.path.clone(),
                    problem: format!(
                        "expected bytes {}-{}/{}, found {}",
                        partial.received(),
                        file.size - 1,
                        file.size,
                        text(answer.response.headers(), "content-range")
                    ),
                }));
            }
            watch.note(&format!(
                "{}: {} cannot resume; starting over",
                file.path, answer.host
            ));
            partial.clear()?;
            watch.begin(file, 0);
        }
        let wrong_size = |found: String| Stop::Wrong {
            expected: format!("{} bytes", file.size),
            found,
        };
        if let Ok(announced) = text(answer.response.headers(), "content-length").parse::<u64>()
            && announced != partial.missing()
        {
            return Err(wrong_size(format!(
                "{} bytes",
                partial.received().saturating_add(announced)
            )));
        }
        // One more than is missing, to notice if there is more.
        let limit = partial.missing().saturating_add(1);
        let host = answer.host.clone();
        let mut body = answer.body().take(limit);
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Stop::Http(broken_off(&host, &e))),
            };
            if n as u64 > partial.missing() {
                return Err(wrong_size(format!("more than {} bytes", file.size)));
            }
            partial.push(&chunk[..n])?;
            watch.advance(n as u64);
        }
        if partial.missing() > 0 {
            let why = format!("ended after {} of {} bytes", partial.received(), file.size);
            return Err(Stop::Http(broken_off(&host, &std::io::Error::other(why))));
        }
        Ok(())
    }
}

/// Whether an answer sends the rest of the file from byte `start` on.
fn continues(answer: &Answer, start: u64, size: u64) -> bool {
    let range = text(answer.response.headers(), "content-range");
    answer.response.status().as_u16() == 206
        && range
            .strip_prefix("bytes ")
            .and_then(|range| range.split_once('/'))
            .and_then(|(range, total)| Some((range.split_once('-')?.0, total)))
            .is_some_and(|(first, total)| {
                first.parse() == Ok(start) && (total.parse() == Ok(size) || total == "*")
            })
}
