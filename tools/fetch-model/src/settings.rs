//! What the environment says: cache folder, hub, token, offline mode.
//!
//! The variables are those of Python's `huggingface_hub` (`constants.py`), read in its order, so
//! that both look in the same place. An empty variable counts as unset.

use crate::error::Error;
use crate::origin::{Origin, origin_of};
use crate::proxy::Proxies;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use turbo_weights::{HubFolders, expand_home};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Longest silence of a server before the connection counts as dropped.
const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// An access token. It cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself, for the `Authorization` header only.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the cache: holds `models--owner--name`.
    pub cache: PathBuf,
    /// Base address of the hub, without a slash at its end.
    pub endpoint: String,
    /// Scheme, host and port of `endpoint`: the only place the token is sent to.
    pub origin: Origin,
    /// The token, if there is one and `endpoint` may see it.
    pub token: Option<Token>,
    /// There is a token, but `endpoint` is plain http on another host.
    pub token_withheld: bool,
    /// No network wanted.
    pub offline: bool,
    /// What goes through which proxy.
    pub proxies: Proxies,
    /// A file of PEM certificates to trust instead of the built-in ones.
    pub certificates: Option<PathBuf>,
    /// Longest silence of a server before the connection counts as dropped.
    pub read_timeout: Duration,
}

impl Settings {
    /// Reads the process environment.
    ///
    /// # Errors
    /// If a variable has a value that cannot be used; values that may be secret are not repeated.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// Reads settings from `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let user = get("HOME")
            .or_else(|| get("USERPROFILE"))
            .map(PathBuf::from);
        let path =
            |name: &str| get(name).map(|value| expand_home(Path::new(&value), user.as_deref()));

        let HubFolders { home, cache } = HubFolders::from_lookup(get, user.clone())?;
        // Absolute, because links are made and printed relative to it.
        let cache = std::path::absolute(&cache).map_err(|e| Error::io("find", &cache, e))?;

        let endpoint = match get("HF_ENDPOINT") {
            Some(value) => value
                .into_string()
                .map_err(|_| Error::setting("HF_ENDPOINT", "is not UTF-8"))?,
            None => DEFAULT_ENDPOINT.to_owned(),
        };
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        let origin = origin_of(&endpoint).ok_or_else(|| {
            Error::setting(
                "HF_ENDPOINT",
                "expected an address such as https://huggingface.co, with no user name in it",
            )
        })?;

        let token_file = path("HF_TOKEN_PATH").or_else(|| home.map(|dir| dir.join("token")));
        let from_env = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]
            .iter()
            .find_map(|&name| Some((name, get(name)?)));
        let is_on = |name: &str| get(name).is_some_and(|v| is_true(&v));
        let token = match from_env {
            // Nobody asked for it to be sent.
            _ if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") => None,
            Some((name, value)) => {
                let value = value
                    .into_string()
                    .map_err(|_| Error::setting(name, "is not UTF-8"))?;
                token(name, &value)?
            }
            None => match token_file.as_ref().map(std::fs::read_to_string) {
                Some(Ok(text)) => token("the token file", &text)?,
                // Not logged in. A token file that may not be read is no reason to stop either:
                // most models need none, and a refusal by the hub says how to log in.
                _ => None,
            },
        };
        let may_see = origin.is_https() || origin.is_loopback();
        let token_withheld = token.is_some() && !may_see;

        let read_timeout = match get("HF_HUB_DOWNLOAD_TIMEOUT") {
            Some(value) => value
                .to_str()
                .and_then(|text| text.trim().parse().ok())
                .filter(|&seconds: &u64| seconds > 0)
                .map(Duration::from_secs)
                .ok_or_else(|| {
                    Error::setting(
                        "HF_HUB_DOWNLOAD_TIMEOUT",
                        "expected a whole number of seconds",
                    )
                })?,
            None => DEFAULT_READ_TIMEOUT,
        };

        Ok(Self {
            cache,
            endpoint,
            origin,
            token: token.filter(|_| may_see),
            token_withheld,
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
                .iter()
                .any(|name| is_on(name)),
            proxies: Proxies::from_lookup(get)?,
            certificates: path("SSL_CERT_FILE"),
            read_timeout,
        })
    }
}

