//! Hub ids, and the Hugging Face cache as the Python library lays it out.

use crate::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// `owner/name` with, where given, the branch, tag or commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelId {
    owner: String,
    name: String,
    revision: Option<String>,
}

impl ModelId {
    /// Reads `owner/name[@revision]`.
    ///
    /// Owner and name each match `[A-Za-z0-9][A-Za-z0-9._-]{0,95}` and have no `..` in them, so that an id cannot
    /// lead out of the cache. A revision is a commit hash, a branch or a tag; it may have `/` inside.
    ///
    /// # Errors
    /// [`Error::BadId`].
    pub fn parse(spec: &str) -> Result<Self> {
        let bad = |reason| Error::BadId {
            spec: spec.to_owned(),
            reason,
        };
        let (id, revision) = match spec.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (spec, None),
        };
        let Some((owner, name)) = id.split_once('/') else {
            return Err(bad("expected OWNER/NAME"));
        };
        if !is_name(owner) || !is_name(name) {
            return Err(bad(
                "owner and name are letters, digits, `.`, `_` and `-`, at most 96, starting with one of \
                            the former two, without `..`",
            ));
        }
        if revision.is_some_and(|r| !r.split('/').all(is_name)) {
            return Err(bad(
                "a revision is a commit hash, a branch or a tag, without `..`",
            ));
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }

    /// `owner/name`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The branch, tag or commit, where one was given.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The folder of this model below the cache's.
    pub fn cache_folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
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

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        self.revision
            .iter()
            .try_for_each(|revision| write!(f, "@{revision}"))
    }
}

fn is_name(text: &str) -> bool {
    let all = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    first && all && text.len() <= 96 && !text.contains("..")
}

/// The cache folder by the environment: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`,
/// which is `huggingface` in `XDG_CACHE_HOME`, which is `.cache` in the home folder.
///
/// # Errors
/// [`Error::NoCache`] if none of these nor a home folder is known.
pub fn cache_dir() -> Result<PathBuf> {
    cache_dir_from(|name| std::env::var_os(name), std::env::home_dir())
}

/// [`cache_dir`] with the environment as an argument. Unset and empty mean the same.
pub(crate) fn cache_dir_from(
    var: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Result<PathBuf> {
    let home = home.filter(|h| !h.as_os_str().is_empty());
    let folder = |name: &str| {
        let path = PathBuf::from(var(name).filter(|v| !v.is_empty())?);
        Some(expand_home(&path, home.as_deref()))
    };
    let huggingface = || {
        let cache = folder("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
        folder("HF_HOME").or_else(|| Some(cache?.join("huggingface")))
    };
    folder("HF_HUB_CACHE")
        .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(huggingface()?.join("hub")))
        .ok_or(Error::NoCache)
}

/// Replaces a leading `~` by the home folder, where there is one.
pub(crate) fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.to_owned(),
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The snapshot folder of a model in the cache, and its commit.
///
/// # Errors
/// The model or the revision is not there, or a shortened hash fits several commits.
pub(crate) fn snapshot(cache: &Path, id: &ModelId) -> Result<(PathBuf, String)> {
    let folder = cache.join(id.cache_folder());
    let snapshots = folder.join("snapshots");
    let cached: Vec<String> = {
        let entries = std::fs::read_dir(&snapshots)
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.retain(|name| is_commit(name) && snapshots.join(name).is_dir());
        names.sort();
        names
    };
    if cached.is_empty() {
        return Err(Error::NotInCache {
            id: id.to_string(),
            cache: cache.to_owned(),
        });
    }
    let revision = id.revision().unwrap_or("main");
    // A reference first, as git does: nothing keeps a branch from being called like a hash.
    let reference = std::fs::read_to_string(folder.join("refs").join(revision)).ok();
    let reference = reference
        .map(|text| text.trim().to_owned())
        .filter(|commit| cached.contains(commit));
    let commit = match reference {
        Some(commit) => commit,
        None => by_prefix(id, revision, &cached, cache)?,
    };
    Ok((snapshots.join(&commit), commit))
}

fn by_prefix(id: &ModelId, revision: &str, cached: &[String], cache: &Path) -> Result<String> {
    /// Fewer digits are a word sooner than a hash.
    const SHORTEST: usize = 4;
    let hash = is_hex(revision) && revision.len() >= SHORTEST;
    let fits: Vec<_> = cached
        .iter()
        .filter(|commit| hash && commit.starts_with(revision))
        .cloned()
        .collect();
    match &fits[..] {
        [commit] => Ok(commit.clone()),
        [] => Err(Error::NoSuchRevision {
            id: id.repository(),
            revision: revision.to_owned(),
            found: format!("there: {}", cached.join(", ")),
            cache: cache.to_owned(),
        }),
        _ => Err(Error::AmbiguousRevision {
            id: id.repository(),
            revision: revision.to_owned(),
            found: fits,
        }),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(vars: &[(&str, &str)], home: Option<&str>) -> Option<String> {
        let var = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        };
        let path = cache_dir_from(var, home.map(PathBuf::from)).ok()?;
        Some(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn cache_is_where_the_python_library_has_it() {
        let home = Some("/home/u");
        assert_eq!(dir(&[], home).unwrap(), "/home/u/.cache/huggingface/hub");
        assert_eq!(
            dir(&[("XDG_CACHE_HOME", "/x")], home).unwrap(),
            "/x/huggingface/hub"
        );
        assert_eq!(
            dir(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")], home).unwrap(),
            "/hf/hub"
        );
        assert_eq!(dir(&[("HF_HOME", "~/hf")], home).unwrap(), "/home/u/hf/hub");
        assert_eq!(
            dir(&[("HF_HOME", "")], home).unwrap(),
            "/home/u/.cache/huggingface/hub"
        );
        assert_eq!(
            dir(
                &[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")],
                home
            )
            .unwrap(),
            "/old"
        );
        let both = [("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")];
        assert_eq!(dir(&both, home).unwrap(), "/new");
        assert_eq!(dir(&[("HF_HUB_CACHE", "/new")], None).unwrap(), "/new");
        assert_eq!(dir(&[], None), None);
        assert_eq!(dir(&[], Some("")), None);
    }

    #[test]
    fn ids_cannot_lead_out_of_the_cache() {
        let long = "a".repeat(97);
        let bad = [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "a/b..c",
            ".a/b",
            "-a/b",
            "a/_b",
            "a b/c",
            "a/b\n",
            "ä/b",
            "a/b@",
            "a/b@..",
            "a/b@x/../y",
            "a/b@/etc",
            "a/b@x/",
            "a/b@x y",
            &format!("{long}/b"),
            "a\\b/c",
            "a:b/c",
        ];
        for spec in bad {
            let error = ModelId::parse(spec).expect_err(spec);
            assert!(matches!(&error, Error::BadId { .. }), "{error}");
            assert!(error.to_string().contains("--model demo"), "{error}");
        }
        for spec in [
            "a/b",
            "stabilityai/sdxl-turbo",
            "A1/b.c_d-e",
            "a/b@main",
            "a/b@refs/pr/1",
            "a/b@v1.0",
        ] {
            assert_eq!(ModelId::parse(spec).unwrap().to_string(), spec);
        }
        let id = ModelId::parse("stabilityai/sdxl-turbo@fp16").unwrap();
        assert_eq!(id.repository(), "stabilityai/sdxl-turbo");
        assert_eq!(id.revision(), Some("fp16"));
        assert_eq!(id.cache_folder(), "models--stabilityai--sdxl-turbo");
    }
}
