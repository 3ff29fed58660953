//! examples/cluster: the Snakemake workflow, where the package is at hand, and the tasks of the Slurm job array.

use pipeline_tests::{Picture, Slurm, Stage, pictures, pipe, python, script, tool, tool_path};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const RECORDS: usize = 5;

/// A folder with `records.jsonl`, whose records have seeds if `seeds`.
fn folder(seeds: bool) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let records = (0..RECORDS).map(|k| {
        let mut record = json!({"id": format!("n{k}"), "prompt": format!("a red fox {k}")});
        if seeds {
            record["seed"] = json!(7 + k);
        }
        record.to_string()
    });
    let records: Vec<String> = records.collect();
    fs::write(folder.path().join("records.jsonl"), records.join("\n")).expect("written");
    folder
}

fn cluster(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/cluster")
        .join(file)
}

/// A program that runs in `folder` with the tools on its PATH.
fn program(folder: &Path, program: &str, arguments: &str) -> Stage {
    let tools = tool_path("to-png");
    let tools = tools.parent().expect("it lies in a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = [tools].into_iter().chain(std::env::split_paths(&path));
    Stage::program(program, "bash")
        .arg("-c")
        .arg(format!("cd '{}'; {arguments}", folder.display()))
        .env("PATH", std::env::join_paths(path).expect("no colon in it"))
        .env("TURBO_MODEL", "demo")
}

/// What one pipe draws of the records, by id, from the seeds 7, 8 and so on.
fn expected(folder: &Path) -> BTreeMap<String, Picture> {
    let stages = [
        tool("encode-text", "--model demo --jsonl").arg(folder.join("records.jsonl")),
        tool("denoise", "--seed 7"),
        tool("decode-latents", ""),
        tool("to-png", ""),
    ];
    let drawn = pictures(pipe(stages).run().ok());
    let drawn = drawn.into_iter().enumerate();
    drawn
        .map(|(k, picture)| (format!("n{k}"), picture))
        .collect()
}

/// Asserts that the pictures at `path(k)` are the expected ones.
fn assert_drawn(expected: &BTreeMap<String, Picture>, path: impl Fn(usize) -> PathBuf) {
    for k in 0..RECORDS {
        let path = path(k);
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let found = pictures(&bytes);
        assert!(
            found[0].pixels == expected[&format!("n{k}")].pixels,
            "{}",
            path.display()
        );
    }
}

/// `snakemake` beside the Python with the packages.
fn snakemake() -> Option<PathBuf> {
    let python = python()?;
    let snakemake = Path::new(&python).with_file_name("snakemake");
    if !snakemake.is_file() {
        eprintln!("skipped: {python} has no snakemake");
        return None;
    }
    Some(snakemake)
}

#[test]
fn the_workflow_draws_what_one_pipe_draws_and_keeps_embeddings() {
    let Some(snakemake) = snakemake() else { return };
    let folder = folder(false);
    let folder = folder.path();
    let run = |seeds: &str| {
        let line = format!(
            "'{}' --snakefile '{}' --cores 2 --quiet all --config records=records.jsonl records_per_job=2 'seeds={seeds}'",
            snakemake.display(),
            cluster("Snakefile").display()
        );
        pipe([program(folder, "snakemake", &line).env("HOME", folder)])
            .limit(600)
            .run()
            .ok();
    };
    run("[7]");
    let picture =
        |seed: usize, k: usize| folder.join(format!("pictures/{seed}/{:05}/n{k}.png", k / 2));
    let expected = expected(folder);
    assert_drawn(&expected, |k| picture(7, k));

    // Another seed: prompts are not encoded again, and what was drawn stays.
    let written = |path: PathBuf| {
        fs::metadata(path)
            .and_then(|file| file.modified())
            .expect("is there")
    };
    let embeddings = || written(folder.join("embeddings/00001.stream"));
    let before = (embeddings(), written(picture(7, 0)));
    run("[7,100]");
    assert_eq!((embeddings(), written(picture(7, 0))), before);
    assert!(picture(100, RECORDS - 1).is_file());
    let report = fs::read_to_string(folder.join("report.tsv")).expect("is there");
    assert_eq!(report.lines().count(), 1 + 3 + 6, "{report}");
}

#[test]
fn the_tasks_of_the_job_array_draw_each_record_once() {
    let folder = folder(true);
    let folder = folder.path();
    let task = |task: usize| {
        let line = format!(
            "SLURM_ARRAY_TASK_ID={task} SLURM_ARRAY_TASK_COUNT=2 SLURM_CPUS_PER_TASK=1 bash '{}' records.jsonl pictures",
            cluster("slurm.sh").display()
        );
        pipe([program(folder, "slurm.sh", &line)]).run().ok();
    };
    task(1);
    let count = || {
        fs::read_dir(folder.join("pictures"))
            .expect("a folder")
            .count()
    };
    assert_eq!(count(), RECORDS / 2);
    // As one that is requeued.
    task(1);
    task(0);
    assert_eq!(count(), RECORDS);
    assert_drawn(&expected(folder), |k| {
        folder.join(format!("pictures/n{k}.png"))
    });
}

#[test]
fn a_node_that_dies_costs_the_job_array_nothing() {
    let Some(mut slurm) = Slurm::start(2) else {
        return;
    };
    let folder = folder(true);
    let folder = folder.path();
    // So slow that there is a middle.
    let slow = folder.join("slow");
    fs::create_dir(&slow).expect("made");
    script(
        &slow.join("denoise"),
        &format!("sleep 2; exec '{}' \"$@\"", tool_path("denoise").display()),
    );
    let line = format!(
        "export PATH=\"$PWD/slow:$PATH\"; sbatch --parsable --array=0-3 --mem=1G '{}' records.jsonl pictures",
        cluster("slurm.sh").display()
    );
    let submit = program(folder, "sbatch", &line).env("SLURM_CONF", slurm.config());
    let array = String::from_utf8(pipe([submit]).run().ok().to_vec()).expect("a number");
    let array = array.trim();
    let running =
        |slurm: &Slurm| slurm.ask("squeue", &["-h", "-t", "R", "-w", "n2", "-o", "%A %i"]);
    slurm.wait("a task runs on n2", || !running(&slurm).is_empty());
    let line = running(&slurm);
    let (job, task) = line.trim().split_once(' ').expect("two words");
    let (job, task) = (job.to_owned(), task.to_owned());
    slurm.kill("n2", &job);
    slurm.wait("the queue is empty", || {
        slurm.ask("squeue", &["-h"]).trim().is_empty()
    });
    let end = slurm.ask("scontrol", &["show", "job", &task]);
    assert!(
        end.contains("JobState=COMPLETED") && end.contains("Restarts=1"),
        "{end}"
    );
    println!("task {task} of array {array} was requeued when n2 died");
    assert_drawn(&expected(folder), |k| {
        folder.join(format!("pictures/n{k}.png"))
    });
}
