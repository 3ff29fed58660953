//! For fuzzing, which has no other way in: a run whose servers are bytes in memory. No socket is opened.

use crate::error::Error;
use crate::fetch::{Fetched, Watch};
use crate::http::Client;
use crate::hub::RemoteFile;
use crate::settings::Settings;
use crate::{Args, fetch_by};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// The hub of such a run.
pub const HUB: &str = "https://hub.example";
/// Its token.
pub const TOKEN: &str = "hf_secret";

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was fetched.
    pub result: Result<Fetched, Error>,
    /// What was said meanwhile.
    pub said: Vec<String>,
    /// What was sent, with the address that each connection was made for.
    pub sent: Vec<(String, Vec<u8>)>,
}

/// Fetches what `args` ask for into the cache folder `cache`. Each connection is answered by the next of `answers`; one
/// beyond them is refused.
pub fn run(args: &Args, cache: &Path, answers: &[&[u8]]) -> Outcome {
    let variables = |name: &str| match name {
        "HF_ENDPOINT" => Some(HUB.into()),
        "HF_TOKEN" => Some(TOKEN.into()),
        "HF_HUB_CACHE" => Some(cache.into()),
        _ => None,
    };
    let mut said = Said::default();
    let hub = Arc::new(Mutex::new(Connections {
        answers: answers.iter().rev().map(|answer| answer.to_vec()).collect(),
        sent: Vec::new(),
    }));
    let result = Settings::from_lookup(variables).and_then(|settings| {
        let client = Client::by(&settings, InMemory(hub.clone()), AnyHost)?;
        fetch_by(&client, args, &settings, &mut said)
    });
    let mut hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
    Outcome {
        result,
        said: said.0,
        sent: std::mem::take(&mut hub.sent),
    }
}

#[derive(Default)]
struct Said(Vec<String>);

impl Watch for Said {
    fn begin(&mut self, _: &RemoteFile, _: u64) {}

    fn advance(&mut self, _: u64) {}

    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn warn(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[derive(Debug)]
struct Connections {
    /// The next one is the last.
    answers: Vec<Vec<u8>>,
    sent: Vec<(String, Vec<u8>)>,
}

#[derive(Debug)]
struct InMemory(Arc<Mutex<Connections>>);

impl Connector for InMemory {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let mut hub = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = hub.answers.pop().ok_or(ureq::Error::ConnectionFailed)?;
        hub.sent.push((details.uri.to_string(), Vec::new()));
        Ok(Some(Connection {
            number: hub.sent.len() - 1,
            all: self.0.clone(),
            buffers: LazyBuffers::new(
                details.config.input_buffer_size(),
                details.config.output_buffer_size(),
            ),
            answer,
            read: 0,
        }))
    }
}

#[derive(Debug)]
struct Connection {
    number: usize,
    all: Arc<Mutex<Connections>>,
    buffers: LazyBuffers,
    answer: Vec<u8>,
    /// Bytes of it that were read.
    read: usize,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let output = &self.buffers.output()[..amount];
        all.sent[self.number].1.extend_from_slice(output);
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let rest = &self.answer[self.read..];
        let room = self.buffers.input_append_buf();
        // In pieces, as from a network.
        let count = rest.len().min(room.len()).min(100);
        room[..count].copy_from_slice(&rest[..count]);
        self.buffers.input_appended(count);
        self.read += count;
        Ok(count > 0)
    }

    fn is_tls(&self) -> bool {
        true
    }

    fn is_open(&mut self) -> bool {
        self.read < self.answer.len()
    }
}

/// Every name leads to an address, which nobody connects to.
#[derive(Debug)]
struct AnyHost;

impl Resolver for AnyHost {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        Ok(addresses)
    }
}
