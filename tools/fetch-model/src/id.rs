//! Names that a hub gives: commits, hashes and paths.
//!
//! All of them end up in file names or URLs, so nothing is used before it has been through here:
//! no `..`, no absolute path, no separator where none belongs. (Names that a user gives are [`turbo_weights::ModelId`].)

use std::fmt;

/// A commit of a repository: 40 hexadecimal digits, lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit(String);

impl Commit {
    /// Reads a commit, or `None` if the text is no whole commit hash.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, 40).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The hash that the hub names a file's content by; also the blob's file name in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentHash {
    /// Git's name of a small file: SHA-1 over `blob SIZE\0` and the content, 40 digits.
    Git(String),
    /// SHA-256 of a large file's content, 64 digits.
    Sha256(String),
}

impl ContentHash {
    /// Tells the kind of hash by its length; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match text.len() {
            40 if is_hex(text, 40) => Some(Self::Git(lower)),
            64 if is_hex(text, 64) => Some(Self::Sha256(lower)),
            _ => None,
        }
    }

    /// The digits, lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Git(digits) | Self::Sha256(digits) => digits,
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git(digits) => write!(f, "git {digits}"),
            Self::Sha256(digits) => write!(f, "sha256 {digits}"),
        }
    }
}

/// Whether a path listed by a server stays inside the folder it is put in.
pub fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && !path
            .chars()
            .any(|c| c.is_control() || c == '\\' || (cfg!(windows) && c == ':'))
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_climb() {
        for good in ["model_index.json", "unet/config.json", "a/b/c..d"] {
            assert!(is_safe_path(good), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "./a",
            "a/.",
            "C:\\x",
            "a\\..\\b",
            "a\nb",
        ] {
            assert!(!is_safe_path(bad), "{bad:?} was accepted");
        }
    }

    #[test]
    fn hashes_are_told_by_length() {
        let git = "A".repeat(40);
        assert_eq!(
            ContentHash::parse(&git),
            Some(ContentHash::Git("a".repeat(40)))
        );
        assert!(matches!(
            ContentHash::parse(&"0".repeat(64)),
            Some(ContentHash::Sha256(_))
        ));
        for bad in ["", "../../x", &"g".repeat(40), &"0".repeat(41)] {
            assert_eq!(ContentHash::parse(bad), None);
        }
    }
}
