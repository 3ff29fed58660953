//! A file that changes while it is mapped.
#![cfg(unix)]
#![allow(missing_docs)]

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, SystemTime};
use turbo_testkit::write_safetensors;

#[test]
fn a_mapped_file_that_changes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_safetensors(&path, "F16", &[("x", &[1000], vec![0; 2000])]);
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let open = || File::options().write(true).open(&path).unwrap();
    open().set_modified(long_ago).unwrap();
    let original = fs::read(&path).unwrap();

    let weights = turbo_weights::open_file(&path).unwrap();
    turbo_weights::check_unchanged().unwrap();
    // Another file under its name is no change of the one that is mapped.
    let new = folder.path().join("new");
    fs::write(&new, &original).unwrap();
    fs::rename(&new, &path).unwrap();
    turbo_weights::check_unchanged().unwrap();
    drop(weights);

    // Overwritten in its place, by the same length; and cut by less than a page, of which the system says nothing.
    let changes: [&dyn Fn(); 2] = [&|| open().write_all(&original).unwrap(), &|| {
        open().set_len(original.len() as u64 - 1).unwrap();
    }];
    for change in changes {
        fs::write(&path, &original).unwrap();
        open().set_modified(long_ago).unwrap();
        let weights = turbo_weights::open_file(&path).unwrap();
        turbo_weights::check_unchanged().unwrap();
        change();
        let error = turbo_weights::check_unchanged().unwrap_err().to_string();
        let expected = format!("{}: expected a file that stays as it is", path.display());
        assert!(error.starts_with(&expected), "{error}");
        // Which ends with its use.
        drop(weights);
        turbo_weights::check_unchanged().unwrap();
    }
}