fn is_true(value: &OsString) -> bool {
    value.to_str().is_some_and(|text| {
        matches!(
            text.to_ascii_uppercase().as_str(),
            "1" | "ON" | "YES" | "TRUE"
        )
    })
}

/// Cleans a token (line ends and blanks around it are common) and refuses one that would break
/// the header it goes in. The text is never repeated.
fn token(source: &str, text: &str) -> Result<Option<Token>, Error> {
    let text = text.trim();
    if text.is_empty() {
        Ok(None)
    } else if text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(Token(text.to_owned())))
    } else {
        Err(Error::setting(
            source,
            "holds characters that no token has; copy it anew",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings, Error> {
        let vars: Vec<(String, OsString)> = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        Settings::from_lookup(|name| vars.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()))
    }

    fn cache(vars: &[(&str, &str)]) -> String {
        settings(vars).unwrap().cache.to_str().unwrap().to_owned()
    }

    #[test]
    fn cache_folder_in_the_order_of_huggingface_hub() {
        let home = ("HOME", "/h");
        let xdg = ("XDG_CACHE_HOME", "/x");
        let hf_home = ("HF_HOME", "~/hf");
        let old = ("HUGGINGFACE_HUB_CACHE", "/old");
        let new = ("HF_HUB_CACHE", "/new");
        assert_eq!(cache(&[home]), "/h/.cache/huggingface/hub");
        assert_eq!(cache(&[home, xdg]), "/x/huggingface/hub");
        assert_eq!(cache(&[home, xdg, hf_home]), "/h/hf/hub");
        assert_eq!(cache(&[home, xdg, hf_home, old]), "/old");
        assert_eq!(cache(&[home, xdg, hf_home, old, new]), "/new");
        assert_eq!(cache(&[home, ("HF_HOME", "")]), "/h/.cache/huggingface/hub");
        assert!(settings(&[]).is_err());
    }

    #[test]
    fn token_is_cleaned_withheld_and_never_shown() {
        let with = |more: &[(&str, &str)]| {
            settings(&[&[("HOME", "/h"), ("HF_TOKEN", " hf_secret\n")], more].concat()).unwrap()
        };
        assert_eq!(with(&[]).token.unwrap().secret(), "hf_secret");
        assert!(
            with(&[("HF_ENDPOINT", "http://127.0.0.1:8000")])
                .token
                .is_some()
        );
        let plain = with(&[("HF_ENDPOINT", "http://mirror.example")]);
        assert!(plain.token.is_none() && plain.token_withheld);
        assert!(!format!("{:?}", with(&[])).contains("hf_secret"));

        let bad = settings(&[("HOME", "/h"), ("HF_TOKEN", "hf_sec\nret")])
            .unwrap_err()
            .to_string();
        assert!(bad.contains("HF_TOKEN") && !bad.contains("sec"), "{bad}");
    }

    #[test]
    fn endpoint_is_checked() {
        let endpoint = |value| settings(&[("HOME", "/h"), ("HF_ENDPOINT", value)]);
        assert_eq!(
            endpoint("https://mirror.example/hub/").unwrap().endpoint,
            "https://mirror.example/hub"
        );
        for bad in [
            "mirror.example",
            "ftp://mirror.example",
            "https://",
            "https://user:pass@mirror.example",
        ] {
            let message = endpoint(bad).unwrap_err().to_string();
            assert!(
                message.contains("HF_ENDPOINT") && !message.contains("pass"),
                "{message}"
            );
        }
    }

    #[test]
    fn offline_as_python_reads_it() {
        let offline = |value| {
            settings(&[("HOME", "/h"), ("HF_HUB_OFFLINE", value)])
                .unwrap()
                .offline
        };
        assert!(offline("1") && offline("true") && offline("YES"));
        assert!(!offline("0") && !offline("") && !offline("no"));
    }
}
