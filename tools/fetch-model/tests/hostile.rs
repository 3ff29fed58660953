//! Servers that are not to be trusted, and servers that say no.

mod support;

use std::time::{Duration, Instant};
use support::repository::{COMMIT, ID, Repository, UNET, VAE};
use support::{Hub, Reply, Tool, names};

const TOKEN: &str = "hf_aVerySecretToken";

fn replace(reply: &mut Reply, from: &str, to: &str) {
    let text = String::from_utf8(reply.body.clone()).unwrap();
    assert!(text.contains(from), "{from} is not in the answer");
    reply.body = text.replace(from, to).into();
}

/// All names below a folder.
fn all(folder: &std::path::Path) -> Vec<String> {
    let mut found = names(folder);
    for name in found.clone() {
        if folder.join(&name).is_dir() {
            found.extend(all(&folder.join(&name)));
        }
    }
    found
}

#[test]
fn the_token_reaches_the_hub_only() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub).var("HF_TOKEN", TOKEN);
    let output = tool.run(&[ID, "--verbose"]);
    assert!(output.status.success());
    let bearer = format!("Bearer {TOKEN}");
    let requests = hub.requests();
    assert!(requests.iter().any(|r| r.at_storage));
    for request in requests {
        let expected = if request.at_storage {
            None
        } else {
            Some(bearer.as_str())
        };
        assert_eq!(
            request.header("authorization"),
            expected,
            "{}",
            request.path
        );
        if request.at_storage {
            assert!(!request.headers.values().any(|value| value.contains(TOKEN)));
        }
    }
    let printed = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8(printed).unwrap().contains(TOKEN));
}

