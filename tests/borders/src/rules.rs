//! Which way imports may go in this workspace.

use crate::{Source, circles, imports};
use std::collections::BTreeMap;
use std::path::Path;

/// For a crate, its top modules from the ground up: a module imports from its own floor and those below. Modules of
/// one floor are kept apart by the search for circles. Each module of the crate has a floor.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "shared/kernels",
        &[
            &["arch", "isa", "math", "memory", "context"],
            &["step", "value", "weight"],
            &["product", "norm"],
            &["linear", "attention", "conv"],
            &["reference"],
        ],
    ),
    (
        "shared/sdxl",
        &[
            &["device", "error", "config", "image_processor"],
            &["backend"],
            &["blocks"],
            &["clip", "unet", "vae"],
            &["open"],
        ],
    ),
    (
        "shared/weights",
        &[&["error", "part"], &["tensors"], &["names"], &["locate"]],
    ),
];

/// Words that the sources of a crate must not have, and why.
const WORDS: &[(&str, &[&str], &str)] = &[
    (
        "shared/cli",
        &["Device", "DType", "turbo_sdxl"],
        "cli knows no device",
    ),
    ("shared/wire", &["Device", "DType"], "wire knows no device"),
    (
        "shared/weights",
        &["TcpStream", "UdpSocket", "ToSocketAddrs"],
        "weights open no socket",
    ),
    ("tools", &["turbo_sdxl::backend"], "no tool names a backend"),
    (
        "shared/stage",
        &["turbo_sdxl::backend"],
        "no stage names a backend",
    ),
];

/// Everything that is wrong in the workspace at `root`, a line each.
///
/// # Errors
/// A source cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for (folder, file) in roots(root)? {
        let source = Source::read(&file)?;
        let imports = imports(&source);
        let found = circles(&imports).into_iter();
        faults.extend(found.map(|circle| format!("{folder}: {circle}")));
        if let Some((_, floors)) = FLOORS.iter().find(|(name, _)| *name == folder) {
            let crossed = floors_crossed(&source, &imports, floors).into_iter();
            faults.extend(crossed.map(|fault| format!("{folder}: {fault}")));
        }
        for (place, words, why) in WORDS {
            if Path::new(&folder).starts_with(place) {
                let named = words_in(&source, words).into_iter();
                faults.extend(named.map(|fault| format!("{folder}: {fault}: {why}")));
            }
        }
    }
    Ok(faults)
}

/// Each crate's folder, from the top, and its root file. A package with both has two.
fn roots(root: &Path) -> Result<Vec<(String, std::path::PathBuf)>, String> {
    let mut found = Vec::new();
    for top in ["shared", "tools", "tests"] {
        let top = root.join(top);
        let entries = std::fs::read_dir(&top).map_err(|e| format!("{}: {e}", top.display()))?;
        let below = entries.flatten().map(|entry| entry.path());
        for folder in below.chain([top]) {
            for file in ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file)) {
                if folder.join("Cargo.toml").is_file() && file.is_file() {
                    let name = folder.strip_prefix(root).unwrap_or(&folder);
                    found.push((name.to_string_lossy().into_owned(), file));
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Imports that go up, and modules that have no floor. The root stands on the roof: it imports all, and none import
/// what it defines.
pub fn floors_crossed(
    source: &Source,
    imports: &std::collections::BTreeSet<crate::Import>,
    floors: &[&[&str]],
) -> Vec<String> {
    let floor: BTreeMap<&str, usize> = floors
        .iter()
        .enumerate()
        .flat_map(|(n, names)| names.iter().map(move |name| (*name, n)))
        .collect();
    let of = |path: &[String]| floor.get(path.first()?.as_str()).copied();
    let mut faults = Vec::new();
    for path in source.modules.keys().filter(|path| path.len() == 1) {
        if of(path).is_none() {
            faults.push(format!(
                "module {} has no floor: give it one in rules.rs",
                path[0]
            ));
        }
    }
    for import in imports {
        if let (Some(from), Some(to)) = (of(&import.from), of(&import.to))
            && from < to
        {
            faults.push(format!(
                "{} imports {} from {}, which stands above it",
                import.from.join("::"),
                import.item,
                import.to.join("::")
            ));
        }
    }
    faults
}

/// Modules that say one of `words`.
pub fn words_in(source: &Source, words: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for module in source.modules.values() {
        for word in words {
            if module.says(word) {
                faults.push(format!("module `{}` says {word}", module.path.join("::")));
            }
        }
    }
    faults
}
