//! Many processes on one cache, with each step of theirs held open where another may come between.
//!
//! A step takes microseconds, so that a run of a thousand processes may never show what is wrong between two of them. A
//! library that is loaded before the C library makes such a step take milliseconds.

use pipeline_tests::{Running, Stage, frames, pipe, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use turbo_testkit::tiny_lettered;

/// The C functions that the steps of the cache go by: a file is opened or made, locked, removed; a folder is read; what
/// a path leads to is looked at. One by one, and together where two processes are slow at different steps: a maker
/// before it locks its new file, and one that clears the folder before it removes what it found.
const STEPS: [&str; 7] = [
    "open",
    "flock",
    "unlink",
    "readdir",
    "stat",
    "flock unlink",
    "open flock unlink readdir stat",
];

/// The library, built beside the test; none where there is no C compiler.
fn library(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("hold.c"), folder.join("hold.so"));
    fs::write(&source, include_str!("hold.c")).expect("written");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]);
    let built = compiler.arg(&library).arg(&source).arg("-ldl").output();
    built
        .is_ok_and(|output| output.status.success())
        .then_some(library)
}

#[test]
fn processes_that_share_a_cache_come_between_no_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = library(folder.path()) else {
        println!("skipped: no C compiler");
        return;
    };
    let model = tiny_lettered();
    let prompts = "a b c d e f";
    let expected = pipe([tool("encode-text", prompts).model(&model)]).run();
    for step in STEPS {
        // With room for all, and with so little that they remove what the others have just written or are reading.
        for size in ["1GiB", "150K"] {
            let cache = cache_with_leftovers();
            let start = |seed: usize| -> Running {
                let stage: Stage = tool("encode-text", "--cache-size").arg(size);
                let stage = stage.model(&model).arg("--cache").arg(cache.path());
                let stage = stage.env("LD_PRELOAD", &library).env("HOLD", step);
                pipe([stage.env("HOLD_SEED", seed.to_string()).words(prompts)]).start()
            };
            let running: Vec<_> = (0..8).map(start).collect();
            for process in running {
                let ended = process.wait();
                assert!(ended.ok() == expected.ok(), "{step}, {size}");
                assert_eq!(ended.stages[0].stderr, "", "{step}, {size}");
            }
            for entry in fs::read_dir(cache.path()).expect("a folder") {
                let path = entry.expect("an entry").path();
                let is = |ending: &str| path.extension().is_some_and(|found| found == ending);
                assert!(!is("part"), "{step}, {size}: {} is left", path.display());
                if is("safetensors") {
                    assert_eq!(frames(&fs::read(&path).expect("is there")).len(), 1);
                }
            }
        }
    }
}

/// A folder in which killed processes left files that each process tries to remove when it makes its first.
fn cache_with_leftovers() -> TempDir {
    let cache = tempfile::tempdir().expect("a folder");
    for n in 0..4 {
        fs::write(cache.path().join(format!(".turbo-{n}.part")), "left").expect("written");
    }
    cache
}
