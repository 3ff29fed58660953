//! The Hugging Face cache as the Python library lays it out.

use super::id::ModelId;
use crate::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the Python library keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFolders {
    /// `HF_HOME`, which is `huggingface` in `XDG_CACHE_HOME`, which is `.cache` in the home folder. None where only
    /// the cache's folder is known.
    pub home: Option<PathBuf>,
    /// The cache: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `home`. Holds `models--OWNER--NAME`.
    pub cache: PathBuf,
}

impl HubFolders {
    /// The folders by the environment.
    ///
    /// # Errors
    /// [`Error::NoCache`] if no variable tells the cache and there is no home folder.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(|name| std::env::var_os(name), std::env::home_dir())
    }

    /// The folders by an environment that `var` tells. Unset and empty mean the same, and a leading `~` is `home`.
    ///
    /// # Errors
    /// [`HubFolders::from_env`]'s.
    pub fn from_lookup(
        var: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self> {
        let user = home.filter(|h| !h.as_os_str().is_empty());
        let folder = |name: &str| {
            let path = PathBuf::from(var(name).filter(|v| !v.is_empty())?);
            Some(expand_home(&path, user.as_deref()))
        };
        let xdg = || folder("XDG_CACHE_HOME").or_else(|| Some(user.as_ref()?.join(".cache")));
        let home = folder("HF_HOME").or_else(|| Some(xdg()?.join("huggingface")));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")))
            .ok_or(Error::NoCache)?;
        Ok(Self { home, cache })
    }
}

/// Replaces a leading `~` by the home folder, where there is one.
pub fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
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
    let revision = id.revision_or_default();
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

/// A file of a model's snapshot in the cache, and the commit.
///
/// # Errors
/// [`snapshot`]'s; the file is not there.
pub(crate) fn file(cache: &Path, id: &ModelId, file: &str) -> Result<(PathBuf, String)> {
    let missing = || Error::FileNotInCache {
        id: id.to_string(),
        file: file.to_owned(),
        cache: cache.to_owned(),
    };
    let inside = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    if !file.split('/').all(inside) {
        return Err(missing());
    }
    let (folder, commit) = snapshot(cache, id).map_err(|error| match error {
        Error::NotInCache { .. } => missing(),
        other => other,
    })?;
    let path = folder.join(file);
    if path.is_file() {
        Ok((path, commit))
    } else {
        Err(missing())
    }
}

fn by_prefix(id: &ModelId, revision: &str, cached: &[String], cache: &Path) -> Result<String> {
    /// With fewer digits a revision is a word rather than a hash.
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
            id: id.repository().to_owned(),
            revision: revision.to_owned(),
            found: format!("there: {}", cached.join(", ")),
            cache: cache.to_owned(),
        }),
        _ => Err(Error::AmbiguousRevision {
            id: id.repository().to_owned(),
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
        let folders = HubFolders::from_lookup(var, home.map(PathBuf::from)).ok()?;
        Some(folders.cache.to_str().unwrap().to_owned())
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
}