#[test]
fn the_token_file_is_used_and_a_redirect_of_the_api_does_not_get_it() {
    let hub = Hub::new(Repository::turbo());
    let other = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    std::fs::create_dir_all(tool.dir.path().join(".cache/huggingface")).unwrap();
    std::fs::write(
        tool.dir.path().join(".cache/huggingface/token"),
        format!("{TOKEN}\n"),
    )
    .unwrap();
    let target = other.endpoint();
    hub.on(move |request, _| Reply::new(307).with("Location", format!("{target}{}", request.path)));
    tool.fetch(&[ID, "--only", "scheduler"]);
    assert!(
        hub.requests()
            .iter()
            .all(|r| r.header("authorization") == Some(&format!("Bearer {TOKEN}")))
    );
    assert!(
        other
            .requests()
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
}

#[test]
fn without_a_token_none_is_sent() {
    let hub = Hub::new(Repository::turbo());
    Tool::new(&hub).fetch(&[ID, "--only", "scheduler"]);
    assert!(
        hub.requests()
            .iter()
            .all(|r| r.header("authorization").is_none())
    );
}

#[test]
fn paths_that_climb_are_refused() {
    for evil in [
        "../../../x.json",
        "/tmp/x.json",
        "unet/../../x",
        "a\\\\..\\\\x",
    ] {
        let hub = Hub::new(Repository::turbo());
        hub.on(move |request, mut reply| {
            if request.path.contains("/tree/") {
                replace(&mut reply, "scheduler/scheduler_config.json", evil);
            }
            reply
        });
        let tool = Tool::new(&hub);
        let text = tool.refusal(&[ID]);
        assert!(text.contains("do not trust this server"), "{text}");
        assert!(
            all(tool.dir.path()).is_empty(),
            "{:?}",
            all(tool.dir.path())
        );
    }
}

#[test]
fn commits_and_hashes_that_climb_are_refused() {
    for (at, from, to) in [
        ("/revision/", COMMIT, "../../../../evil"),
        ("/revision/", COMMIT, "main"),
        ("/tree/", "VAE", "../../../evil"),
        ("/tree/", "VAE", "abc"),
    ] {
        let hub = Hub::new(Repository::turbo());
        let from = if from == "VAE" {
            hub.repository().file(VAE).hash.clone()
        } else {
            from.to_owned()
        };
        hub.on(move |request, mut reply| {
            if request.path.contains(at) {
                replace(&mut reply, &from, to);
            }
            reply
        });
        let tool = Tool::new(&hub);
        let text = tool.refusal(&[ID]);
        assert!(
            text.contains("hexadecimal") || text.contains("no content hash"),
            "{text}"
        );
        assert!(
            all(tool.dir.path()).is_empty(),
            "{:?}",
            all(tool.dir.path())
        );
    }
}

#[test]
fn a_content_hash_in_a_header_is_compared() {
    for (name, value) in [
        ("X-Linked-Etag", format!("\"{}\"", "0".repeat(64))),
        ("X-Linked-Etag", "\"../../evil\"".to_owned()),
        ("X-Linked-Size", "7".to_owned()),
        ("X-Repo-Commit", "0".repeat(40)),
    ] {
        let hub = Hub::new(Repository::turbo());
        hub.on(move |request, mut reply| {
            if request.path.ends_with(UNET) {
                reply.headers.retain(|(header, _)| header != name);
                reply = reply.with(name, &value);
            }
            reply
        });
        let tool = Tool::new(&hub);
        let text = tool.refusal(&[ID]);
        assert!(
            text.contains(UNET) && text.contains("expected"),
            "{name}: {text}"
        );
        assert!(
            !all(tool.dir.path())
                .iter()
                .any(|name| name.contains("evil"))
        );
    }
}

#[test]
fn redirects_lead_to_http_servers_only() {
    for (location, problem) in [
        ("file:///etc/passwd", "no usable address"),
        ("ftp://127.0.0.1/x", "no usable address"),
        ("", "no usable address"),
        (
            "/api/models/owner/turbo/revision/main",
            "more than 8 redirects",
        ),
    ] {
        let hub = Hub::new(Repository::turbo());
        hub.on(move |_, _| Reply::new(302).with("Location", location));
        let text = Tool::new(&hub).refusal(&[ID]);
        assert!(text.contains(problem), "{location}: {text}");
    }
}

#[test]
fn a_page_of_the_listing_comes_from_the_hub_only() {
    let mut repository = Repository::turbo();
    repository.page = 5;
    let hub = Hub::new(repository);
    hub.on(|request, mut reply| {
        if request.path.contains("/tree/") {
            reply.headers.retain(|(name, _)| name != "Link");
            reply = reply.with("Link", "<http://127.0.0.1:9/evil>; rel=\"next\"");
        }
        reply
    });
    let text = Tool::new(&hub).refusal(&[ID]);
    assert!(text.contains("not on this hub"), "{text}");
}

#[test]
fn refusals_say_what_to_do() {
    type Case = (
        &'static str,
        u16,
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
    );
    let cases: &[Case] = &[
        (
            "/revision/",
            401,
            &[("X-Error-Message", "Invalid username or password.")],
            &["no such model", "HF_TOKEN"],
        ),
        (
            "/revision/",
            404,
            &[("X-Error-Code", "RepoNotFound")],
            &["no such model", "check the name"],
        ),
        (
            "/revision/",
            404,
            &[("X-Error-Code", "RevisionNotFound")],
            &["owner/turbo@main", "no such branch"],
        ),
        (
            "/resolve/",
            401,
            &[("X-Error-Code", "GatedRepo")],
            &["gated", "accept its licence at http", "HF_TOKEN"],
        ),
        (
            "/resolve/",
            403,
            &[("X-Error-Code", "GatedRepo")],
            &["gated", "/owner/turbo"],
        ),
        (
            "/resolve/",
            403,
            &[("X-Error-Message", "no rights")],
            &["403", "(no rights)"],
        ),
        (
            "/resolve/",
            404,
            &[("X-Error-Code", "EntryNotFound")],
            &["model_index.json", "not in this commit"],
        ),
        (
            "/revision/",
            429,
            &[("Retry-After", "3600")],
            &["429", "3600 s"],
        ),
        (
            "/revision/",
            500,
            &[],
            &["500", "run the same command again"],
        ),
        ("/blob/", 403, &[], &["storage host 127.0.0.1", "403"]),
    ];
    for (at, status, headers, words) in cases {
        let hub = Hub::new(Repository::turbo());
        hub.on(move |request, reply| {
            if !request.path.contains(at) {
                return reply;
            }
            headers
                .iter()
                .fold(Reply::new(*status), |reply, (name, value)| {
                    reply.with(name, value)
                })
        });
        let text = Tool::new(&hub).refusal(&[ID, "--retries", "0"]);
        assert_eq!(text.lines().count(), 1, "{text}");
        for word in *words {
            assert!(text.contains(word), "{status}: {word} is not in {text}");
        }
    }
}

#[test]
fn a_refused_token_is_named_not_shown() {
    let hub = Hub::new(Repository::turbo());
    hub.on(|_, _| {
        Reply::new(401).with(
            "X-Error-Message",
            "Invalid credentials in Authorization header",
        )
    });
    let text = Tool::new(&hub).var("HF_TOKEN", TOKEN).refusal(&[ID]);
    assert!(
        text.contains("the token that was sent") && !text.contains(TOKEN),
        "{text}"
    );
}

#[test]
fn answers_that_are_no_hubs_are_named() {
    for body in [
        "<html>Please log in to the hotel's network</html>",
        "{}",
        "[]",
        "{\"sha\": 5}",
        "",
    ] {
        let hub = Hub::new(Repository::turbo());
        hub.on(move |_, _| Reply::new(200).body(body));
        let text = Tool::new(&hub).refusal(&[ID]);
        assert!(text.contains("HF_ENDPOINT"), "{text}");
    }
}

#[test]
fn a_servers_words_cannot_steer_the_terminal() {
    for words in ["\u{202e}live", "\u{9b}31m", "\u{1b}[31m"] {
        let hub = Hub::new(Repository::turbo());
        hub.on(move |_, _| Reply::new(403).with("X-Error-Message", format!("no{words}")));
        let text = Tool::new(&hub).refusal(&[ID, "--retries", "0"]);
        assert!(
            text.trim_end()
                .chars()
                .all(|c| c.is_ascii() && !c.is_control()),
            "{text:?}"
        );
    }
}

/// A body that is whole, and lines behind its last chunk without end: the connection is never silent.
#[test]
fn what_follows_a_body_is_not_waited_for() {
    let hub = Hub::new(Repository::turbo());
    hub.on(|_, reply| {
        let length = reply.body.len();
        let mut body = format!("{length:x}\r\n").into_bytes();
        body.extend(&reply.body);
        body.extend(b"\r\n0\r\n");
        let before_trickle = body.len();
        body.extend(b"a: b\r\n".repeat(10_000));
        Reply {
            no_length: true,
            trickle: Some(Duration::from_millis(2)),
            before_trickle,
            ..Reply::new(200)
                .with("Transfer-Encoding", "chunked")
                .body(body)
        }
    });
    let tool = Tool::new(&hub).var("HF_HUB_DOWNLOAD_TIMEOUT", "2");
    let start = Instant::now();
    let text = tool.refusal(&[ID, "--only", "scheduler", "--retries", "0"]);
    assert!(text.contains("nothing of the content"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// In a cache that others may write to as well.
#[cfg(unix)]
#[test]
fn links_and_pipes_under_names_of_the_cache_are_not_followed() {
    use std::os::unix::fs::symlink;
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let precious = tool.dir.path().join("precious");
    std::fs::write(&precious, "precious".repeat(1000)).unwrap();
    let hash = &hub
        .repository()
        .file("scheduler/scheduler_config.json")
        .hash;
    let partial = tool.blobs().join(format!("{hash}.incomplete"));
    std::fs::create_dir_all(tool.blobs()).unwrap();
    symlink(&precious, &partial).unwrap();
    let refs = tool.blobs().with_file_name("refs");
    std::fs::create_dir_all(&refs).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(refs.join("main"))
        .status();
    assert!(made.unwrap().success());
    let text = tool.refusal(&[ID, "--only", "scheduler"]);
    assert!(text.contains("expected a regular file"), "{text}");
    std::fs::remove_file(&partial).unwrap();
    tool.fetch(&[ID, "--only", "scheduler"]);
    assert_eq!(std::fs::read_to_string(refs.join("main")).unwrap(), COMMIT);
    let kept = std::fs::read_to_string(&precious).unwrap();
    assert_eq!(kept, "precious".repeat(1000));
}
