//! What README and examples tell people to type.

use pipeline_tests::{BESIDE, Stage, TOOLS, pictures, pipe, python, tool, tool_path};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use turbo_testkit::shared_dir;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests lies in the project")
}

/// README and the files in examples that have commands.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![top().join("README.md")];
    if let Ok(entries) = fs::read_dir(top().join("examples")) {
        let files = entries.map(|entry| entry.expect("a folder entry").path());
        found.extend(files.filter(|path| {
            path.extension()
                .is_some_and(|end| end == "md" || end == "sh")
        }));
    }
    found
}

/// The shell code of a document: a script's own, or a page's `sh` blocks.
fn blocks(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_some_and(|end| end == "sh") {
        return vec![text];
    }
    text.split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

/// The shell lines of a document. A `\` at the end joins lines.
fn commands(path: &Path) -> Vec<String> {
    let blocks = blocks(path);
    let lines = blocks.iter().flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined
            .lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    });
    lines.filter(|line| !line.starts_with('#')).collect()
}

/// The words of a shell line, with its operators as words of their own. Quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '#') => break,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | ';' | '&' | '(' | ')' | '<' | '>' | '`') => {
                words.extend([c.to_string(), String::new()]);
            }
            (None, c) if c.is_whitespace() => words.push(String::new()),
            (_, c) => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Each use of a tool in a line, with its long and short flags. What a `ssh host '...'` runs is looked at too.
fn uses(line: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    // Whether the next word is a command, and whether the last command is a tool.
    let (mut first, mut open) = (true, false);
    for word in words(line) {
        let name = word.rsplit('/').next().unwrap_or(&word);
        if word.contains(char::is_whitespace) && TOOLS.iter().any(|tool| word.contains(tool)) {
            found.extend(uses(&word));
        } else if matches!(&word[..], "|" | ";" | "&" | "(" | ")" | "`") {
            (first, open) = (true, false);
        } else if first && (TOOLS.contains(&name) || BESIDE.contains(&name)) {
            found.push((name.to_owned(), Vec::new()));
            (first, open) = (false, true);
        } else if open && word.starts_with('-') && word.len() > 1 {
            let flag = word.split('=').next().unwrap_or(&word).to_owned();
            found.last_mut().expect("a tool is open").1.push(flag);
        } else {
            // Before a command there may be assignments, and words that take a command.
            first &= word.contains('=')
                || ["do", "then", "else", "exec", "time", "nice", "xargs"].contains(&name);
        }
    }
    found
}

/// Whether the text of `--help` has the flag, not just a longer one.
fn has_flag(help: &str, flag: &str) -> bool {
    let end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    help.match_indices(flag).any(|(at, _)| {
        let before = help[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || c == '[') && end(&help[at + flag.len()..])
    })
}

#[test]
fn every_flag_in_the_documents_exists() {
    let mut help = BTreeMap::new();
    for name in TOOLS.into_iter().chain(BESIDE) {
        let out = pipe([tool(name, "--help")]).run();
        help.insert(name, String::from_utf8(out.ok().to_vec()).expect("UTF-8"));
    }
    let mut checked = 0;
    for path in documents() {
        for line in commands(&path) {
            for (name, flags) in uses(&line) {
                for flag in flags {
                    assert!(
                        has_flag(&help[&name[..]], &flag),
                        "{}: {name} has no {flag}: {line}",
                        path.display()
                    );
                    checked += 1;
                }
            }
        }
    }
    assert!(
        checked > 10,
        "only {checked} flags found: has the documents' form changed?"
    );
}

/// The README's pipes draw pictures, typed as they stand there. `ssh` here runs its command on this machine.
#[cfg(unix)]
#[test]
fn the_recipes_work() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    // The demo's autoencoder is a full one.
    let with_tiny_vae = shared_dir().map(|shared| shared.join("data/prototype"));
    let python = python();
    let commands = tempfile::tempdir().expect("a folder");
    let script = |name: &str, line: &str| {
        let path = commands.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{line}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made a program");
    };
    script("ssh", "shift; exec \"$@\"");
    script(
        "python3",
        &format!("exec '{}' \"$@\"", python.as_deref().unwrap_or("false")),
    );
    for name in TOOLS {
        symlink(tool_path(name), commands.path().join(name)).expect("a link");
    }
    let path = format!(
        "{}:{}",
        commands.path().display(),
        std::env::var("PATH").expect("a PATH")
    );

    let mut drawn = 0;
    for block in blocks(&top().join("README.md")) {
        // These build, download or test; the film has a test of its own.
        let other = [
            "cargo",
            "fetch-model",
            "quantize-model",
            "examples/",
            "ffmpeg",
        ]
        .iter()
        .any(|word| block.contains(word));
        if other || (python.is_none() && block.contains("python3")) {
            continue;
        }
        let model = if block.contains("--vae tiny") {
            let Some(model) = &with_tiny_vae else {
                continue;
            };
            model.clone()
        } else {
            PathBuf::from("demo")
        };
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).expect("written");
        };
        write("prompts.txt", b"a fox\na red apple\n");
        // What a picture is, its first bytes say and not its name.
        write(
            "photo.jpg",
            &[b"P6 150 131 255\n".as_slice(), &vec![90; 150 * 131 * 3][..]].concat(),
        );
        write(
            "mask.pgm",
            &[b"P5 2 1 255\n".as_slice(), &[0, 255]].concat(),
        );
        let lora = top().join("examples/line-drawing.safetensors");
        symlink(lora, folder.path().join("style.safetensors")).expect("a link");
        let shell = Stage::program("bash", "bash")
            .words("-euo pipefail -c")
            .arg(format!("cd \"$0\"\n{block}"));
        let shell = shell
            .arg(folder.path())
            .env("PATH", &path)
            .env("HOME", folder.path())
            .env("TURBO_MODEL", &model);
        pipe([shell]).run().ok();
        let files = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path());
        let found: Vec<_> = files
            .filter(|file| file.extension().is_some_and(|end| end == "png"))
            .collect();
        assert!(!found.is_empty(), "no picture from: {block}");
        for file in found {
            assert_eq!(
                pictures(&fs::read(&file).expect("is there")).len(),
                1,
                "{}: {block}",
                file.display()
            );
            drawn += 1;
        }
    }
    println!("{drawn} pictures drawn");
}

#[test]
fn flags_are_found_in_a_line() {
    let line = r"cargo run -p peek --bin y; seq 3 | A=1 denoise --steps=2 -o 'a b|c' - | ssh host 'decode-latents --nope' > x # peek --x";
    let flags = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        uses(line),
        [
            ("denoise".to_owned(), flags(&["--steps", "-o"])),
            ("decode-latents".to_owned(), flags(&["--nope"]))
        ]
    );
    assert!(
        has_flag("  -o, --output <FILE>", "--output") && has_flag("  -o, --output <FILE>", "-o")
    );
    assert!(!has_flag("  --output-file", "--output") && !has_flag("  --no-output", "--output"));
}
