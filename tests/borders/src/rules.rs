//! Which way imports may go in this workspace.

use crate::{Said, Source, circles, imports, unused};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// Numbers that the code of a package must not write out, and modules where they count something else: channels and
/// scale of latents come from the protocol's names, or from the model.
const NUMBERS: &[(&str, &[u64], &[&str])] = &[
    // Threads a core.
    ("shared/stage", &[4, 8], &["slot"]),
    ("tools/encode-image", &[4, 8], &[]),
    // Bytes of a float, encodings that are kept, names that an error lists.
    (
        "tools/encode-text",
        &[4, 8],
        &["embeddings", "encoder", "textual_inversion"],
    ),
    // Steps.
    ("tools/denoise", &[4, 8], &["recipes"]),
    ("tools/decode-latents", &[4, 8], &[]),
    // Digits of a number.
    ("tools/peek", &[4], &["table"]),
];

/// The modules that a crate leaves open. What is not open is dead when nothing uses it, which the compiler finds.
const OPEN: &[(&str, &[&str])] = &[("shared/sdxl", &["image_processor"])];

/// Public names that only their own package's tests use: naive loops, which all kernels are compared with.
const FOR_TESTS: &[&str] = &["linear_int8"];

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
        if let Some((_, numbers, except)) = NUMBERS.iter().find(|(name, ..)| *name == folder) {
            let written = numbers_in(&source, numbers, except).into_iter();
            faults.extend(written.map(|fault| format!("{folder}: {fault}")));
        }
        if let Some((_, open)) = OPEN.iter().find(|(name, _)| *name == folder) {
            let opened = opened(&source, open).into_iter();
            faults.extend(opened.map(|fault| format!("{folder}: {fault}")));
        }
    }
    faults.extend(unused_names(root)?);
    Ok(faults)
}

/// Public names of the shared crates that neither they nor the packages that depend on them say.
fn unused_names(root: &Path) -> Result<Vec<String>, String> {
    let mut packages = Vec::new();
    for folder in folders(root)? {
        let manifest = folder.join("Cargo.toml");
        let manifest = std::fs::read_to_string(&manifest)
            .map_err(|e| format!("{}: {e}", manifest.display()))?;
        packages.push((Said::read(&folder)?, manifest, folder));
    }
    let mut faults = Vec::new();
    for (said, manifest, folder) in &packages {
        let name = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = "));
        let name = name.unwrap_or_default().trim_matches('"');
        let shared = folder
            .strip_prefix(root)
            .is_ok_and(|path| path.starts_with("shared"));
        if shared {
            let depends = |manifest: &str| manifest.lines().any(|line| line.starts_with(name));
            let others = packages.iter().filter(|(_, manifest, _)| depends(manifest));
            let others: Vec<_> = others.map(|(said, ..)| said).collect();
            for dead in unused(folder, said, &others)? {
                if !FOR_TESTS.contains(&&dead[..]) {
                    faults.push(format!("{name}: {dead} is public, and nobody names it"));
                }
            }
        }
    }
    Ok(faults)
}

/// The folders that hold packages.
fn folders(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for top in ["shared", "tools", "tests"] {
        let top = root.join(top);
        let entries = std::fs::read_dir(&top).map_err(|e| format!("{}: {e}", top.display()))?;
        let below = entries.flatten().map(|entry| entry.path());
        found.extend(
            below
                .chain([top])
                .filter(|folder| folder.join("Cargo.toml").is_file()),
        );
    }
    found.sort();
    Ok(found)
}

/// Each crate's folder, from the top, and its root file. A package with both has two.
fn roots(root: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut found = Vec::new();
    for folder in folders(root)? {
        for file in ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file)) {
            if file.is_file() {
                let name = folder.strip_prefix(root).unwrap_or(&folder);
                found.push((name.to_string_lossy().into_owned(), file));
            }
        }
    }
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

/// Modules other than `except` that write out one of `numbers`.
pub fn numbers_in(source: &Source, numbers: &[u64], except: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    for module in source.modules.values() {
        let path = module.path.join("::");
        for number in numbers {
            if module.counts(*number) && !except.contains(&&path[..]) {
                faults.push(format!(
                    "module `{path}` writes out {number}: take it from turbo_wire::names, or say in rules.rs what it counts"
                ));
            }
        }
    }
    faults
}

/// Public modules of the root that are not among `open`.
pub fn opened(source: &Source, open: &[&str]) -> Vec<String> {
    let top = source
        .modules
        .values()
        .filter(|module| module.path.len() == 1);
    top.filter(|module| module.is_public && !open.contains(&&module.path[0][..]))
        .map(|module| {
            format!(
                "module `{}` is public: pass on the names that others need",
                module.path[0]
            )
        })
        .collect()
}
