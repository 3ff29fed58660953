//! Hub ids, by the hub's own rules.

use crate::error::InvalidId;
use std::str::FromStr;

/// Longest part of an id on the hub.
const PART_LIMIT: usize = 96;
/// Longest revision; a file system takes no longer name.
const REVISION_LIMIT: usize = 250;

/// `owner/name` with, where given, the branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    repository: String,
    revision: Option<String>,
}

impl ModelId {
    /// The branch that is meant where none is named.
    pub const DEFAULT_REVISION: &'static str = "main";

    /// `owner/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The branch, tag or commit, where one was given.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The branch, tag or commit, `main` where none was given.
    pub fn revision_or_default(&self) -> &str {
        self.revision().unwrap_or(Self::DEFAULT_REVISION)
    }

    /// The folder of this model below the cache's.
    pub fn cache_folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }

    /// The same model at another revision.
    #[must_use]
    pub(crate) fn at(&self, revision: &str) -> Self {
        Self {
            revision: Some(revision.to_owned()),
            ..self.clone()
        }
    }
}

/// Reads `owner/name[@revision]`.
///
/// Owner and name by the rule of Python's `huggingface_hub` (`validate_repo_id`): letters, digits, `.`, `_` and `-`,
/// at most 96, neither `.` nor `-` at an end, no `--` and no `..`, so that an id cannot lead out of the cache. A
/// revision by git's (`git check-ref-format`), or a commit.
impl FromStr for ModelId {
    type Err = InvalidId;

    fn from_str(spec: &str) -> Result<Self, InvalidId> {
        let bad = |reason| InvalidId {
            spec: spec.to_owned(),
            reason,
        };
        let (id, revision) = match spec.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (spec, None),
        };
        let Some((owner, name)) = id.split_once('/') else {
            return Err(bad("expected OWNER/NAME, such as stabilityai/sdxl-turbo"));
        };
        if !is_part(owner) || !is_part(name) {
            return Err(bad(
                "owner and name are letters, digits, `.`, `_` and `-`, at most 96, with neither `.` nor `-` at an \
                 end, without `--` and `..`",
            ));
        }
        if name.strip_suffix(".git").is_some() {
            return Err(bad("leave out `.git`"));
        }
        if revision.is_some_and(|revision| !is_revision(revision)) {
            return Err(bad(
                "a revision is a branch or a tag as git allows it, or a commit: no `..`, no blanks, none of ~^:?*[\\",
            ));
        }
        Ok(Self {
            repository: id.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repository)?;
        self.revision
            .iter()
            .try_for_each(|revision| write!(f, "@{revision}"))
    }
}

fn is_part(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= PART_LIMIT
        && bytes.first().is_some_and(|c| word(*c))
        && bytes.last().is_some_and(|c| word(*c))
        && bytes.iter().all(|c| word(*c) || matches!(c, b'.' | b'-'))
        && !text.contains("..")
        && !text.contains("--")
}

/// What `git check-ref-format --branch` takes, and nothing that could lead out of a folder.
fn is_revision(text: &str) -> bool {
    let forbidden =
        |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    text.len() <= REVISION_LIMIT
        && text != "@"
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains(forbidden)
        && !text.contains("..")
        && !text.contains("@{")
        && text.split('/').all(|part| {
            !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_hubs() {
        let long = "a".repeat(97);
        let bad = [
            "",
            "a",
            "gpt2",
            "a/",
            "/b",
            "/a/b",
            "a/b/c",
            "../etc",
            "a/..",
            "a/b..c",
            "a/b--c",
            ".a/b",
            "-a/b",
            "a/b.",
            "a/b-",
            "a/.b",
            "a/b.git",
            "a b/c",
            "a/b\n",
            "a/b\0",
            "ä/b",
            "a\\b/c",
            "a:b/c",
            "https://huggingface.co/a/b",
            &format!("{long}/b"),
            &format!("a/{long}"),
        ];
        for spec in bad {
            let error = spec.parse::<ModelId>().expect_err(spec);
            assert_eq!(error.spec, spec);
        }
        for spec in [
            "a/b",
            "stabilityai/sdxl-turbo",
            "A1/b.c_d-e",
            "a/_b_",
            "Foo-BAR_foo.bar123/x_1.0",
        ] {
            assert_eq!(spec.parse::<ModelId>().unwrap().to_string(), spec);
        }
    }

    /// As `git check-ref-format --branch` has them.
    #[test]
    fn revisions_are_gits() {
        for revision in [
            "", "..", "x/../y", "/etc", "x/", "x//y", "x y", "x\\y", "x\0", ".hidden", "x/.y",
            "-x", "x.", "x.lock", "x.lock/y", "@", "x@{1}", "x~1", "x^", "x:y", "x?", "x*", "x[",
            "x\n",
        ] {
            let spec = format!("a/b@{revision}");
            assert!(
                spec.parse::<ModelId>().is_err(),
                "{revision:?} was accepted"
            );
        }
        for revision in [
            "main",
            "v1.0",
            "fp16",
            "refs/pr/1",
            "feature/a_b+c",
            "release@2",
            "größe",
            "_x",
            "issue#7",
            "50%",
            "a'b\"c;d",
        ] {
            let id: ModelId = format!("a/b@{revision}").parse().unwrap();
            assert_eq!(id.revision(), Some(revision));
            assert_eq!(id.to_string(), format!("a/b@{revision}"));
        }
        let id: ModelId = "a/b".parse().unwrap();
        assert_eq!((id.revision(), id.revision_or_default()), (None, "main"));
        assert_eq!(id.cache_folder(), "models--a--b");
    }
}
