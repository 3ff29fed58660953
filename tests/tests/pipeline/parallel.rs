//! examples/parallel.sh: a file of records drawn by hosts, of which some die.

use pipeline_tests::{
    Hosts, Picture, Running, Stage, installed, pictures, pipe, progress, tool, tool_path,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use turbo_testkit::tiny_lettered;

const HOSTS: [&str; 3] = ["box-a", "box-b", "box-c"];
const RECORDS: usize = 40;
/// Records of a job.
const JOB: usize = 4;

struct Run {
    hosts: Hosts,
    folder: TempDir,
}

impl Run {
    /// Hosts whose `denoise` keeps a record of what it did.
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
        let records = (0..RECORDS)
            .map(|k| json!({"id": format!("r/{k}"), "prompt": format!("fox {k}"), "seed": k}));
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

    /// `examples/parallel.sh --records-per-job JOB HOSTS records.jsonl pictures 'denoise ... | decode-latents'`.
    fn start(&self, hosts: &str) -> Running {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let tools = tool_path("to-png");
        let tools = tools.parent().expect("it lies in a folder").to_owned();
        let path = self.hosts.search_path();
        let path = [tools].into_iter().chain(std::env::split_paths(&path));
        let script = Stage::program("bash", "bash")
            .arg(examples.join("parallel.sh"))
            .arg("--records-per-job")
            .arg(JOB.to_string())
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

    /// Lets each job on a host take so many seconds more, as a slower host would.
    fn slow(&self, host: &str, seconds: f64) {
        let (denoise, log) = (tool_path("denoise"), self.log(host));
        let line = format!(
            "sleep {seconds}; exec '{}' --progress json \"$@\" 2>> '{}'",
            denoise.display(),
            log.display()
        );
        self.hosts.install(host, "denoise", &line);
    }

    /// How many frames a host's `denoise` has told of.
    fn count(&self, host: &str) -> usize {
        let log = fs::read_to_string(self.log(host)).unwrap_or_default();
        log.lines().count()
    }

    /// The ids of what all hosts' `denoise` has done since this was asked last.
    fn done(&self) -> Vec<String> {
        let done = HOSTS.iter().flat_map(|host| {
            let log = fs::read_to_string(self.log(host)).unwrap_or_default();
            let _ = fs::remove_file(self.log(host));
            // A host that was killed may have left a line unfinished.
            progress(log.rsplit_once('\n').map_or("", |(whole, _)| whole))
        });
        done.map(|event| event["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    /// The pictures of the same records drawn by one pipe, here.
    fn expected(&self) -> BTreeMap<String, Picture> {
        let whole = tempfile::tempdir().expect("a folder");
        let stages = [
            tool("encode-text", "--jsonl")
                .arg(self.path("records.jsonl"))
                .model(&tiny_lettered()),
            tool("denoise", "--width 64 --height 64"),
            tool("decode-latents", ""),
            tool("to-png", "-o").arg(whole.path().join("{id}.png")),
        ];
        pipe(stages).run().ok();
        drawn(whole.path())
    }

    /// Asserts that each record's picture is there and is what one pipe draws.
    fn assert_complete(&self, expected: &BTreeMap<String, Picture>) {
        let all = drawn(&self.path("pictures"));
        assert_eq!(all.len(), RECORDS);
        for (name, picture) in &all {
            assert!(content(picture) == content(&expected[name]), "{name}");
        }
    }
}

/// The pictures of a folder, which holds nothing else.
fn drawn(folder: &Path) -> BTreeMap<String, Picture> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let mut found = pictures(&fs::read(entry.path()).expect("is there"));
        assert_eq!(found.len(), 1, "{name}");
        (name, found.remove(0))
    });
    entries.collect()
}

/// The picture's pixels, and what it says of itself, but for its place in what its host was given.
fn content(picture: &Picture) -> (Vec<u8>, Value) {
    let mut text: Value = serde_json::from_str(&picture.text["sdxl-turbo"]).expect("JSON");
    for key in ["record_index", "picture_index"] {
        text.as_object_mut().expect("an object").remove(key);
    }
    (picture.pixels.clone(), text)
}

#[test]
fn a_run_that_nobody_disturbs_draws_each_record_once_and_slow_hosts_less() {
    let Some(run) = Run::new() else { return };
    let expected = run.expected();
    run.slow("box-b", 1.0);
    run.start("box-a,box-b").wait().ok();
    run.assert_complete(&expected);
    let (quick, slow) = (run.count("box-a"), run.count("box-b"));
    println!("{quick} records by box-a, {slow} by box-b, which is slow");
    assert!(slow > 0 && slow < quick, "{quick} and {slow}");
    let done = run.done();
    assert_eq!(done.len(), RECORDS, "a record was drawn twice");

    // Started again, it draws what is missing.
    let gone: BTreeSet<&String> = expected.keys().take(2).collect();
    for name in &gone {
        fs::remove_file(run.path("pictures").join(name)).expect("was there");
    }
    run.start("box-a").wait().ok();
    run.assert_complete(&expected);
    assert_eq!(run.done().len(), gone.len());
}

/// Rounds in which hosts are killed at moments that no one chose: `PARALLEL_ROUNDS`, else one.
fn rounds() -> u64 {
    std::env::var("PARALLEL_ROUNDS").map_or(1, |text| text.parse().expect("a number of rounds"))
}

#[test]
fn hosts_that_die_in_the_middle_of_a_run_lose_nothing() {
    for round in 0..rounds() {
        let Some(mut run) = Run::new() else { return };
        let expected = run.expected();
        let running = run.start(&HOSTS.join(","));
        // The clock's last digits; what happens at them is checked, so no round has to be repeated.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut random = now.expect("after 1970").subsec_nanos() as usize / 7 + round as usize;
        for _ in 0..2 {
            let victim = HOSTS[random % HOSTS.len()];
            let moment = 1 + random / 3 % (RECORDS / 3);
            random /= 5;
            while run.count(victim) < moment
                && HOSTS.iter().map(|host| run.count(host)).sum::<usize>() < RECORDS / 2
            {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            if random.is_multiple_of(2) {
                // Only what runs there: the host itself stays.
                run.hosts.kill_work(victim);
            } else if run.hosts.alive() > 1 {
                run.hosts.kill(victim);
            }
        }
        let ended = running.wait();
        ended.ok();
        run.assert_complete(&expected);
        let done = run.done().len();
        println!(
            "round {round}: {done} records drawn for {RECORDS} pictures, {} hosts left",
            run.hosts.alive()
        );
        assert!(
            done <= RECORDS + 3 * JOB,
            "{done}: more than the jobs that were cut"
        );
    }
}

/// `examples/cluster/scale.py` with these arguments: its status, and what it printed.
fn scale(arguments: &[&str]) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cluster/scale.py");
    let python = Stage::program("scale.py", "python3").arg(script);
    let python = arguments.iter().fold(python, Stage::arg);
    let ended = pipe([python]).limit(300).run();
    let end = &ended.stages[0];
    assert_eq!(end.stderr, "", "{arguments:?}");
    (
        end.status.code(),
        String::from_utf8(ended.stdout).expect("UTF-8"),
    )
}

#[test]
fn the_simulation_of_many_hosts_says_what_three_do() {
    if !installed("python3") {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let Some(mut run) = Run::new() else { return };
    // So long that this machine's other work matters little.
    for (host, seconds) in [("box-a", 1.0), ("box-b", 4.0), ("box-c", 1.0)] {
        run.slow(host, seconds);
    }
    let running = run.start(&HOSTS.join(","));
    // In its second job.
    while run.count("box-c") <= JOB {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    run.hosts.kill("box-c");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let died = format!("box-c={}", now.expect("after 1970").as_secs_f64());
    running.wait().ok();
    let joblog = run.path("pictures.joblog");
    let (status, said) = scale(&["--joblog", joblog.to_str().expect("UTF-8"), "--dies", &died]);
    println!("{said}");
    assert_eq!(status, Some(0), "{said}");

    // Had each host been dealt the same part, it would be noticed.
    let mut dealt = "Seq\tHost\tStarttime\tJobRuntime".to_owned();
    for (host, seconds) in [("box-a", 1), ("box-b", 3)] {
        for job in 0..RECORDS / JOB / 2 {
            let _ = write!(dealt, "\n{job}\t{host}\t{}\t{seconds}", job * seconds);
        }
    }
    fs::write(&joblog, dealt).expect("written");
    let (status, said) = scale(&["--joblog", joblog.to_str().expect("UTF-8")]);
    assert_eq!(status, Some(1), "{said}");
}

#[test]
fn the_page_about_many_hosts_shows_what_the_simulation_prints() {
    if !installed("python3") {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cluster/SCALE.md");
    let page = fs::read_to_string(page).expect("is there");
    let (status, said) = scale(&[]);
    assert_eq!(status, Some(0));
    assert!(
        said.lines().count() > 9 && page.contains(said.trim_end()),
        "{said}"
    );
}
