//! examples/GUIDE.md, typed as it stands there.

use pipeline_tests::{
    BESIDE, Hosts, Stage, TOOLS, installed, missing, pictures, pipe, python, script, tool_path,
};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A block of shell lines, and what stands in the comment above it: `needs: ...`, words for what it takes; or
/// `test: ...`, why the test leaves it to the reader.
struct Block {
    lines: String,
    needs: Vec<String>,
    left_out: Option<String>,
}

fn examples() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    folder.canonicalize().expect("is there")
}

fn blocks() -> Vec<Block> {
    let text = fs::read_to_string(examples().join("GUIDE.md")).expect("is there");
    let mut before = "";
    let mut found = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        match part.strip_prefix("sh\n").filter(|_| index % 2 == 1) {
            None => before = part,
            Some(lines) => {
                let last = before.trim_end().lines().last().unwrap_or_default();
                let comment = last
                    .strip_prefix("<!-- ")
                    .and_then(|rest| rest.strip_suffix(" -->"));
                let (word, rest) = comment
                    .and_then(|text| text.split_once(": "))
                    .unwrap_or_default();
                assert!(["", "needs", "test"].contains(&word), "{last}");
                let needs = if word == "needs" { rest } else { "" };
                found.push(Block {
                    lines: lines.to_owned(),
                    needs: needs.split_whitespace().map(str::to_owned).collect(),
                    left_out: (word == "test").then(|| rest.to_owned()),
                });
            }
        }
    }
    found
}

/// The names of pictures in shell lines.
fn named_pictures(lines: &str) -> BTreeSet<String> {
    let words = lines.split(|c: char| c.is_whitespace() || "'\"=;|&()<>".contains(c));
    let names = words.filter(|word| {
        Path::new(word).extension() == Some("png".as_ref()) && !word.contains(['%', '{', '$'])
    });
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_guide_works() {
    let python = python();
    let has_diffusers = python.as_ref().is_some_and(|python| {
        let probe = Stage::program("python", python)
            .arg("-c")
            .arg("import torch, transformers, diffusers");
        pipe([probe]).run().stages[0].status.success()
    });
    let hosts = Hosts::start(&["gpu-box", "box-a", "box-b"], &[]);
    let absent = |need: &str| match need {
        "python" => python.is_none(),
        "diffusers" => !has_diffusers,
        "ssh" => hosts.is_none(),
        "ffmpeg" => !installed("ffmpeg"),
        "parallel" => missing(&["parallel", "perl"]).is_some(),
        other => panic!("GUIDE.md needs {other:?}, of which the test knows nothing"),
    };

    // The reader's machine: the tools first on the PATH, and a folder to play in.
    let machine = tempfile::tempdir().expect("a folder");
    let (commands, play) = (machine.path().join("bin"), machine.path().join("play"));
    for folder in [&commands, &play] {
        fs::create_dir(folder).expect("made");
    }
    for name in TOOLS.into_iter().chain(BESIDE) {
        symlink(tool_path(name), commands.join(name)).expect("a link");
    }
    if let Some(python) = &python {
        script(
            &commands.join("python3"),
            &format!("exec '{python}' \"$@\""),
        );
    }
    let path = hosts.as_ref().map_or_else(
        || std::env::var_os("PATH").unwrap_or_default(),
        Hosts::search_path,
    );
    let path = [commands].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).expect("no colon in it");

    let (mut run, mut drawn) = (0, 0);
    for Block {
        lines,
        needs,
        left_out,
    } in blocks()
    {
        let lacks: Vec<_> = needs.iter().filter(|need| absent(need)).collect();
        if left_out.is_some() || !lacks.is_empty() {
            let why = left_out.unwrap_or_else(|| format!("{lacks:?} is not here"));
            eprintln!(
                "skipped: {why}: {}",
                lines.lines().next().unwrap_or_default()
            );
            continue;
        }
        let shell = Stage::program("bash", "bash")
            .words("-euo pipefail -c")
            .arg(format!("cd \"$0\"\n{lines}"))
            .arg(&play)
            .env("PATH", &path)
            .env("EXAMPLES", examples())
            .env("PARALLEL_HOME", machine.path().join("parallel"))
            .env("TURBO_MODEL", "demo");
        let ended = pipe([shell]).limit(600).run();
        assert!(
            ended.stages[0].status.success(),
            "{lines}\n{}\n{}",
            ended.stages[0].status,
            ended.stages[0].stderr
        );
        for name in named_pictures(&lines) {
            let bytes =
                fs::read(play.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}: {lines}"));
            assert_eq!(pictures(&bytes).len(), 1, "{name}: {lines}");
            drawn += 1;
        }
        run += 1;
    }
    println!("{run} blocks run, {drawn} pictures");
    assert!(run >= 15 && drawn >= 20, "has the guide's form changed?");
}

#[test]
fn blocks_are_told_apart() {
    let all = blocks();
    assert!(all[0].left_out.is_some(), "the reader's own shell");
    assert!(all.iter().any(|block| block.needs == ["ssh", "parallel"]));
    let names =
        named_pictures("a | to-png -o 'x-%d.png' > y.png; peek --preview=z.png\nls w/1.png");
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        ["w/1.png", "y.png", "z.png"]
    );
}
