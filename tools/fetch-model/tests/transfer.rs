//! Downloads that break off, lie, or meet each other.

mod support;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::repository::{ID, Repository, UNET, VAE};
use support::{Hub, Reply, Request, Tool, names, stderr};
use turbo_testkit::process::pipe;

/// Whether the request is for the content of `file` on the storage host.
fn is_for(request: &Request, hash: &str) -> bool {
    request.at_storage && request.path.contains(hash)
}

fn hash(hub: &Hub, path: &str) -> String {
    hub.repository().file(path).hash.clone()
}

fn is_whole(hub: &Hub, tool: &Tool, path: &str) -> bool {
    let file = hub.repository().file(path);
    fs::read(tool.blobs().join(&file.hash)).is_ok_and(|content| content == file.content)
}

#[test]
fn a_dropped_connection_is_resumed() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    let drops = AtomicUsize::new(2);
    hub.on(move |request, mut reply| {
        let left = |n: usize| n.checked_sub(1);
        if is_for(request, &unet)
            && drops
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                .is_ok()
        {
            reply.cut = Some(1_100_000);
        }
        reply
    });
    let tool = Tool::new(&hub);
    tool.fetch(&[ID]);
    assert_eq!(hub.starts(UNET), [0, 1_100_000, 2_200_000]);
    assert!(is_whole(&hub, &tool, UNET));
}

#[test]
fn a_silent_connection_counts_as_dropped() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    hub.on(move |request, mut reply| {
        if is_for(request, &unet) && request.start() == 0 {
            reply.cut = Some(700_000);
            reply.stall = Duration::from_secs(60);
        }
        reply
    });
    let tool = Tool::new(&hub).var("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    let begin = Instant::now();
    tool.fetch(&[ID]);
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(hub.starts(UNET), [0, 700_000]);
}

#[test]
fn retries_end() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    hub.on(move |request, mut reply| {
        if is_for(request, &unet) {
            reply.cut = Some(10);
        }
        reply
    });
    let tool = Tool::new(&hub);
    let text = tool.refusal(&[ID, "--retries", "2"]);
    assert!(
        text.contains(UNET) && text.contains("run the same command again"),
        "{text}"
    );
    assert_eq!(hub.starts(UNET), [0, 10, 20]);
    // No reference to a model that is not whole; what came stays for the next run.
    assert!(names(&tool.cache().join("models--owner--turbo/refs")).is_empty());
    hub.calm();
    hub.take_log();
    tool.fetch(&[ID]);
    assert_eq!(hub.starts(UNET), [30]);
    assert!(is_whole(&hub, &tool, UNET));
}

#[cfg(unix)]
#[test]
fn a_killed_run_is_resumed() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    let held = unet.clone();
    hub.on(move |request, mut reply| {
        if is_for(request, &held) {
            reply.cut = Some(2_000_000);
            reply.stall = Duration::from_secs(120);
        }
        reply
    });
    let tool = Tool::new(&hub);
    let running = pipe([tool.stage(&[ID])]).start();
    let partial = tool.blobs().join(format!("{unet}.incomplete"));
    let begin = Instant::now();
    while fs::metadata(&partial).map_or(0, |m| m.len()) < 2_000_000 {
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing arrives");
        std::thread::sleep(Duration::from_millis(10));
    }
    running.kill(0); // SIGKILL on Unix
    let ended = running.wait();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&ended.stages[0].status),
        Some(9)
    );
    assert!(!is_whole(&hub, &tool, UNET));

    hub.calm();
    let first: Vec<String> = hub.take_log();
    tool.fetch(&[ID]);
    assert_eq!(hub.starts(UNET), [2_000_000]);
    assert!(is_whole(&hub, &tool, UNET));
    assert!(!partial.exists());
    // Small files were there already.
    let second = hub.take_log();
    assert!(first.iter().any(|path| path.contains("/unet/config.json")));
    assert!(
        !second.iter().any(|path| path.contains("/unet/config.json")),
        "{second:?}"
    );
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    let content = hub.repository().file(UNET).content.clone();
    hub.on(move |request, reply| {
        if !is_for(request, &unet) {
            return reply;
        }
        let all = Reply::new(200).body(content.clone());
        if request.start() == 0 {
            Reply {
                cut: Some(1_500_000),
                ..all
            }
        } else {
            all
        }
    });
    let tool = Tool::new(&hub);
    tool.fetch(&[ID]);
    assert_eq!(hub.starts(UNET), [0, 1_500_000]);
    assert!(is_whole(&hub, &tool, UNET));
}

#[test]
fn another_range_than_asked_for_is_refused() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    with_partial(&hub, |tool| {
        let (unet, content) = (unet.clone(), hub.repository().file(UNET).content.clone());
        hub.on(move |request, reply| {
            if !is_for(request, &unet) {
                return reply;
            }
            let range = format!("bytes 5-{}/{}", content.len() - 1, content.len());
            Reply::new(206)
                .with("Content-Range", range)
                .body(&content[5..])
        });
        let text = tool.refusal(&[ID]);
        assert!(
            text.contains("expected bytes 1000-2999999/3000000, found bytes 5-"),
            "{text}"
        );
    });
}

/// A tool whose cache holds the first 1,000 bytes of the weights already.
fn with_partial(hub: &Hub, test: impl FnOnce(&Tool)) {
    let tool = Tool::new(hub);
    let file = hub.repository().file(UNET);
    fs::create_dir_all(tool.blobs()).unwrap();
    fs::write(
        tool.blobs().join(format!("{}.incomplete", file.hash)),
        &file.content[..1000],
    )
    .unwrap();
    test(&tool);
}

