//! Where an address leads: what a token may be sent to depends on it.

use ureq::http::Uri;

/// Scheme, host and port of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    /// The host's name, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// The origin of an absolute http or https address; `None` for anything else, or if it carries a
/// user name.
pub(crate) fn origin_of(url: &str) -> Option<Origin> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    Some(Origin {
        host: authority.host().to_ascii_lowercase(),
        port: authority.port_u16().unwrap_or(default_port),
        scheme,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let hub = origin_of("https://huggingface.co/a/b").unwrap();
        assert_eq!(origin_of("https://HuggingFace.co:443/x").unwrap(), hub);
        for other in [
            "http://huggingface.co/",
            "https://huggingface.co:444/",
            "https://cdn.huggingface.co/",
        ] {
            assert_ne!(origin_of(other).unwrap(), hub, "{other}");
        }
        assert!(origin_of("https://user@huggingface.co/").is_none());
        assert!(origin_of("file:///etc/passwd").is_none());
        assert!(origin_of("http://127.0.0.1:8/").unwrap().is_loopback());
        assert!(origin_of("http://[::1]:8/").unwrap().is_loopback());
        assert!(
            !origin_of("http://127.0.0.1.example/")
                .unwrap()
                .is_loopback()
        );
    }
}
