//! What servers answer: a run of `fetch-model` that gets the answers of an input, one a connection, with a byte 0x1e
//! between them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::Parser;
use fetch_model::Args;
use fetch_model::fuzz::{HUB, TOKEN, run as fetch};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::stream::allocated;

/// Bytes that a run may allocate in all for each byte that came, beside, and for each connection. A listing becomes JSON
/// values, files and paths; a connection has buffers of its own, and a download one of 256 KiB.
const PER_BYTE: usize = 200;
const BESIDE: usize = 1 << 20;
const PER_CONNECTION: usize = 1 << 20;

/// In memory where there is such a place, as each input makes files.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    folder.expect("a folder")
});

/// Fetches a file and some parts of a model.
pub(super) fn run(input: &[u8]) {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    let answers: Vec<&[u8]> = rest.split(|&byte| byte == 0x1e).collect();
    let words: &[&str] = match first % 3 {
        0 => &["o/n", "a.json"],
        1 => &["o/n", "b/c.safetensors", "a.json"],
        _ => &["o/n", "--only", "scheduler"],
    };
    let words = ["fetch-model", "--retries", "0"].iter().chain(words);
    let args = Args::parse_from(words);
    let cache = FOLDER.path().join("hub");

    let before = allocated();
    let outcome = fetch(&args, &cache, &answers);
    let allocated = allocated() - before;
    let allowed = PER_BYTE * input.len() + BESIDE + PER_CONNECTION * outcome.sent.len();
    assert!(
        allocated <= allowed,
        "{allocated} bytes allocated for {} and {} connections",
        input.len(),
        outcome.sent.len()
    );

    // The token goes to the hub, and nothing goes unencrypted.
    for (address, sent) in &outcome.sent {
        assert!(address.starts_with("https://"), "{address}");
        let at_hub = ["/", "?", ":443/", ":443?"].iter().any(|next| {
            address
                .to_ascii_lowercase()
                .starts_with(&format!("{HUB}{next}"))
        });
        let sent = String::from_utf8_lossy(sent);
        assert!(
            at_hub || !sent.contains(TOKEN),
            "the token went to {address}"
        );
    }
    let mut said = outcome.said.clone();
    if let Err(error) = &outcome.result {
        said.push(error.to_string());
    }
    for text in said {
        assert!(text.len() < 4000 && !text.contains(TOKEN), "{text}");
    }

    // What is there is what its name says, and lies where it should.
    let model = cache.join("models--o--n");
    for path in files(&cache) {
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.starts_with(model.join("blobs")) {
            if !name.ends_with(".incomplete") {
                let content = fs::read(&path).expect("is there");
                assert_eq!(name, hash(&content, name.len()));
            }
        } else if path.starts_with(model.join("snapshots")) {
            let whole = path.canonicalize().expect("a link leads to a blob");
            assert!(
                whole.starts_with(model.canonicalize().expect("is there").join("blobs")),
                "{}",
                whole.display()
            );
        } else {
            let places = [model.join("refs"), cache.join(".locks/models--o--n")];
            assert!(
                places.iter().any(|place| path.starts_with(place)),
                "{}",
                path.display()
            );
        }
    }
    if let Ok(fetched) = &outcome.result {
        for file in &args.files {
            assert!(fetched.snapshot.join(file).is_file(), "{file}");
        }
    }
    let _ = fs::remove_dir_all(&cache);
    assert_eq!(fs::read_dir(FOLDER.path()).expect("a folder").count(), 0);
}

/// All files and links below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().expect("is there").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// The content's name of so many digits.
fn hash(content: &[u8], digits: usize) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    if digits == 64 {
        return hex(&Sha256::digest(content));
    }
    let mut git = Sha1::new();
    git.update(format!("blob {}\0", content.len()));
    git.update(content);
    hex(&git.finalize())
}
