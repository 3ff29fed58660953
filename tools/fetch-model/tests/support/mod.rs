//! A small hub on this machine: the API, the content, a storage host on another port, and the
//! troubles a test asks for. It notes every request.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod repository;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
pub use turbo_testkit::process::stderr;
use turbo_testkit::process::{Stage, feed};

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whether it came to the storage host's port.
    pub at_storage: bool,
    /// Whether it was sent as to a proxy, with the whole address.
    pub by_proxy: bool,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First byte asked for.
    pub fn start(&self) -> u64 {
        let range = self
            .header("range")
            .and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
    }
}

/// An answer to send.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Send nothing more for so long where the body is cut.
    pub stall: Duration,
    /// Send a byte after another with so much time between them.
    pub trickle: Option<Duration>,
    /// How many bytes go at once before they trickle.
    pub before_trickle: usize,
    /// Leave out Content-Length; the end is the end of the connection.
    pub no_length: bool,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// `content` from the byte on that the request asks for.
    pub fn content(content: &[u8], request: &Request) -> Self {
        let start = request.start() as usize;
        if request.header("range").is_none() {
            return Self::new(200).body(content);
        }
        if start >= content.len() {
            return Self::new(416).with("Content-Range", format!("bytes */{}", content.len()));
        }
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        Self::new(206)
            .with("Content-Range", range)
            .body(&content[start..])
    }
}

type Hook = Box<dyn Fn(&Request, Reply) -> Reply + Send>;

struct Shared {
    repository: repository::Repository,
    hook: Mutex<Option<Hook>>,
    log: Mutex<Vec<Request>>,
    storage: SocketAddr,
}

/// The hub and its storage host.
pub struct Hub {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub fn new(repository: repository::Repository) -> Self {
        let (hub, storage) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("127.0.0.1:0").unwrap(),
        );
        let address = hub.local_addr().unwrap();
        let shared = Arc::new(Shared {
            repository,
            hook: Mutex::new(None),
            log: Mutex::new(Vec::new()),
            storage: storage.local_addr().unwrap(),
        });
        for (listener, at_storage) in [(hub, false), (storage, true)] {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(stream, at_storage, &shared));
                }
            });
        }
        Self { address, shared }
    }

    pub fn repository(&self) -> &repository::Repository {
        &self.shared.repository
    }

    /// Changes answers from now on: gets the request and the proper reply.
    pub fn on(&self, hook: impl Fn(&Request, Reply) -> Reply + Send + 'static) {
        *locked(&self.shared.hook) = Some(Box::new(hook));
    }

    pub fn calm(&self) {
        *locked(&self.shared.hook) = None;
    }

    /// Takes the requests noted so far.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut locked(&self.shared.log))
    }

    /// The paths of the requests noted so far, and the first byte if that is not 0.
    pub fn take_log(&self) -> Vec<String> {
        let line = |r: &Request| match r.start() {
            0 => r.path.clone(),
            start => format!("{} from {start}", r.path),
        };
        self.requests().iter().map(line).collect()
    }

    /// The storage requests noted so far that are for `path`: their first bytes.
    pub fn starts(&self, path: &str) -> Vec<u64> {
        let url = format!("/blob/{}", self.repository().file(path).hash);
        let log = locked(&self.shared.log);
        log.iter()
            .filter(|r| r.path.starts_with(&url))
            .map(Request::start)
            .collect()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(stream: TcpStream, at_storage: bool, shared: &Shared) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?;
    // Asked for as a proxy for this host.
    let proxied = path.strip_prefix("http://hub.invalid");
    let (path, by_proxy) = (proxied.unwrap_or(path).to_owned(), proxied.is_some());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let request = Request {
        at_storage,
        by_proxy,
        path,
        headers,
    };
    locked(&shared.log).push(request.clone());
    let reply = if at_storage {
        shared.repository.storage(&request)
    } else {
        shared.repository.hub(&request, shared.storage)
    };
    let reply = match &*locked(&shared.hook) {
        Some(hook) => hook(&request, reply),
        None => reply,
    };
    send(stream, &reply)
}

fn send(mut stream: TcpStream, reply: &Reply) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", reply.status);
    if !reply.no_length {
        let _ = write!(head, "Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
    if let Some(pause) = reply.trickle {
        let (at_once, rest) = reply.body[..end].split_at(reply.before_trickle.min(end));
        stream.write_all(at_once).ok()?;
        for byte in rest {
            stream.write_all(&[*byte]).ok()?;
            std::thread::sleep(pause);
        }
    } else {
        stream.write_all(&reply.body[..end]).ok()?;
    }
    stream.flush().ok()?;
    std::thread::sleep(reply.stall);
    Some(())
}

pub const BINARY: &str = env!("CARGO_BIN_EXE_fetch-model");

/// A cache folder and the tool.
pub struct Tool {
    pub dir: tempfile::TempDir,
    pub vars: Vec<(String, String)>,
}

impl Tool {
    /// A fresh home, and `hub` as the only hub.
    pub fn new(hub: &Hub) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vars = vec![
            ("HOME".to_owned(), dir.path().to_str().unwrap().to_owned()),
            ("HF_ENDPOINT".to_owned(), hub.endpoint()),
        ];
        Self { dir, vars }
    }

    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The tool, which sees nothing of the tests' own environment.
    pub fn stage(&self, args: &[&str]) -> Stage {
        self.alone(Stage::program("fetch-model", BINARY)).args(args)
    }

    /// A program that sees the tool's environment only.
    pub fn alone(&self, stage: Stage) -> Stage {
        let vars = self.vars.iter();
        vars.fold(stage.env_clear(), |stage, (name, value)| {
            stage.env(name, value)
        })
    }

    pub fn run(&self, args: &[&str]) -> Output {
        feed(self.stage(args), b"")
    }

    /// Runs and succeeds; gives the snapshot's folder that is printed.
    pub fn fetch(&self, args: &[&str]) -> PathBuf {
        let output = self.run(args);
        assert!(output.status.success(), "{}", stderr(&output));
        let printed = String::from_utf8(output.stdout).unwrap();
        PathBuf::from(printed.strip_suffix('\n').unwrap())
    }

    /// Runs and fails with status 1; gives the error's text, one line.
    pub fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(output.stdout.is_empty());
        assert!(text.starts_with("fetch-model: "), "{text}");
        text
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join(".cache/huggingface/hub")
    }

    pub fn blobs(&self) -> PathBuf {
        self.cache().join("models--owner--turbo/blobs")
    }
}

/// Names in a folder, sorted; none if it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
