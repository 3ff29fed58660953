//! The command line, the environment, the reports, and file systems that refuse.

mod support;

use std::path::Path;
use support::repository::{COMMIT, ID, Repository, UNET};
use support::{BINARY, Hub, Tool, names, stderr};
use turbo_testkit::ProgressSchema;
use turbo_testkit::process::{Stage, feed, python};

#[test]
fn the_cache_is_where_the_environment_says() {
    let hub = Hub::new(Repository::turbo());
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (xdg, hf_home, old, new) = (at("xdg"), at("hf_home"), at("old"), at("new"));
    let mut tool = Tool::new(&hub);
    for (name, value, cache) in [
        ("XDG_CACHE_HOME", &xdg, xdg.join("huggingface/hub")),
        ("HF_HOME", &hf_home, hf_home.join("hub")),
        ("HUGGINGFACE_HUB_CACHE", &old, old.clone()),
        ("HF_HUB_CACHE", &new, new.clone()),
    ] {
        // Each outranks those before it.
        tool = tool.var(name, value.to_str().unwrap());
        let snapshot = tool.fetch(&[ID, "--only", "scheduler"]);
        assert_eq!(
            snapshot,
            cache.join("models--owner--turbo/snapshots").join(COMMIT)
        );
        assert!(
            snapshot.join("scheduler/scheduler_config.json").is_file(),
            "{name}"
        );
    }
}

#[test]
fn usage_faults_end_in_status_2() {
    let hub = Hub::new(Repository::turbo());
    for args in [
        &[][..],
        &["gpt2"],
        &["../../etc/passwd"],
        &["owner/../x"],
        &["owner/turbo@../../x"],
        &["owner/turbo@"],
        &["https://huggingface.co/owner/turbo"],
        &[ID, "--dtype", "bf16"],
        &[ID, "--only", "everything"],
    ] {
        let output = Tool::new(&hub).run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert!(hub.requests().is_empty());
}

#[test]
fn progress_as_json_lines() {
    let hub = Hub::new(Repository::turbo());
    let output = Tool::new(&hub).run(&[ID, "--progress", "json"]);
    let text = stderr(&output);
    let events = ProgressSchema::documented().check("fetch-model", &text);
    let done: Vec<_> = events
        .iter()
        .filter(|e| e["event"] == "download" && e["done"] == true)
        .collect();
    assert_eq!(done.len(), 18, "{text}");
    assert!(
        done.iter()
            .any(|e| e["path"] == UNET && e["bytes"] == 3_000_000 && e["size"] == 3_000_000)
    );
    let last = events.last().unwrap();
    assert_eq!(last["event"], "fetched");
    assert_eq!(
        (&last["tool"], &last["model"], &last["commit"]),
        (&"fetch-model".into(), &ID.into(), &COMMIT.into())
    );
    assert_eq!(
        (&last["files"], &last["downloaded_files"]),
        (&18.into(), &18.into())
    );
    let sum: u64 = done.iter().map(|e| e["size"].as_u64().unwrap()).sum();
    assert_eq!(last["downloaded_bytes"], sum);
}

#[test]
fn silent_unless_there_is_something_to_say() {
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let output = tool.run(&[ID]);
    assert_eq!(stderr(&output), "");
    let text = stderr(&tool.run(&[ID, "--verbose"]));
    assert!(text.contains("18 files, 0 of them downloaded"), "{text}");
}

#[test]
fn help_names_the_environment() {
    let hub = Hub::new(Repository::turbo());
    let help = Tool::new(&hub).run(&["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    for word in [
        "HF_HOME",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
        "--only",
        "--dtype",
        "Exit status",
    ] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

/// Runs the tool where `mount` has put a file system over the cache folder; `None` if this
/// machine lets nobody mount one.
fn with_mount(tool: &Tool, options: &str) -> Option<String> {
    let cache = tool.dir.path().join("small");
    std::fs::create_dir_all(&cache).unwrap();
    let script =
        "mount -t tmpfs -o \"$1\" none \"$2\" || exit 77; HF_HUB_CACHE=$2 exec \"$3\" owner/turbo";
    // A shell says what is missing where there is no `unshare`.
    let line = "exec unshare --user --map-root-user --mount sh -c \"$0\" sh \"$@\"";
    let stage = Stage::program("unshare", script)
        .in_shell(line)
        .arg(options)
        .arg(&cache)
        .arg(BINARY);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = feed(tool.alone(stage).env("PATH", path), b"");
    let said = stderr(&output);
    if output.status.code() != Some(1) || !said.contains("fetch-model:") {
        println!("skipped: no file system can be mounted here: {said}");
        return None;
    }
    Some(said)
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_says_so() {
    let hub = Hub::new(Repository::turbo());
    let Some(text) = with_mount(&Tool::new(&hub), "size=1m") else {
        return;
    };
    assert!(
        text.contains("No space left")
            && text.contains("HF_HUB_CACHE")
            && text.contains(".incomplete"),
        "{text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_cache_says_so() {
    let hub = Hub::new(Repository::turbo());
    let Some(text) = with_mount(&Tool::new(&hub), "ro") else {
        return;
    };
    assert!(
        text.contains("Read-only") && text.contains("HF_HUB_CACHE"),
        "{text}"
    );
}

/// What Python's own library makes of the cache. Needs `huggingface_hub`, for the interpreter in
/// `PYTHON`, else `python3`.
#[test]
fn python_finds_what_was_fetched() {
    let Some(python) = python("huggingface_hub") else {
        return;
    };
    let hub = Hub::new(Repository::turbo());
    let tool = Tool::new(&hub);
    let snapshot = tool.fetch(&[ID]);
    hub.take_log();
    let script = "
import sys, os
from huggingface_hub import snapshot_download, try_to_load_from_cache, hf_hub_download, scan_cache_dir
snapshot = snapshot_download('owner/turbo', local_files_only=True)
print(snapshot)
for root, _, files in os.walk(snapshot):
    for file in files:
        path = os.path.relpath(os.path.join(root, file), snapshot)
        assert try_to_load_from_cache('owner/turbo', path) == os.path.join(snapshot, path), path
assert hf_hub_download('owner/turbo', 'unet/config.json') == os.path.join(snapshot, 'unet/config.json')
info = scan_cache_dir()
assert not info.warnings, info.warnings
repo, = info.repos
revision, = repo.revisions
print(repo.repo_id, revision.commit_hash, sorted(revision.refs), len(revision.files), repo.size_on_disk)
";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = feed(
        tool.alone(python).env("PATH", path).args(["-c", script]),
        b"",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    let size: u64 = names(&tool.blobs())
        .iter()
        .map(|n| std::fs::metadata(tool.blobs().join(n)).unwrap().len())
        .sum();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        Path::new(lines[0]).canonicalize().unwrap(),
        snapshot.canonicalize().unwrap()
    );
    assert_eq!(lines[1], format!("owner/turbo {COMMIT} ['main'] 18 {size}"));
    // The content was never asked for again.
    assert!(hub.requests().iter().all(|r| !r.at_storage));
}
