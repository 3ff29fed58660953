//! Proxies, as curl has them.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use support::repository::{ID, Repository};
use support::{Hub, Tool};

/// Listens, answers nothing but what `serve` does, and sends what it gives.
fn listen<T: Send + 'static>(
    serve: impl Fn(&mut std::net::TcpStream) -> Option<T> + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if let Some(found) = serve(&mut stream) {
                let _ = sender.send(found);
            }
        }
    });
    (address, receiver)
}

fn first_line(stream: &mut std::net::TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    Some(String::from_utf8(bytes).ok()?.trim_end().to_owned())
}

/// The host that a SOCKS 5 client asks for, by name.
fn socks_host(stream: &mut std::net::TcpStream) -> Option<String> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let mut methods = vec![0; head[1] as usize];
    stream.read_exact(&mut methods).ok()?;
    stream.write_all(&[5, 0]).ok()?;
    let mut request = [0; 5];
    stream.read_exact(&mut request).ok()?;
    let mut name = vec![0; request[4] as usize];
    stream.read_exact(&mut name).ok()?;
    (request[3] == 3).then(|| String::from_utf8_lossy(&name).into_owned())
}

fn tool(endpoint: &str, vars: &[(&str, String)]) -> Tool {
    let mut tool = Tool::new(&Hub::new(Repository::turbo())).var("HF_ENDPOINT", endpoint);
    for (name, value) in vars {
        tool = tool.var(name, value);
    }
    tool
}

#[test]
fn plain_http_goes_to_the_proxy_with_its_whole_address() {
    let hub = Hub::new(Repository::turbo());
    let proxy = format!("http://us%20er:pw@{}", hub.address);
    let tool = tool("http://hub.invalid", &[("HTTP_PROXY", proxy)]);
    let folder = tool.fetch(&[ID]);
    assert!(folder.join("unet/config.json").is_file());
    let requests = hub.requests();
    assert!(requests.iter().any(|request| !request.at_storage));
    for request in requests.iter().filter(|request| !request.at_storage) {
        assert!(request.by_proxy, "{}", request.path);
        assert_eq!(request.header("host"), Some("hub.invalid"));
        // `us er:pw`, encoded by coreutils' base64.
        assert_eq!(
            request.header("proxy-authorization"),
            Some("Basic dXMgZXI6cHc=")
        );
    }
    // The storage host is this machine: asked directly, and not told the password.
    for request in requests.iter().filter(|request| request.at_storage) {
        assert!(!request.by_proxy && request.header("proxy-authorization").is_none());
    }
}

#[test]
fn https_goes_through_a_tunnel() {
    let (address, asked) = listen(first_line);
    let proxy = ("https_proxy", format!("http://{address}"));
    let tool = tool("https://hub.invalid", &[proxy]);
    let error = tool.refusal(&[ID, "--retries", "0"]);
    assert_eq!(asked.recv().unwrap(), "CONNECT hub.invalid:443 HTTP/1.1");
    assert!(
        error.contains(&format!("by the proxy http://{address}")),
        "{error}"
    );
}

#[test]
fn socks5h_leaves_the_name_to_the_proxy() {
    let (address, asked) = listen(socks_host);
    for endpoint in ["https://hub.invalid", "http://hub.invalid"] {
        let tool = tool(endpoint, &[("all_proxy", format!("socks5h://{address}"))]);
        let error = tool.refusal(&[ID, "--retries", "0"]);
        assert_eq!(asked.recv().unwrap(), "hub.invalid");
        assert!(
            error.contains(&format!("by the proxy socks5h://{address}")),
            "{error}"
        );
    }
}

#[test]
fn a_proxy_for_one_scheme_is_not_for_the_other() {
    let (address, asked) = listen(first_line);
    let proxy = format!("http://{address}");
    for (endpoint, name) in [
        ("http://hub.invalid", "HTTPS_PROXY"),
        ("https://hub.invalid", "HTTP_PROXY"),
    ] {
        let error = tool(endpoint, &[(name, proxy.clone())]).refusal(&[ID, "--retries", "0"]);
        assert!(
            error.contains("hub.invalid") && !error.contains("by the proxy"),
            "{error}"
        );
    }
    assert!(asked.try_recv().is_err());
    let vars = [("ALL_PROXY", proxy), ("NO_PROXY", "invalid".to_owned())];
    tool("https://hub.invalid", &vars).refusal(&[ID, "--retries", "0"]);
    assert!(asked.try_recv().is_err());
}

#[test]
fn a_proxy_of_another_kind_is_never_gone_past() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub).var("ALL_PROXY", "ftp://u:secret@127.0.0.1:1");
    let error = tool.refusal(&[ID]);
    assert!(
        error.contains("ALL_PROXY") && error.contains("ftp") && !error.contains("secret"),
        "{error}"
    );
    assert!(hub.requests().is_empty());
}
