//! GET requests with the token kept at home: redirects are followed here, hop by hop, and the
//! token goes to the configured hub only.

use crate::absolute_form::{AbsoluteForm, PlainResolver, credentials, plain_proxy};
use crate::error::Error;
use crate::least_rate::{LeastRate, Patience};
use crate::origin::{Origin, origin_of};
use crate::proxy;
use crate::settings::Settings;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use ureq::Proxy;
use ureq::http::{HeaderMap, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HOPS: usize = 8;
/// What a client shows of a server's own words.
const MAX_MESSAGE: usize = 200;

/// Why a request brought nothing.
#[derive(Debug)]
pub enum HttpError {
    /// The connection failed or broke off.
    Connection {
        /// The server.
        host: String,
        /// The failure.
        why: String,
        /// The name is unknown or nobody listens: trying again at once is of little use.
        absent: bool,
        /// Trying again may help.
        again: bool,
    },
    /// The server answered with an error.
    Status(Status),
    /// A redirect that is not followed.
    Redirect(String),
}

impl HttpError {
    /// Whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection { again, .. } => *again,
            Self::Status(status) => matches!(status.code, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Redirect(_) => false,
        }
    }

    /// A few words for a log.
    pub fn brief(&self) -> String {
        match self {
            Self::Connection { host, why, .. } => format!("{host}: {why}"),
            Self::Status(status) => format!("{}: status {}", status.host, status.code),
            Self::Redirect(problem) => problem.clone(),
        }
    }
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// The server it came from.
    pub host: String,
    /// Whether that server is the configured hub.
    pub from_hub: bool,
    /// The hub's `X-Error-Code`, such as `GatedRepo`.
    pub error_code: String,
    /// The hub's `X-Error-Message`, made safe to print.
    pub message: String,
    /// Seconds the server asks to wait.
    pub retry_after: Option<u64>,
}

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    /// The server that sends the body.
    pub host: String,
    /// Headers of the hub's own answer (the first one, before any redirect to a storage host).
    pub hub_headers: HeaderMap,
    /// The last answer, with the body.
    pub response: ureq::http::Response<ureq::Body>,
    /// Time over which the body must not come too slowly.
    over: Duration,
    patience: Patience,
}

impl Answer {
    /// The body, which ends in an error if it comes too slowly.
    pub fn body(&mut self) -> impl Read + '_ {
        let body = self.response.body_mut().as_reader();
        LeastRate::new(body, self.over, self.patience.clone())
    }
}

/// Makes requests.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    settings: Settings,
    patience: Patience,
}

impl Client {
    /// A client for the hub that `settings` name.
    ///
    /// # Errors
    /// If the certificate file cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let proxies = Arc::new(settings.proxies.clone());
        let connector = DefaultConnector::new().chain(AbsoluteForm(proxies.clone()));
        Self::by(settings, connector, PlainResolver(proxies))
    }

    /// A client that connects in its own way.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub(crate) fn by(
        settings: &Settings,
        connector: impl Connector,
        resolver: impl Resolver,
    ) -> Result<Self, Error> {
        let mut config = ureq::Agent::config_builder()
            .user_agent(concat!("fetch-model/", env!("CARGO_PKG_VERSION")))
            // A compressed answer has other lengths and cannot be resumed.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(settings.read_timeout))
            // Each request is told its own.
            .proxy(None);
        if let Some(path) = &settings.certificates {
            config = config.tls_config(TlsConfig::builder().root_certs(read_roots(path)?).build());
        }
        let patience = Patience::default();
        let connector = connector.chain(patience.clone());
        Ok(Self {
            agent: ureq::Agent::with_parts(config.build(), connector, resolver),
            settings: settings.clone(),
            patience,
        })
    }

    /// Fetches `url`, from byte `start` on if that is not 0.
    ///
    /// # Errors
    /// [`HttpError`]; one try only.
    pub fn get(&self, url: &str, start: u64) -> Result<Answer, HttpError> {
        self.patience.end();
        let mut url = url.to_owned();
        let mut hub_headers = None;
        for _ in 0..MAX_HOPS {
            let origin = origin_of(&url)
                .ok_or_else(|| HttpError::Redirect("an address that is not http".into()))?;
            let at_hub = origin == self.settings.origin;
            let mut request = self.agent.get(&url);
            if start > 0 {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            if at_hub && let Some(token) = &self.settings.token {
                request =
                    request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
            }
            let proxy = self.settings.proxies.of(&origin);
            let plain = url
                .parse()
                .ok()
                .and_then(|uri| plain_proxy(&self.settings.proxies, &uri));
            let request = match (plain, proxy) {
                (Some(plain), _) => match credentials(plain) {
                    Some(credentials) => request.header(header::PROXY_AUTHORIZATION, credentials),
                    None => request,
                },
                (None, Some(proxy)) => request.config().proxy(Some(proxy.clone())).build(),
                (None, None) => request,
            };
            let response = request
                .call()
                .map_err(|e| connection_error(&origin, proxy, &e))?;
            let code = response.status().as_u16();
            if at_hub
                && hub_headers
                    .as_ref()
                    .is_none_or(|known: &HeaderMap| !known.contains_key("x-repo-commit"))
            {
                hub_headers = Some(response.headers().clone());
            }
            if matches!(code, 301 | 302 | 303 | 307 | 308) {
                url = redirect(&url, &origin, &text(response.headers(), "location"))?;
                continue;
            }
            if !matches!(code, 200 | 206) {
                return Err(HttpError::Status(Status {
                    code,
                    host: clip(origin.host()),
                    from_hub: at_hub,
                    error_code: text(response.headers(), "x-error-code"),
                    message: text(response.headers(), "x-error-message"),
                    retry_after: text(response.headers(), "retry-after").parse().ok(),
                }));
            }
            return Ok(Answer {
                host: clip(origin.host()),
                hub_headers: hub_headers.unwrap_or_default(),
                response,
                over: self.settings.read_timeout,
                patience: self.patience.clone(),
            });
        }
        Err(HttpError::Redirect(format!(
            "more than {MAX_HOPS} redirects"
        )))
    }
}

