//! A file that is cut while it is mapped. The child is this test once more, which a variable tells what to do.
#![cfg(unix)]
#![allow(missing_docs)]

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;
use turbo_testkit::write_safetensors;

#[test]
fn a_cut_file_is_named_once_and_the_status_is_1() {
    const VARIABLE: &str = "TURBO_TEST_CUT_FILE";
    if let Some(path) = std::env::var_os(VARIABLE) {
        turbo_weights::on_cut(|| {
            let path = std::env::var_os(VARIABLE).unwrap();
            // Long enough for every thread to come as far as this.
            std::thread::sleep(Duration::from_millis(200));
            std::fs::remove_file(Path::new(&path).with_extension("part")).unwrap();
        });
        let weights = turbo_weights::open_file(&path).unwrap();
        let weight = weights.get("x", &[1 << 20]).unwrap();
        assert_eq!(weight.bytes()[..4], [0; 4]);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(4096)
            .unwrap();
        // As the threads of a product do.
        let together = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together.wait();
                    let sum: u64 = weight.bytes().iter().map(|b| u64::from(*b)).sum();
                    unreachable!("a page that is not there was read: {sum}");
                });
            }
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_safetensors(&path, "F16", &[("x", &[1 << 20], vec![0; 2 << 20])]);
    // Stands for the temporary files of a tool.
    let temporary = path.with_extension("part");
    std::fs::write(&temporary, "x").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_cut_file_is_named_once_and_the_status_is_1",
            "--nocapture",
        ])
        .env(VARIABLE, &path)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(1), "{stderr}");
    let expected = format!("{}: the file was cut while it was in use", path.display());
    assert_eq!(stderr.matches(&expected).count(), 1, "{stderr}");
    assert!(!temporary.exists());
}
