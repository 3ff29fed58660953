//! What can go wrong, in words that say what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A failed fetch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An environment variable, or the token file, cannot be used.
    #[error("{name}: {problem}")]
    Setting {
        /// Name of the variable.
        name: String,
        /// What is wrong with its value.
        problem: String,
    },

    /// Neither a home folder nor a cache folder is known.
    #[error(transparent)]
    NoCache(#[from] turbo_weights::Error),

    /// The file system refused.
    #[error("cannot {action} {path}: {source}{remedy}", path = path.display(), remedy = remedy(source))]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// The hub could not be reached, stopped answering, or has trouble of its own.
    #[error(
        "{what}: cannot be had from {host}: {why}; check the network, HTTPS_PROXY and HF_ENDPOINT, then run the same command again: it goes on where it stopped"
    )]
    Unreachable {
        /// What was asked for.
        what: String,
        /// The server.
        host: String,
        /// The last failure.
        why: String,
    },

    /// The hub answered, but not with what was asked for. The text is whole.
    #[error("{0}")]
    Refused(String),

    /// An answer makes no sense, or is not to be trusted.
    #[error("{what}: {problem}")]
    BadAnswer {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        problem: String,
    },

    /// The repository has not what the tools need.
    #[error("{0}")]
    Unsuitable(String),

    /// The content is wrong, twice.
    #[error(
        "{path}: wrong content, twice: expected {expected}, found {found}; nothing of it was kept; something on the way may be changing downloads: try another network or HF_ENDPOINT"
    )]
    WrongContent {
        /// The file in the repository.
        path: String,
        /// Hash or size by the hub's listing.
        expected: String,
        /// Hash or size of what arrived.
        found: String,
    },

    /// A file in the cache is not what its name says, and there is no network to mend it.
    #[error("{path}: damaged: expected {expected}, found {found}; run again with --verify and without HF_HUB_OFFLINE to fetch it anew", path = path.display())]
    Damaged {
        /// The file in the cache.
        path: PathBuf,
        /// Hash by its name, in words.
        expected: String,
        /// Hash of its content, in words.
        found: String,
    },

    /// Offline, and not all is in the cache.
    #[error("{model} is not wholly in the cache {cache}: {missing}; HF_HUB_OFFLINE is set, so nothing was downloaded: unset it and run again", cache = cache.display())]
    Offline {
        /// The model with its revision.
        model: String,
        /// The cache folder.
        cache: PathBuf,
        /// The first thing that is missing.
        missing: String,
    },
}

impl Error {
    /// A file system error with its context.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn setting(name: &str, problem: impl Into<String>) -> Self {
        Self::Setting {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or set HF_HUB_CACHE to a folder on another disk; run again to go on where it stopped"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; set HF_HUB_CACHE to a folder that can be written"
        }
        _ => "",
    }
}
