//! examples/parallel.sh: a file of records drawn by two hosts, of which one dies.

use crate::remote::tells_of_the_cut;
use pipeline_tests::{Hosts, Picture, Running, Stage, pictures, pipe, progress, tool, tool_path};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use turbo_testkit::tiny_lettered;

const HOSTS: [&str; 2] = ["box-a", "box-b"];
const RECORDS: usize = 40;

struct Run {
    hosts: Hosts,
    folder: TempDir,
}

impl Run {
    /// Two hosts, whose `denoise` keeps a record of what it did.
    fn new() -> Option<Self> {
        let hosts = Hosts::start(&HOSTS, &["parallel", "perl"])?;
        let folder = tempfile::tempdir().expect("a folder");
        let run = Self { hosts, folder };
        for host in HOSTS {
            let (denoise, log) = (tool_path("denoise"), run.log(host));
            let line = format!(
                "exec '{}' --progress json \"$@\" 2>> '{}'",
                denoise.display(),
                log.display()
            );
            run.hosts.install(host, "denoise", &line);
        }
        // So long that no pipe takes all of them at once: a host that dies leaves records that nobody has read.
        let note = "x".repeat(20_000);
        let records = (0..RECORDS)
            .map(|k| json!({"id": format!("r/{k}"), "prompt": format!("fox {k}"), "seed": k, "note": note}));
        let records: Vec<String> = records.map(|record| record.to_string()).collect();
        fs::write(run.path("records.jsonl"), records.join("\n")).expect("written");
        Some(run)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self, host: &str) -> PathBuf {
        self.path(&format!("{host}.jsonl"))
    }

    /// `examples/parallel.sh HOSTS records.jsonl pictures 'denoise ... | decode-latents'`.
    fn start(&self, hosts: &str) -> Running {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let tools = tool_path("to-png");
        let tools = tools.parent().expect("it lies in a folder").to_owned();
        let path = self.hosts.search_path();
        let path = [tools].into_iter().chain(std::env::split_paths(&path));
        let script = Stage::program("bash", "bash")
            .arg(examples.join("parallel.sh"))
            .arg(hosts)
            .arg(self.path("records.jsonl"))
            .arg(self.path("pictures"))
            .arg("denoise --width 64 --height 64 | decode-latents")
            .env("PATH", std::env::join_paths(path).expect("no colon in it"))
            .env("TURBO_MODEL", tiny_lettered())
            // Where GNU parallel keeps its own files.
            .env("PARALLEL_HOME", self.path("parallel"));
        pipe([script]).start()
    }

    /// The pictures that are there, and nothing else.
    fn pictures(&self) -> BTreeMap<String, Picture> {
        let entries = fs::read_dir(self.path("pictures")).expect("a folder");
        let entries = entries.map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            let mut found = pictures(&fs::read(entry.path()).expect("is there"));
            assert_eq!(found.len(), 1, "{name}");
            (name, found.remove(0))
        });
        entries.collect()
    }

    /// How many pictures there are, those on their way not counted.
    fn count(&self) -> usize {
        let entries = fs::read_dir(self.path("pictures")).into_iter().flatten();
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| !name.to_string_lossy().starts_with('.'))
            .count()
    }

    /// What the hosts' `denoise` has done since this was asked last.
    fn done(&self, host: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.log(host)).unwrap_or_default();
        let _ = fs::remove_file(self.log(host));
        progress(&log)
    }
}

/// The picture's pixels, and what it says of itself, but for its place in what its host was given.
fn content(picture: &Picture) -> (Vec<u8>, Value) {
    let mut text: Value = serde_json::from_str(&picture.text["sdxl-turbo"]).expect("JSON");
    for key in ["record_index", "picture_index"] {
        text.as_object_mut().expect("an object").remove(key);
    }
    (picture.pixels.clone(), text)
}

fn ids(events: &[Value]) -> Vec<String> {
    let ids = events.iter().map(|event| event["id"].as_str());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

#[test]
fn a_host_that_dies_and_a_second_run_lose_and_double_nothing() {
    let Some(mut run) = Run::new() else { return };

    let first = run.start("box-a,box-b");
    // Both are at work, and neither has finished.
    let lines = |host| {
        fs::read_to_string(run.log(host))
            .unwrap_or_default()
            .lines()
            .count()
    };
    while run.count() < 8 || HOSTS.iter().any(|host| lines(host) < 3) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    run.hosts.kill("box-b");
    let ended = first.wait();
    assert_eq!(
        ended.stages[0].status.code(),
        Some(1),
        "{}",
        ended.stages[0].stderr
    );
    let stderr = &ended.stages[0].stderr;
    assert!(tells_of_the_cut(stderr), "{stderr}");
    let after_first = run.pictures();
    let (a, b) = (run.done("box-a"), run.done("box-b"));
    println!(
        "{} pictures by box-a, {} by box-b, {} here",
        a.len(),
        b.len(),
        after_first.len()
    );
    // A part ends at the end of a record.
    let part = a.len();
    assert!(
        part.abs_diff(RECORDS / 2) <= 1,
        "box-a did {part}, all of its part"
    );
    let missing = RECORDS - after_first.len();
    assert!(missing > 0, "box-b was killed too late to tell anything");
    for events in [&a, &b] {
        let opened = events
            .iter()
            .map(|event| event["open_s"].as_f64() > Some(0.0));
        let opened: Vec<bool> = opened.collect();
        assert!(
            opened[0] && !opened[1..].contains(&true),
            "one pipe, loaded once"
        );
    }
    let both = [ids(&a), ids(&b)].concat();
    assert_eq!(
        both.iter().collect::<BTreeSet<_>>().len(),
        both.len(),
        "a record went to both"
    );

    // With the host that is left.
    let ended = run.start("box-a").wait();
    ended.ok();
    let all = run.pictures();
    let again = ids(&run.done("box-a"));
    assert_eq!(again.len(), missing, "just what was missing");
    for (name, picture) in &after_first {
        assert!(
            all[name].pixels == picture.pixels && all[name].text == picture.text,
            "{name} was drawn again"
        );
    }

    // The same records in one pipe, here.
    let whole = tempfile::tempdir().expect("a folder");
    let stages = [
        tool("encode-text", "--jsonl")
            .arg(run.path("records.jsonl"))
            .model(&tiny_lettered()),
        tool("denoise", "--width 64 --height 64"),
        tool("decode-latents", ""),
        tool("to-png", "-o").arg(whole.path().join("{id}.png")),
    ];
    pipe(stages).run().ok();
    assert_eq!(all.len(), RECORDS);
    for (name, picture) in &all {
        let expected = fs::read(whole.path().join(name)).expect("one of the records");
        assert!(
            content(picture) == content(&pictures(&expected)[0]),
            "{name}"
        );
    }
}
