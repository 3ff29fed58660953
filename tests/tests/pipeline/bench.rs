//! examples/bench: that its scripts run, on the demo checkpoint, and that the README has what they draw.

use pipeline_tests::{Stage, pipe, python, tool_path};
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    top.canonicalize().expect("is there")
}

fn script(python: &str, name: &str) -> Stage {
    let stage = Stage::program(name, python).env("PYTHONDONTWRITEBYTECODE", "1");
    stage.arg(top().join("examples/bench").join(name))
}

#[test]
fn the_benchmark_measures_and_draws() {
    let Some(python) = python() else { return };
    let run = tempfile::tempdir().expect("a folder");
    let tools = tool_path("denoise");
    let quick = script(&python, "run.py")
        .arg(top().join("shared/demo/files"))
        .arg(run.path())
        .words("--quick --sizes 64 --bin")
        .arg(tools.parent().expect("a folder"));
    pipe([quick.clone()]).run().ok();
    let read = |name: &str| fs::read_to_string(run.path().join(name)).expect("is there");
    let results = read("results.jsonl");
    for stage in ["machine", "text", "unet", "vae", "vae-encode", "picture"] {
        let found = results.contains(&format!(r#""stage": "{stage}""#));
        assert!(found, "no {stage} in {results}");
    }
    let table = read("table.md");
    for row in [
        "both text encoders",
        "UNet",
        "VAE decode, float32",
        "VAE encode, float32",
        "from start to first PNG",
        "both text encoders, int8 weights",
        "UNet, one step, int8 weights",
        "whole pipe, int8 weights: from start to first PNG",
    ] {
        assert!(table.contains(row), "no {row} in {table}");
    }
    assert!(read("chart.svg").starts_with("<svg"));
    // Started again, it finds everything there: only the machine is told anew.
    pipe([quick]).run().ok();
    let added = read("results.jsonl").lines().count() - results.lines().count();
    assert_eq!(added, 1);
}

#[test]
fn the_readme_has_what_the_committed_results_draw() {
    let Some(python) = python() else { return };
    let readme = fs::read_to_string(top().join("README.md")).expect("is there");
    let (_, after) = readme.split_once("(examples/bench/runs/").expect("a chart");
    let (run, _) = after.split_once('/').expect("a folder");
    let check = script(&python, "table.py")
        .arg(top().join("examples/bench/runs").join(run))
        .words("--check --readme")
        .arg(top().join("README.md"));
    pipe([check]).run().ok();
}

/// The table of autoencoders is of another machine than the block's.
#[test]
fn the_readme_has_the_autoencoders_of_a_committed_run() {
    let read = |path: &str| fs::read_to_string(top().join(path)).expect("is there");
    let table = read("examples/bench/runs/2026-11-27-intel-xeon-amx/table.md");
    let (_, table) = table
        .split_once("Autoencoders, 512x512")
        .expect("encoding was measured");
    let rows: Vec<_> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let readme = read("README.md");
    assert!(rows.len() > 2, "no rows in {table}");
    assert!(
        readme.contains(&rows.join("\n")),
        "README.md lacks {rows:?}"
    );
}
