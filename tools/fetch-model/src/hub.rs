//! The hub's API, as far as it is needed: what a revision is, which files it has, their content.

use crate::error::Error;
use crate::http::{Answer, Client, HttpError, Status, clip, resolve, text};
use crate::id::{Commit, ContentHash, is_safe_path};
use crate::retry::Retries;
use crate::settings::Settings;
use serde::Deserialize;
use std::io::Read;
use turbo_weights::ModelId;

/// Largest answer of the API that is read: a listing of 1,000 files has about 300 KB.
const ANSWER_LIMIT: u64 = 16 << 20;
/// Most pages of a listing that are asked for; a page has 1,000 files.
const PAGE_LIMIT: usize = 200;
/// Most files of all pages together, so that a listing is bounded in memory too.
const FILE_LIMIT: usize = 1000 * PAGE_LIMIT;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path from the repository's top, `/` between folders; never leads out of it.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What the content is named by.
    pub hash: ContentHash,
}

/// One model on the hub.
#[derive(Debug)]
pub struct Hub<'a> {
    client: &'a Client,
    settings: &'a Settings,
    /// `owner/name`.
    id: &'a str,
    retries: u32,
}

#[derive(Deserialize)]
struct RevisionInfo {
    sha: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    r#type: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl<'a> Hub<'a> {
    /// Model `id` on the hub of `settings`; a failing request is made at most `retries` times
    /// again.
    pub fn new(client: &'a Client, settings: &'a Settings, id: &'a ModelId, retries: u32) -> Self {
        Self {
            client,
            settings,
            id: id.repository(),
            retries,
        }
    }

    /// This client, with another number of retries.
    #[must_use]
    pub fn with_retries(&self, retries: u32) -> Self {
        Self { retries, ..*self }
    }

    /// The commit that `revision` is now.
    ///
    /// # Errors
    /// The model or revision does not exist or is private, or the hub cannot be reached.
    pub fn commit(&self, revision: &str) -> Result<Commit, Error> {
        let what = format!("{}@{revision}", self.id);
        let url = format!(
            "{}/api/models/{}/revision/{}",
            self.settings.endpoint,
            self.id,
            encode_path(revision).replace('/', "%2F")
        );
        let (info, _) = self.ask::<RevisionInfo>(&url, &what)?;
        Commit::parse(&info.sha).ok_or_else(|| Error::BadAnswer {
            what,
            problem: format!(
                "expected a commit of 40 hexadecimal digits, found {:?}",
                clip(&info.sha)
            ),
        })
    }

