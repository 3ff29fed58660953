//! What README and examples tell people to type.

use pipeline_tests::{TOOLS, pipe, tool};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// README and the files in examples that have commands.
fn documents() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the project");
    let mut found = vec![top.join("README.md")];
    if let Ok(entries) = fs::read_dir(top.join("examples")) {
        let files = entries.map(|entry| entry.expect("a folder entry").path());
        found.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md" || end == "sh")));
    }
    found.retain(|path| path.is_file());
    found
}

/// The shell lines of a document: a script's own, or those of a page's `sh` blocks. A `\` at the end joins lines.
fn commands(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let blocks: Vec<String> = if path.extension().is_some_and(|end| end == "sh") {
        vec![text]
    } else {
        text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
    };
    let lines = blocks.iter().flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    });
    lines.filter(|line| !line.starts_with('#')).collect()
}

/// The words of a shell line, with its operators as words of their own. Quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut comment = false;
    for c in line.chars().take_while(|&c| {
        comment |= c == '#' && quote.is_none();
        !comment
    }) {
        match (quote, c) {
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
    let mut open = false;
    for word in words(line) {
        let name = word.rsplit('/').next().unwrap_or(&word);
        if word.contains(char::is_whitespace) && TOOLS.iter().any(|tool| word.contains(tool)) {
            found.extend(uses(&word));
        } else if !open && (TOOLS.contains(&name) || name == "fetch-model") {
            found.push((name.to_owned(), Vec::new()));
            open = true;
        } else if matches!(&word[..], "|" | ";" | "&" | "(" | ")" | "`") {
            open = false;
        } else if open && word.starts_with('-') && word.len() > 1 {
            let flag = word.split('=').next().unwrap_or(&word).to_owned();
            found.last_mut().expect("a tool is open").1.push(flag);
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
    let documents = documents();
    if documents.is_empty() {
        eprintln!("skipped: there is neither README.md nor a page in examples");
        return;
    }
    let mut help = BTreeMap::new();
    for name in TOOLS {
        let out = pipe([tool(name, "--help")]).run();
        help.insert(name, String::from_utf8(out.ok().to_vec()).expect("UTF-8"));
    }
    let mut checked = 0;
    for path in documents {
        for line in commands(&path) {
            for (name, flags) in uses(&line) {
                // fetch-model has tests of its own, and is not built for these.
                let Some(help) = help.get(&name[..]) else { continue };
                for flag in flags {
                    assert!(has_flag(help, &flag), "{}: {name} has no {flag}: {line}", path.display());
                    checked += 1;
                }
            }
        }
    }
    println!("{checked} flags checked");
}

#[test]
fn flags_are_found_in_a_line() {
    let line = r#"seq 3 | denoise --steps=2 -o 'a b|c' - | ssh host 'decode-latents --nope' > x # peek --x"#;
    let flags = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        uses(line),
        [("denoise".to_owned(), flags(&["--steps", "-o"])), ("decode-latents".to_owned(), flags(&["--nope"]))]
    );
    assert!(has_flag("  -o, --output <FILE>", "--output") && has_flag("  -o, --output <FILE>", "-o"));
    assert!(!has_flag("  --output-file", "--output") && !has_flag("  --no-output", "--output"));
}
