//! Plain http through an http proxy: `GET http://host/path` to the proxy, as RFC 9112, section 3.2.2, has it. ureq asks
//! for a tunnel (`CONNECT`) here too, which proxies commonly allow to port 443 only.

use crate::origin::origin_of;
use crate::proxy::Proxies;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Error, Proxy, ProxyProtocol};

/// The http proxy that a plain address goes through.
pub(crate) fn plain_proxy<'a>(proxies: &'a Proxies, uri: &Uri) -> Option<&'a Proxy> {
    let origin = origin_of(&uri.to_string())?;
    let proxy = proxies.of(&origin)?;
    let plain = !origin.is_https() && proxy.protocol() == ProxyProtocol::Http;
    plain.then_some(proxy)
}

/// What such a proxy wants to know of the user; none if it wants nothing.
pub(crate) fn credentials(proxy: &Proxy) -> Option<String> {
    let user = proxy.username()?;
    let text = format!("{user}:{}", proxy.password().unwrap_or_default());
    Some(format!("Basic {}", BASE64_STANDARD.encode(text)))
}

/// Looks up the proxy instead of the host.
#[derive(Debug)]
pub(crate) struct PlainResolver(pub(crate) Arc<Proxies>);

impl Resolver for PlainResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        match plain_proxy(&self.0, uri) {
            Some(proxy) => {
                // `uri` of a proxy may lack its port, which is 80 for http as for the proxy.
                let address = format!("http://{}:{}/", proxy.host(), proxy.port());
                DefaultResolver::default().resolve(
                    &address.parse().map_err(|_| Error::HostNotFound)?,
                    config,
                    timeout,
                )
            }
            None => DefaultResolver::default().resolve(uri, config, timeout),
        }
    }
}

/// Puts the whole address into the requests of a connection to such a proxy.
#[derive(Debug)]
pub(crate) struct AbsoluteForm(pub(crate) Arc<Proxies>);

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        let boxed: Box<dyn Transport> = Box::new(transport);
        let (Some(_), Some(authority)) =
            (plain_proxy(&self.0, details.uri), details.uri.authority())
        else {
            return Ok(Some(boxed));
        };
        let prefix = format!("http://{authority}");
        Ok(Some(Box::new(Absolute {
            inner: boxed,
            prefix,
        })))
    }
}

#[derive(Debug)]
struct Absolute {
    inner: Box<dyn Transport>,
    /// What comes before the path.
    prefix: String,
}

impl Transport for Absolute {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    /// The tool only ever asks (`GET`), so what it sends is the heads of requests, each at once.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        const METHOD: &[u8] = b"GET ";
        let out = self.inner.buffers().output();
        let (at, more) = (METHOD.len(), self.prefix.len());
        if !out[..amount].starts_with(METHOD) || amount + more > out.len() {
            return Err(Error::Other(
                "a request that a proxy cannot be asked for".into(),
            ));
        }
        out.copy_within(at..amount, at + more);
        out[at..at + more].copy_from_slice(self.prefix.as_bytes());
        self.inner.transmit_output(amount + more, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