    /// All files of a commit.
    ///
    /// # Errors
    /// As [`Hub::commit`]; also if the listing has a path that leads out of the repository.
    pub fn files(&self, commit: &Commit) -> Result<Vec<RemoteFile>, Error> {
        let what = format!("{}: the list of files", self.id);
        let bad = |problem: String| Error::BadAnswer {
            what: what.clone(),
            problem,
        };
        let api = format!(
            "{}/api/models/{}/tree/{commit}",
            self.settings.endpoint, self.id
        );
        let mut url = format!("{api}?recursive=true");
        let mut files = Vec::new();
        for _ in 0..PAGE_LIMIT {
            let (entries, link) = self.ask::<Vec<TreeEntry>>(&url, &what)?;
            for entry in entries {
                if !is_safe_path(&entry.path) {
                    return Err(bad(format!(
                        "{:?} is no path inside a repository; do not trust this server",
                        clip(&entry.path)
                    )));
                }
                if entry.r#type != "file" {
                    continue;
                }
                let (digits, size) = match &entry.lfs {
                    Some(lfs) => (&lfs.oid, lfs.size),
                    None => (&entry.oid, entry.size),
                };
                let hash = ContentHash::parse(digits)
                    .filter(|hash| matches!(hash, ContentHash::Sha256(_)) == entry.lfs.is_some())
                    .ok_or_else(|| {
                        let digits = clip(digits);
                        bad(format!("{}: {digits:?} is no content hash", entry.path))
                    })?;
                if files.len() == FILE_LIMIT {
                    return Err(bad(format!("more than {FILE_LIMIT} files")));
                }
                files.push(RemoteFile {
                    path: entry.path,
                    size,
                    hash,
                });
            }
            match next_page(&link) {
                None => return Ok(files),
                Some(next) => {
                    url = resolve(&url, next)
                        // The API stays on the hub; a page elsewhere would be a stranger's.
                        .filter(|url| url.starts_with(&format!("{}/", self.settings.endpoint)))
                        .ok_or_else(|| {
                            let next = clip(next);
                            bad(format!("its next page is at {next:?}, not on this hub"))
                        })?;
                }
            }
        }
        Err(bad(format!("more than {PAGE_LIMIT} pages")))
    }

    /// Opens the content of a file from byte `start` on; one try.
    ///
    /// # Errors
    /// [`OpenError::Http`] for the caller to retry or explain; [`OpenError::Fatal`] if the hub
    /// announces other content than it listed.
    pub fn open(
        &self,
        commit: &Commit,
        file: &RemoteFile,
        start: u64,
    ) -> Result<Answer, OpenError> {
        let url = format!(
            "{}/{}/resolve/{commit}/{}",
            self.settings.endpoint,
            self.id,
            encode_path(&file.path)
        );
        let answer = self.client.get(&url, start).map_err(OpenError::Http)?;
        let differs = |name: &str, found: String, expected: &str| {
            if found.is_empty() || found == expected {
                return Ok(());
            }
            Err(OpenError::Fatal(Error::BadAnswer {
                what: file.path.clone(),
                problem: format!(
                    "{name}: expected {expected}, found {found}; run the same command again"
                ),
            }))
        };
        let header = |name| text(&answer.hub_headers, name);
        differs(
            "its commit",
            header("x-repo-commit").to_ascii_lowercase(),
            commit.as_str(),
        )?;
        differs("its size", header("x-linked-size"), &file.size.to_string())?;
        if matches!(file.hash, ContentHash::Sha256(_)) {
            let etag = header("x-linked-etag");
            let etag = etag
                .trim_start_matches("W/")
                .trim_matches('"')
                .to_ascii_lowercase();
            differs("its sha256", etag, file.hash.as_str())?;
        }
        Ok(answer)
    }

    /// Asks the API, again and again if need be. Gives the parsed answer and its `Link` header.
    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        url: &str,
        what: &str,
    ) -> Result<(T, String), Error> {
        let mut retries = Retries::new(self.retries);
        let (body, link) = loop {
            let result = self.client.get(url, 0).and_then(|mut answer| {
                let link = text(answer.response.headers(), "link");
                let mut body = Vec::new();
                let read = answer.body().take(ANSWER_LIMIT + 1).read_to_end(&mut body);
                match read {
                    Ok(_) => Ok((body, link)),
                    Err(error) => Err(broken_off(&answer.host, &error)),
                }
            });
            match result {
                Ok(answer) => break answer,
                Err(error) => {
                    // A host that is not there will not be there in a second either.
                    let absent = matches!(&error, HttpError::Connection { absent: true, .. });
                    if absent || !retries.wait(&error) {
                        return Err(self.explain(error, what));
                    }
                }
            }
        };
        let bad = |problem: String| Error::BadAnswer {
            what: what.to_owned(),
            problem,
        };
        if body.len() as u64 > ANSWER_LIMIT {
            return Err(bad(format!("an answer of more than {ANSWER_LIMIT} bytes")));
        }
        let parsed = serde_json::from_slice(&body).map_err(|e| {
            bad(format!(
                "{} answers, but not as a Hugging Face hub does ({}); check HF_ENDPOINT, or log in to your network",
                self.settings.origin.host(),
                clip(&e.to_string())
            ))
        })?;
        Ok((parsed, link))
    }

    /// Turns a failed request into words for the user.
    pub fn explain(&self, error: HttpError, what: &str) -> Error {
        match error {
            HttpError::Connection { host, why, .. } => Error::Unreachable {
                what: what.to_owned(),
                host,
                why,
            },
            HttpError::Redirect(problem) => Error::BadAnswer {
                what: what.to_owned(),
                problem,
            },
            HttpError::Status(Status {
                code: code @ 500..=599,
                host,
                ..
            }) => Error::Unreachable {
                what: what.to_owned(),
                host,
                why: format!("it answers {code}"),
            },
            HttpError::Status(status) => Error::Refused(self.explain_status(&status, what)),
        }
    }

    fn explain_status(&self, status: &Status, what: &str) -> String {
        let Status { code, host, .. } = status;
        let said = if status.message.is_empty() {
            String::new()
        } else {
            format!(" ({})", status.message)
        };
        let page = format!("{}/{}", self.settings.endpoint, self.id);
        let log_in = if self.settings.token.is_some() {
            "the token that was sent (HF_TOKEN, or the file of `hf auth login`) has no access"
        } else if self.settings.token_withheld {
            "no token was sent, as HF_ENDPOINT is unencrypted http"
        } else {
            "set HF_TOKEN to an access token (huggingface.co/settings/tokens), or run `hf auth login`"
        };
        if !status.from_hub {
            return format!(
                "{what}: the storage host {host} answers {code}{said}; run the same command again"
            );
        }
        match (code, status.error_code.as_str()) {
            (401 | 403, "GatedRepo") => {
                format!(
                    "{what}: {} is gated{said}: accept its licence at {page}; then {log_in}",
                    self.id
                )
            }
            (404, "RevisionNotFound") => {
                format!("{what}: the model has no such branch, tag or commit; see {page}/tree/main")
            }
            (404, "EntryNotFound") => format!("{what}: the file is not in this commit"),
            (401, _) | (404, "RepoNotFound" | "") => format!(
                "{what}: {host} answers {code}{said}: there is no such model, or it is private; check the name; {log_in}"
            ),
            (403, _) => {
                format!("{what}: {host} answers 403, access denied{said}: see {page}; {log_in}")
            }
            (429, _) => match status.retry_after {
                Some(seconds) => format!(
                    "{what}: {host} answers 429, too many requests: try again in {seconds} s; {log_in}"
                ),
                None => format!(
                    "{what}: {host} answers 429, too many requests: try again later; {log_in}"
                ),
            },
            _ => format!("{what}: {host} answers {code}{said}"),
        }
    }
}

/// Why content could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The request failed.
    Http(HttpError),
    /// Trying again would not help.
    Fatal(Error),
}

/// A body that ended in an error.
pub(crate) fn broken_off(host: &str, error: &std::io::Error) -> HttpError {
    HttpError::Connection {
        host: host.to_owned(),
        why: error.to_string(),
        absent: false,
        again: true,
    }
}

/// The address in `<...>; rel="next"` of a `Link` header.
fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|part| {
        let (url, rest) = part.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then_some(url)
    })
}

/// A path for a URL: all but letters, digits, `-._~` and `/` as `%XX`.
fn encode_path(path: &str) -> String {
    use std::fmt::Write as _;
    path.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            url.push(byte as char);
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_header() {
        let link = r#"<https://h/api?cursor=a>; rel="next", <https://h/x>; rel="first""#;
        assert_eq!(next_page(link), Some("https://h/api?cursor=a"));
        assert_eq!(next_page(r#"<https://h/x>; rel="prev""#), None);
        assert_eq!(next_page(""), None);
    }

    #[test]
    fn paths_are_encoded() {
        assert_eq!(encode_path("a b/ü?#%.txt"), "a%20b/%C3%BC%3F%23%25.txt");
    }
}
