//! The Hugging Face cache, as the Python library lays it out.
#![allow(missing_docs)]
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;
use turbo_testkit::write_safetensors;
use turbo_weights::{Error, LocateOptions, Model, Part, locate_vae};

const FIRST: &str = "0123456789abcdef0123456789abcdef01234567";
const SECOND: &str = "0123ffffffffffffffffffffffffffffffffffff";

/// `models--owner--name/{blobs,refs,snapshots}` with two commits, `main` at the first, and the tag `v2` and the pull
/// request 1 at the second; files are links into blobs/.
fn cache() -> TempDir {
    let cache = tempfile::tempdir().unwrap();
    let model = cache.path().join("models--owner--name");
    for folder in ["blobs", "refs/refs/pr"] {
        fs::create_dir_all(model.join(folder)).unwrap();
    }
    for (commit, value) in [(FIRST, 1), (SECOND, 2)] {
        let unet = model.join("snapshots").join(commit).join("unet");
        fs::create_dir_all(&unet).unwrap();
        let blob = model.join("blobs").join(format!("{value:064}"));
        write_safetensors(&blob, "F16", &[("a", &[1], vec![value; 2])]);
        let target = Path::new("../../../blobs").join(blob.file_name().unwrap());
        symlink(
            target,
            unet.join("diffusion_pytorch_model.fp16.safetensors"),
        )
        .unwrap();
    }
    fs::write(model.join("refs/main"), FIRST).unwrap();
    fs::write(model.join("refs/v2"), format!("{SECOND}\n")).unwrap();
    fs::write(model.join("refs/refs/pr/1"), SECOND).unwrap();
    cache
}

fn locate(cache: &TempDir, spec: &str) -> Result<Model, Error> {
    let options = LocateOptions {
        cache: Some(cache.path().to_owned()),
        ..LocateOptions::default()
    };
    Model::locate(spec, &options)
}

#[test]
fn branches_tags_commits_and_their_beginnings_are_found() {
    let cache = cache();
    let specs = [
        ("owner/name", FIRST, 1),
        ("owner/name@main", FIRST, 1),
        ("owner/name@v2", SECOND, 2),
        ("owner/name@refs/pr/1", SECOND, 2),
        (&format!("owner/name@{SECOND}"), SECOND, 2),
        ("owner/name@01234", FIRST, 1),
        ("owner/name@0123f", SECOND, 2),
    ];
    for (spec, commit, value) in specs {
        let model = locate(&cache, spec).unwrap();
        assert_eq!(model.name(), format!("owner/name@{commit}"), "{spec}");
        let weights = model.weights(Part::Unet).unwrap();
        assert_eq!(
            weights.get("a", &[1]).unwrap().bytes(),
            [value; 2],
            "{spec}"
        );
        let again = locate(&cache, model.name()).unwrap();
        assert_eq!(again.name(), model.name());
    }
}

#[test]
fn what_is_not_cached_is_told_with_the_line_to_type() {
    let cache = cache();
    let error = locate(&cache, "stabilityai/sdxl-turbo")
        .err()
        .unwrap()
        .to_string();
    let folder = cache.path().display();
    let expected = format!(
        "stabilityai/sdxl-turbo: not in the Hugging Face cache at {folder}; \
         type `fetch-model stabilityai/sdxl-turbo`, or try `--model demo`"
    );
    assert_eq!(error, expected);
    let error = locate(&cache, "owner/name@v3").err().unwrap().to_string();
    assert!(
        error.contains("revision `v3` is not in")
            && error.contains(FIRST)
            && error.contains(SECOND),
        "{error}"
    );
    assert!(
        error.contains("`fetch-model owner/name@v3`") && error.contains("--model demo"),
        "{error}"
    );
    let error = locate(&cache, "owner/name@0123").err().unwrap();
    assert!(
        matches!(&error, Error::AmbiguousRevision { found, .. } if found.len() == 2),
        "{error}"
    );
    // Three digits are not taken for a hash.
    assert!(matches!(
        locate(&cache, "owner/name@012").err().unwrap(),
        Error::NoSuchRevision { .. }
    ));
    // A folder that was begun and holds no snapshot.
    fs::create_dir_all(cache.path().join("models--a--b/snapshots")).unwrap();
    assert!(matches!(
        locate(&cache, "a/b").err().unwrap(),
        Error::NotInCache { .. }
    ));
    // `main` points at a commit that was not fetched.
    fs::write(
        cache.path().join("models--owner--name/refs/main"),
        "f".repeat(40),
    )
    .unwrap();
    let error = locate(&cache, "owner/name").err().unwrap().to_string();
    assert!(error.contains("revision `main` is not in"), "{error}");
}

#[test]
fn an_incomplete_snapshot_says_to_fetch() {
    let cache = cache();
    let model = locate(&cache, "owner/name").unwrap();
    for error in [
        model.config(Part::Vae).unwrap_err(),
        model.weights(Part::Vae).err().unwrap(),
    ] {
        assert!(
            error.to_string().contains("type `fetch-model owner/name`"),
            "{error}"
        );
    }
    // A link whose blob is gone.
    let model = locate(&cache, "owner/name@v2").unwrap();
    fs::remove_file(
        cache
            .path()
            .join("models--owner--name/blobs")
            .join(format!("{:064}", 2)),
    )
    .unwrap();
    let error = model.weights(Part::Unet).err().unwrap();
    assert!(matches!(&error, Error::NoWeights { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("type `fetch-model owner/name@v2`"),
        "{error}"
    );
}

#[test]
fn ids_that_are_none_are_told() {
    let cache = cache();
    for spec in ["", "sdxl", "a/b/c", "owner/..", "owner/name@../../x"] {
        let error = locate(&cache, spec).err().unwrap();
        assert!(matches!(&error, Error::BadId { .. }), "{spec}: {error}");
    }
}

#[test]
fn an_autoencoder_is_found_by_its_id() {
    let cache = tempfile::tempdir().unwrap();
    let Some(shared) = turbo_testkit::shared_dir() else {
        return;
    };
    let snapshot = cache
        .path()
        .join("models--madebyollin--taesdxl/snapshots")
        .join(FIRST);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(cache.path().join("models--madebyollin--taesdxl/refs")).unwrap();
    fs::write(
        cache.path().join("models--madebyollin--taesdxl/refs/main"),
        FIRST,
    )
    .unwrap();
    for file in ["config.json", "diffusion_pytorch_model.fp16.safetensors"] {
        symlink(
            shared.join("data/prototype/vae").join(file),
            snapshot.join(file),
        )
        .unwrap();
    }
    let options = LocateOptions {
        cache: Some(cache.path().to_owned()),
        ..LocateOptions::default()
    };
    let vae = locate_vae("madebyollin/taesdxl", &options).unwrap();
    assert_eq!(vae.class.name(), "AutoencoderTiny");
    assert!(matches!(
        locate_vae("madebyollin/other", &options).err().unwrap(),
        Error::NotInCache { .. }
    ));
}
