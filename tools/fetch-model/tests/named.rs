//! Files that a user names.

mod support;

use support::repository::{ID, Repository, UNET, VAE};
use support::{Hub, Tool, names};

#[test]
fn one_file_is_fetched_and_its_path_printed() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let path = tool.fetch(&[ID, VAE]);
    assert!(path.ends_with(VAE), "{}", path.display());
    let content = &hub.repository().file(VAE).content;
    assert!(std::fs::read(&path).unwrap() == *content);
    assert_eq!(names(&tool.blobs()).len(), 1);
    // Once more: from the cache, also offline.
    hub.requests();
    assert_eq!(tool.fetch(&[ID, VAE]), path);
    assert!(
        hub.requests()
            .iter()
            .all(|request| request.path.contains("/revision/"))
    );
    let offline = tool.var("HF_HUB_OFFLINE", "1");
    assert_eq!(offline.fetch(&[ID, VAE]), path);
    let error = offline.refusal(&[ID, UNET]);
    assert!(
        error.contains(UNET) && error.contains("HF_HUB_OFFLINE"),
        "{error}"
    );
}

#[test]
fn several_files_are_a_line_each_and_a_missing_one_names_its_like() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let output = tool.run(&[ID, VAE, "unet/config.json"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].ends_with(VAE) && lines[1].ends_with("unet/config.json"),
        "{printed}"
    );
    let error = tool.refusal(&[ID, "lora.safetensors"]);
    assert!(
        error.contains("has no lora.safetensors; it has ") && error.contains(VAE),
        "{error}"
    );
    for bad in ["../x", "/etc/passwd"] {
        assert!(tool.refusal(&[ID, bad]).contains("has no"), "{bad}");
    }
}

#[test]
fn a_token_is_not_sent_where_nobody_asked_for_it() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub)
        .var("HF_TOKEN", "hf_secret")
        .var("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
    tool.fetch(&[ID, VAE]);
    assert!(
        hub.requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn a_trickle_counts_as_dropped() {
    let hub = Hub::new(Repository::turbo());
    for part in ["/revision/", "/resolve/"] {
        hub.on(move |request, mut reply| {
            if request.path.contains(part) || (part == "/resolve/" && request.at_storage) {
                reply.trickle = Some(std::time::Duration::from_millis(100));
            }
            reply
        });
        let tool = Tool::new(&hub).var("HF_HUB_DOWNLOAD_TIMEOUT", "1");
        let error = tool.refusal(&[ID, "--retries", "0", VAE]);
        assert!(
            error.contains("fewer than 1000 a second"),
            "{part}: {error}"
        );
    }
}