#[test]
fn a_partial_of_other_content_is_thrown_away() {
    let hub = Hub::new(Repository::turbo());
    let file = hub.repository().file(UNET);
    // Wrong bytes; too many bytes; all bytes but one wrong.
    let mut whole = file.content.clone();
    whole[7] ^= 1;
    for (old, starts) in [
        (vec![0; 1000], vec![1000, 0]),
        (vec![0; 3_000_001], vec![0]),
        (whole, vec![0]),
    ] {
        let tool = Tool::new(&hub);
        fs::create_dir_all(tool.blobs()).unwrap();
        fs::write(tool.blobs().join(format!("{}.incomplete", file.hash)), &old).unwrap();
        hub.take_log();
        tool.fetch(&[ID]);
        assert_eq!(hub.starts(UNET), starts);
        assert!(is_whole(&hub, &tool, UNET));
    }
    // What is whole but was not renamed needs no request.
    let tool = Tool::new(&hub);
    fs::create_dir_all(tool.blobs()).unwrap();
    fs::write(
        tool.blobs().join(format!("{}.incomplete", file.hash)),
        &file.content,
    )
    .unwrap();
    hub.take_log();
    tool.fetch(&[ID]);
    assert!(hub.starts(UNET).is_empty());
    assert!(is_whole(&hub, &tool, UNET));
}

#[test]
fn a_wrong_byte_once_is_fetched_again() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    let first = AtomicUsize::new(0);
    hub.on(move |request, mut reply| {
        if is_for(request, &unet) && first.fetch_add(1, Ordering::SeqCst) == 0 {
            reply.body[1_000_000] ^= 0x20;
        }
        reply
    });
    let tool = Tool::new(&hub);
    let output = tool.run(&[ID]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("trying once more"),
        "{}",
        stderr(&output)
    );
    assert_eq!(hub.starts(UNET), [0, 0]);
    assert!(is_whole(&hub, &tool, UNET));
}

#[test]
fn a_wrong_byte_always_is_an_error() {
    for path in [UNET, "unet/config.json"] {
        let hub = Hub::new(Repository::turbo());
        let part = if path == UNET {
            hash(&hub, UNET)
        } else {
            "resolve-cache/models/owner/turbo".into()
        };
        let file = path.to_owned();
        hub.on(move |request, mut reply| {
            let small = request.path.contains(&file);
            if request.path.contains(&part) && (request.at_storage || small) {
                reply.body[3] ^= 1;
            }
            reply
        });
        let tool = Tool::new(&hub);
        let text = tool.refusal(&[ID]);
        let expected = hash(&hub, path);
        let mut content = hub.repository().file(path).content.clone();
        content[3] ^= 1;
        let found = support::repository::File::new(path, content).hash;
        assert!(text.contains(path), "{text}");
        assert!(text.contains(&format!("{expected}, found")), "{text}");
        assert!(text.contains(&found), "{text}");
        let left = names(&tool.blobs());
        assert!(
            !left.iter().any(|name| name.starts_with(&expected)),
            "{left:?}"
        );
    }
}

#[test]
fn other_sizes_than_listed_are_errors() {
    for (change, found) in [
        (truncate as fn(&mut Reply), "2999999 bytes"),
        (lengthen, "3000001 bytes"),
        (lengthen_unannounced, "more than 3000000 bytes"),
    ] {
        let hub = Hub::new(Repository::turbo());
        let unet = hash(&hub, UNET);
        hub.on(move |request, mut reply| {
            if is_for(request, &unet) {
                change(&mut reply);
            }
            reply
        });
        let text = Tool::new(&hub).refusal(&[ID]);
        assert!(
            text.contains(&format!("expected 3000000 bytes, found {found}")),
            "{text}"
        );
    }
}

fn truncate(reply: &mut Reply) {
    reply.body.pop();
}

fn lengthen(reply: &mut Reply) {
    reply.body.push(0);
}

fn lengthen_unannounced(reply: &mut Reply) {
    lengthen(reply);
    reply.no_length = true;
}

#[test]
fn a_busy_hub_is_waited_for() {
    let hub = Hub::new(Repository::turbo());
    let first = AtomicUsize::new(0);
    hub.on(move |_, reply| match first.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(429).with("Retry-After", 2),
        1 => Reply::new(503),
        _ => reply,
    });
    let tool = Tool::new(&hub);
    let begin = Instant::now();
    tool.fetch(&[ID, "--only", "vae"]);
    assert!(
        begin.elapsed() >= Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    assert!(is_whole(&hub, &tool, VAE));
}

#[test]
fn two_at_once_download_once() {
    let hub = Hub::new(Repository::turbo());
    let unet = hash(&hub, UNET);
    hub.on(move |request, reply| {
        if is_for(request, &unet) {
            // Long enough for the other to come to the same file.
            std::thread::sleep(Duration::from_secs(1));
        }
        reply
    });
    let tool = Tool::new(&hub);
    let running: Vec<_> = (0..3).map(|_| pipe([tool.stage(&[ID])]).start()).collect();
    for running in running {
        running.wait().ok();
    }
    assert_eq!(hub.starts(UNET), [0]);
    assert!(is_whole(&hub, &tool, UNET));
    assert!(
        !names(&tool.blobs())
            .iter()
            .any(|name| name.ends_with(".incomplete"))
    );
}