/// A server's words, cut to a length fit for a message.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// A header as printable text, cut to a sane length; empty if absent.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> String {
    let limit = if name == "location" || name == "link" {
        usize::MAX
    } else {
        MAX_MESSAGE
    };
    let value = headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    value
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii() && !c.is_control())
        .take(limit)
        .collect()
}

/// The address a redirect leads to.
fn redirect(from: &str, origin: &Origin, location: &str) -> Result<String, HttpError> {
    let target = resolve(from, location);
    let to = target.as_deref().and_then(origin_of);
    match (target, to) {
        (Some(_), Some(to)) if origin.is_https() && !to.is_https() => {
            Err(HttpError::Redirect(format!(
                "{} redirects from https to unencrypted http",
                clip(origin.host())
            )))
        }
        (Some(target), Some(_)) => Ok(target),
        _ => Err(HttpError::Redirect(format!(
            "{} redirects to no usable address",
            clip(origin.host())
        ))),
    }
}

/// Completes a `Location` (absolute, `//host/path` or `/path`) by the address it came from.
pub(crate) fn resolve(from: &str, location: &str) -> Option<String> {
    let (scheme, rest) = from.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    if location.contains("://") && !location.starts_with('/') {
        Some(location.to_owned())
    } else if let Some(rest) = location.strip_prefix("//") {
        Some(format!("{scheme}://{rest}"))
    } else if location.starts_with('/') {
        Some(format!("{scheme}://{host}{location}"))
    } else {
        None
    }
}

fn connection_error(origin: &Origin, proxy: Option<&Proxy>, error: &ureq::Error) -> HttpError {
    use ureq::Error as E;
    let refused = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
    // How rustls reports a certificate it does not trust, and whatever else is no TLS.
    let no_tls =
        |e: &std::io::Error| e.kind() == std::io::ErrorKind::InvalidData && origin.is_https();
    let by = proxy.map_or(String::new(), |proxy| {
        format!(", by the proxy {}", proxy::name(proxy))
    });
    let why = match error {
        E::HostNotFound => "host not found".into(),
        E::Io(e) if refused(e) => "connection refused".into(),
        E::Io(e) if no_tls(e) => {
            format!(
                "{e}; if your network has its own certificates, name their file in SSL_CERT_FILE"
            )
        }
        other => other.to_string(),
    };
    HttpError::Connection {
        host: clip(origin.host()),
        why: why + &by,
        absent: matches!(error, E::HostNotFound | E::ConnectionFailed)
            || matches!(error, E::Io(e) if refused(e)),
        again: !matches!(error, E::Io(e) if no_tls(e))
            && matches!(
                error,
                E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_)
            ),
    }
}

fn read_roots(path: &std::path::Path) -> Result<RootCerts, Error> {
    let pem = std::fs::read(path)
        .map_err(|e| Error::io("read the certificates of SSL_CERT_FILE in", path, e))?;
    let roots: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if roots.is_empty() {
        return Err(Error::setting(
            "SSL_CERT_FILE",
            format!("no certificate found in {}", path.display()),
        ));
    }
    Ok(roots.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_and_never_lose_encryption() {
        let from = "https://hub.example/a/resolve/x?y";
        assert_eq!(resolve(from, "/b?c").unwrap(), "https://hub.example/b?c");
        assert_eq!(
            resolve(from, "//cdn.example/b").unwrap(),
            "https://cdn.example/b"
        );
        assert_eq!(
            resolve(from, "https://cdn.example/b").unwrap(),
            "https://cdn.example/b"
        );
        let origin = origin_of(from).unwrap();
        assert!(redirect(from, &origin, "http://hub.example/b").is_err());
        assert!(redirect(from, &origin, "file:///etc/passwd").is_err());
        assert!(redirect(from, &origin, "").is_err());
    }
}
