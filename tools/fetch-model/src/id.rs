//! Names that come from outside: model ids, revisions, commits, hashes and paths.
//!
//! All of them end up in file names or URLs, so nothing is used before it has been through here:
//! no `..`, no absolute path, no separator where none belongs.

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// Longest part of a model id on the hub.
const PART_LIMIT: usize = 96;
/// Longest revision accepted; git itself stops at about this length.
const REVISION_LIMIT: usize = 250;

/// A model id on the hub: `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId(String);

impl ModelId {
    /// The id as text, `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ModelId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let part = |part: &str| {
            part.len() <= PART_LIMIT
                && part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && !part.ends_with(['-', '.'])
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
                // The cache writes `/` as `--`, so the hub allows neither in a name.
                && !part.contains("..")
                && !part.contains("--")
        };
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self(text.to_owned())),
            _ => Err(Error::BadModelId(text.to_owned())),
        }
    }
}

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

/// What follows the `@` of a model: a branch, a tag, a pull request (`refs/pr/1`) or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// The branch that is meant where none is named.
    pub const DEFAULT: &'static str = "main";

    /// The revision as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit, where the revision is one.
    pub fn commit(&self) -> Option<Commit> {
        Commit::parse(&self.0)
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
        let good = text.len() <= REVISION_LIMIT
            && text.chars().all(allowed)
            && text.split('/').all(|part| {
                !part.is_empty() && !part.starts_with(['.', '-']) && !part.contains("..")
            });
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::BadRevision(text.to_owned()))
        }
    }
}

/// `MODEL[@REVISION]` as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// The model.
    pub id: ModelId,
    /// Its revision; `main` where none was given.
    pub revision: Revision,
}

impl FromStr for ModelSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, revision.parse()?),
            None => (text, Revision::default()),
        };
        Ok(Self {
            id: id.parse()?,
            revision,
        })
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
    fn ids_are_owner_and_name() {
        for good in ["stabilityai/sdxl-turbo", "a/b", "Foo-BAR_foo.bar123/x_1.0"] {
            assert_eq!(good.parse::<ModelId>().unwrap().as_str(), good);
        }
        let long = format!("a/{}", "b".repeat(97));
        for bad in [
            "",
            "gpt2",
            "a/b/c",
            "../etc",
            "a/..",
            "a/.b",
            "a/b.",
            "-a/b",
            "a/b--c",
            "/a/b",
            "a/",
            "a\\b/c",
            "a b/c",
            "https://huggingface.co/a/b",
            "a/b\0",
            &long,
        ] {
            assert!(bad.parse::<ModelId>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn revisions_stay_in_their_folder() {
        for good in ["main", "v1.0", "refs/pr/12", "fp16", "feature/a_b+c"] {
            assert_eq!(good.parse::<Revision>().unwrap().as_str(), good);
        }
        for bad in [
            "", "..", "a/../b", "/abs", "a//b", "a/", ".hidden", "a b", "a\\b", "-x", "a\0",
        ] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn spec_splits_at_the_at_sign() {
        let spec: ModelSpec = "a/b@refs/pr/1".parse().unwrap();
        assert_eq!(
            (spec.id.as_str(), spec.revision.as_str()),
            ("a/b", "refs/pr/1")
        );
        let spec: ModelSpec = "a/b".parse().unwrap();
        assert_eq!(spec.revision.as_str(), "main");
        assert!("a/b@".parse::<ModelSpec>().is_err());
    }

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
