//! Which proxy an address goes through, by the variables that curl reads.
//!
//! - `https_proxy` for https addresses, `http_proxy` for http ones, `all_proxy` for both where they are not set; each
//!   also in capitals, small letters first.
//! - `http://`, `https://`, `socks4://`, `socks4a://`, `socks5://` (the name is looked up here) and `socks5h://` (there);
//!   `http://` where nothing is said. Anything else is an error, never a direct connection.
//! - `no_proxy`: names (with all below them), addresses, networks in CIDR notation, or `*`, with commas between.
//!
//! This machine is never asked for by way of a proxy: a token for it must not travel.

use crate::error::Error;
use crate::origin::Origin;
use std::ffi::OsString;
use std::net::IpAddr;
use ureq::Proxy;

/// The proxies of a run.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<String>,
}

impl Proxies {
    /// Reads the variables by `get`, which gives none for an empty one.
    ///
    /// # Errors
    /// A variable that counts has a value that cannot be used. It is not repeated, since it may hold a password.
    pub fn from_lookup(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let first = |names: [&str; 2]| {
            names.into_iter().find_map(|name| {
                let both = [name.to_owned(), name.to_ascii_uppercase()];
                both.into_iter().find_map(|name| Some((get(&name)?, name)))
            })
        };
        let proxy = |names| match first(names) {
            Some((value, name)) => parse(&name, &value).map(Some),
            None => Ok(None),
        };
        let exceptions =
            first(["no_proxy"; 2]).map(|(value, _)| value.to_string_lossy().into_owned());
        Ok(Self {
            https: proxy(["https_proxy", "all_proxy"])?,
            http: proxy(["http_proxy", "all_proxy"])?,
            exceptions: exceptions
                .unwrap_or_default()
                .split([',', ' '])
                .map(|entry| {
                    entry
                        .trim()
                        .trim_start_matches('.')
                        .trim_end_matches('.')
                        .to_ascii_lowercase()
                })
                .filter(|entry| !entry.is_empty())
                .collect(),
        })
    }

    /// The proxy for an address; none if it is asked for directly.
    pub fn of(&self, origin: &Origin) -> Option<&Proxy> {
        if origin.is_loopback() || self.is_exception(origin.host()) {
            return None;
        }
        if origin.is_https() {
            &self.https
        } else {
            &self.http
        }
        .as_ref()
    }

    fn is_exception(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let address: Option<IpAddr> = host.parse().ok();
        self.exceptions.iter().any(|entry| {
            if entry == "*" {
                return true;
            }
            match address {
                Some(address) => {
                    covers(entry.trim_start_matches('[').trim_end_matches(']'), address)
                }
                None => host
                    .strip_suffix(entry.trim_start_matches("*."))
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            }
        })
    }
}

/// How a proxy is named in messages: without user and password.
pub(crate) fn name(proxy: &Proxy) -> String {
    format!("{}://{}:{}", proxy.protocol(), proxy.host(), proxy.port()).to_ascii_lowercase()
}

fn parse(name: &str, value: &OsString) -> Result<Proxy, Error> {
    const KINDS: &str = "http, https, socks4, socks4a, socks5 or socks5h";
    let value = value
        .to_str()
        .ok_or_else(|| Error::setting(name, "is not UTF-8"))?
        .trim();
    if let Some((scheme, _)) = value.split_once("://")
        && !KINDS
            .split([' ', ','])
            .any(|kind| kind.eq_ignore_ascii_case(scheme))
        && !scheme.eq_ignore_ascii_case("socks")
    {
        let scheme: String = scheme
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(20)
            .collect();
        return Err(Error::setting(
            name,
            format!("a proxy of kind {scheme}:// is not supported; expected {KINDS}"),
        ));
    }
    let bad = || {
        Error::setting(
            name,
            "expected the address of a proxy, such as http://proxy.example:3128 or socks5h://127.0.0.1:1080",
        )
    };
    let proxy = Proxy::new(value).map_err(|_| bad())?;
    let authority = proxy.uri().authority().ok_or_else(bad)?;
    let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
    // ureq takes a port that is no number for none.
    if host_and_port != authority.host() && authority.port_u16().is_none()
        || authority.host().is_empty()
    {
        return Err(bad());
    }
    Ok(proxy)
}

