//! Where the tools are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The tools of a pipe, which are packages and binaries of these names.
pub const TOOLS: [&str; 5] = ["encode-text", "denoise", "decode-latents", "to-png", "peek"];
/// The tool that stands beside the pipe.
const FETCH_MODEL: &str = "fetch-model";

/// The binary of a tool of [`TOOLS`] or of `fetch-model`, of the same profile as the running test. All are built first if one is missing or older
/// than its sources: cargo builds other packages' binaries only for their own tests.
///
/// # Panics
/// If it cannot be built.
pub fn tool_path(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = binary(FOLDER.get_or_init(built), name);
    assert!(path.is_file(), "{}: there is no such tool", path.display());
    path
}

/// The folder of the tools, which are there and fresh.
fn built() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the running test");
    let folder = program
        .parent()
        .and_then(Path::parent)
        .expect("a test runs in target/PROFILE/deps");
    if !all().all(|name| is_fresh(folder, name)) {
        build(folder);
    }
    for name in all() {
        let path = binary(folder, name);
        let hint = "run `cargo build --workspace` with the profile and target folder of the tests";
        assert!(path.is_file(), "{} was not built; {hint}", path.display());
    }
    folder.to_owned()
}

fn all() -> impl Iterator<Item = &'static str> {
    TOOLS.into_iter().chain([FETCH_MODEL])
}

fn binary(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Whether the binary is there and no older than the sources that cargo's dep-info beside it lists.
fn is_fresh(folder: &Path, name: &str) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified());
    let Ok(made) = modified(&binary(folder, name)) else {
        return false;
    };
    let Ok(list) = fs::read_to_string(folder.join(format!("{name}.d"))) else {
        return false;
    };
    let Some((_, sources)) = list.lines().next().and_then(|line| line.split_once(": ")) else {
        return false;
    };
    // A blank in a path is written with a backslash.
    let sources = sources.replace("\\ ", "\0");
    sources.split(' ').all(|source| {
        let source = source.replace('\0', " ");
        modified(Path::new(&source)).is_ok_and(|time| time <= made)
    })
}

/// Builds the tools where cargo put the running test: TARGET[/TRIPLE]/PROFILE.
fn build(folder: &Path) {
    let profile = folder
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a profile's folder");
    let profile = if profile == "debug" { "dev" } else { profile };
    let above = folder
        .parent()
        .expect("a profile's folder lies in the target folder");
    // Cargo marks the top of a target folder; with --target there is a folder between.
    let (target, triple) = match above.file_name() {
        Some(triple) if !above.join("CACHEDIR.TAG").is_file() => {
            (above.parent().expect("a target folder"), Some(triple))
        }
        _ => (above, None),
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--locked", "--profile", profile]);
    cargo.arg("--target-dir").arg(target);
    if let Some(triple) = triple {
        cargo.arg("--target").arg(triple);
    }
    for tool in all() {
        cargo.args(["--package", tool]);
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("{cargo:?}: {e}"));
    assert!(status.success(), "{cargo:?}: {status}");
}
