//! Where the tools are.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use turbo_testkit::process::Stage;

/// The tools of a pipe, which are packages and binaries of these names.
pub const TOOLS: [&str; 6] = [
    "encode-text",
    "encode-image",
    "denoise",
    "decode-latents",
    "to-png",
    "peek",
];
/// The tools that stand beside the pipe.
pub const BESIDE: [&str; 2] = ["fetch-model", "quantize-model"];

/// A tool of this workspace with the words of `arguments`, which are separated by blanks.
///
/// # Panics
/// If the tool is missing and cannot be built.
pub fn tool(name: &str, arguments: &str) -> Stage {
    Stage::program(name, tool_path(name)).words(arguments)
}

/// A tool of this workspace that reads stdin, without further arguments.
///
/// # Panics
/// As [`tool`].
pub fn reading_tool(name: &str) -> Stage {
    // It reads nothing that is not named.
    let named = if name == "encode-image" {
        "--join -"
    } else {
        ""
    };
    tool(name, named)
}

/// The binary of a tool of [`TOOLS`] or [`BESIDE`], of the same profile as the running test. All are built first if one
/// is missing or older than its sources: cargo builds other packages' binaries only for their own tests.
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
    // A test runs in target/PROFILE/deps, a program of this package in target/PROFILE.
    let mut folder = program.parent().expect("it lies in a folder");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("cargo made it");
    }
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
    TOOLS.into_iter().chain(BESIDE)
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

/// Builds the tools where cargo put the running test.
fn build(folder: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--locked"]).args(place(folder));
    for tool in all() {
        cargo.args(["--package", tool]);
    }
    let status = cargo.status().unwrap_or_else(|e| panic!("{cargo:?}: {e}"));
    assert!(status.success(), "{cargo:?}: {status}");
}

/// Cargo's flags for a folder of binaries, which is TARGET[/TRIPLE]/PROFILE.
fn place(folder: &Path) -> Vec<OsString> {
    let profile = folder.file_name().expect("a profile's folder");
    let profile = if profile == "debug" {
        OsStr::new("dev")
    } else {
        profile
    };
    let above = folder.parent().expect("it lies in the target folder");
    // With --target there is a folder between. Cargo marks the top of a target folder, unless somebody else made it.
    let marked = |folder: &Path| folder.join("CACHEDIR.TAG").is_file();
    let (target, triple) = match above.parent() {
        Some(target) if !marked(above) && marked(target) => (target, above.file_name()),
        _ => (above, None),
    };
    let mut flags = vec![OsStr::new("--profile"), profile];
    flags.extend([OsStr::new("--target-dir"), target.as_os_str()]);
    flags.extend(
        triple
            .into_iter()
            .flat_map(|triple| [OsStr::new("--target"), triple]),
    );
    flags.into_iter().map(OsStr::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn tools_are_built_where_the_tests_were() {
        let target = tempfile::tempdir().expect("a folder");
        let target = target.path();
        // A folder that somebody made before cargo used it has no mark.
        let unmarked = [
            OsStr::new("--profile"),
            OsStr::new("release"),
            OsStr::new("--target-dir"),
            target.as_os_str(),
        ];
        assert_eq!(place(&target.join("release")), unmarked);
        fs::write(target.join("CACHEDIR.TAG"), "").expect("written");
        let flags = |folder: &str, flags: &[&str]| {
            let [profile, rest @ ..] = flags else {
                panic!("a profile")
            };
            let dir = target.to_str().expect("UTF-8");
            let expected = [&["--profile", profile, "--target-dir", dir], rest].concat();
            assert_eq!(place(&target.join(folder)), expected);
        };
        flags("debug", &["dev"]);
        flags("release", &["release"]);
        flags(
            "x86_64-unknown-linux-musl/debug",
            &["dev", "--target", "x86_64-unknown-linux-musl"],
        );
    }

    #[test]
    fn a_binary_is_fresh_until_a_source_is_newer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let source = path("a source.rs");
        fs::write(&source, "").expect("written");
        assert!(!is_fresh(folder.path(), "tool"), "it is not there");
        let binary = binary(folder.path(), "tool");
        fs::write(&binary, "").expect("written");
        assert!(!is_fresh(folder.path(), "tool"), "nobody knows its sources");
        let listed = source.to_str().expect("UTF-8").replace(' ', "\\ ");
        let list = format!("{}: {listed}\n", binary.display());
        fs::write(path("tool.d"), list).expect("written");
        assert!(is_fresh(folder.path(), "tool"));
        let later = SystemTime::now() + Duration::from_secs(60);
        let file = fs::File::options()
            .append(true)
            .open(&source)
            .expect("is there");
        file.set_modified(later).expect("set");
        assert!(!is_fresh(folder.path(), "tool"), "the source is newer");
        fs::remove_file(&source).expect("removed");
        assert!(!is_fresh(folder.path(), "tool"), "the source is gone");
    }
}