/// Whether `entry`, an address or a network such as `10.0.0.0/8`, covers `address`.
fn covers(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        Some((network, bits)) => (network, bits.parse::<u32>().ok()),
        None => (entry, Some(128)),
    };
    let (Ok(network), Some(bits)) = (network.parse::<IpAddr>(), bits) else {
        return false;
    };
    let same = |a: u128, b: u128, width: u32| {
        (a ^ b).checked_shr(width - bits.min(width)).unwrap_or(0) == 0
    };
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::origin_of;

    fn proxies(vars: &[(&str, &str)]) -> Result<Proxies, Error> {
        Proxies::from_lookup(|name| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        })
    }

    fn of(vars: &[(&str, &str)], url: &str) -> Option<String> {
        proxies(vars)
            .unwrap()
            .of(&origin_of(url).unwrap())
            .map(name)
    }

    #[test]
    fn each_scheme_has_its_variable_as_in_curl() {
        let (http, https) = ("http://h.example/", "https://h.example/");
        let vars = [
            ("https_proxy", "http://s:1"),
            ("HTTPS_PROXY", "http://S:2"),
            ("HTTP_PROXY", "p:3"),
        ];
        assert_eq!(of(&vars, https).unwrap(), "http://s:1");
        assert_eq!(of(&vars, http).unwrap(), "http://p:3");
        assert_eq!(of(&vars[..2], http), None);
        assert_eq!(of(&vars[2..], https), None);
        let all = [
            ("ALL_PROXY", "socks5h://u:pw@a:4"),
            ("http_proxy", "http://p:3"),
        ];
        assert_eq!(of(&all, https).unwrap(), "socks5h://a:4");
        assert_eq!(of(&all, http).unwrap(), "http://p:3");
        assert_eq!(
            of(&[("all_proxy", "socks5://a")], http).unwrap(),
            "socks5://a:1080"
        );
        assert_eq!(of(&[], https), None);
        for here in ["http://127.0.0.1:9/", "http://localhost/", "http://[::1]/"] {
            assert_eq!(of(&all, here), None, "{here}");
        }
    }

    #[test]
    fn exceptions_as_in_curl() {
        let is_direct = |list: &str, host: &str| {
            of(
                &[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)],
                &format!("https://{host}/"),
            )
            .is_none()
        };
        for (list, host) in [
            ("*", "h.example"),
            ("h.example", "h.example"),
            ("h.example", "sub.h.example"),
            (".h.example", "h.example"),
            ("a.example, H.Example", "h.example"),
            ("*.h.example", "sub.h.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.0/8", "10.20.30.40"),
            ("fe80::/10", "[fe80::1]"),
        ] {
            assert!(is_direct(list, host), "{list}: {host}");
        }
        for (list, host) in [
            ("h.example", "oh.example"),
            ("h.example", "h.example.org"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/x", "10.0.0.1"),
            ("0.0.1", "10.0.0.1"),
            ("", "h.example"),
        ] {
            assert!(!is_direct(list, host), "{list}: {host}");
        }
    }

    #[test]
    fn what_is_not_supported_is_an_error_without_its_secret() {
        for value in [
            "ftp://u:secret@p:1",
            "http://u:secret@",
            "quic://secret",
            "http://u:secret@p:port",
        ] {
            let error = proxies(&[("ALL_PROXY", value)]).unwrap_err().to_string();
            assert!(
                error.contains("ALL_PROXY") && !error.contains("u:secret"),
                "{error}"
            );
        }
    }
}
