//! Against Pillow: every kind of file, and resizing.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use tempfile::TempDir;
use turbo_picture::{Alpha, Error, Fit, Limits, Pictures, Rgb, blend};
use turbo_testkit::process::{pipe, python};

/// What `pillow.py` writes in one of its modes; none, with a reason printed, where no Python has Pillow and numpy.
fn made(mode: &str) -> Option<TempDir> {
    let python = python("PIL, numpy")?;
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow.py");
    pipe([python.arg(script).arg(mode).folder(folder.path())])
        .run()
        .ok();
    Some(folder)
}

fn open(path: &Path, alpha: Alpha) -> Result<Rgb, Error> {
    let limits = Limits::default();
    let input = BufReader::new(File::open(path).unwrap());
    let encoded = Pictures::new(input, limits).next()?.expect("a picture");
    encoded.decode(alpha, &limits)
}

/// A picture that the script keeps as PPM.
fn expected(path: &Path) -> Rgb {
    open(path, Alpha::Ignored).unwrap()
}

fn names(folder: &TempDir, except: &str) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(except)).collect();
    names.sort();
    names
}

#[test]
fn every_kind_of_file_is_read_as_pillow_reads_it() {
    let Some(folder) = made("files") else {
        return;
    };
    let names = names(&folder, ".expected.ppm");
    assert!(names.len() >= 35, "{names:?}");
    for name in names {
        let picture = open(&folder.path().join(&name), Alpha::On([255, 128, 0]));
        let picture = picture.unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = expected(&folder.path().join(format!("{name}.expected.ppm")));
        assert_eq!(picture.size(), expected.size(), "{name}");
        let pairs = picture.pixels().iter().zip(expected.pixels());
        let largest = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // Decoders of lossy formats may round in their own ways.
        let jpeg = Path::new(&name).extension().is_some_and(|end| end == "jpg");
        let bound = match (jpeg, name.contains("lossy")) {
            (true, _) => 4,
            (_, true) => 2,
            _ => 0,
        };
        assert!(largest <= bound, "{name}: off by {largest}");
        eprintln!("{name}: at most {largest} off");
    }
}

#[test]
fn animated_files_are_refused_by_name() {
    let Some(folder) = made("animated") else {
        return;
    };
    let mut seen = Vec::new();
    for name in names(&folder, ".expected.ppm") {
        let error = open(&folder.path().join(&name), Alpha::Ignored).unwrap_err();
        assert!(error.to_string().contains("animated"), "{name}: {error}");
        seen.push(name);
    }
    assert_eq!(seen, ["animated.gif", "animated.png", "animated.webp"]);
}

#[test]
fn resizing_is_pillows_bit_for_bit() {
    let Some(folder) = made("resize") else {
        return;
    };
    let mut count = 0;
    for name in names(&folder, ".source.ppm") {
        // NAME.FIT.WIDTHxHEIGHT.ppm
        let parts: Vec<&str> = name.split('.').collect();
        let [source, fit, size, _] = parts[..] else {
            panic!("{name}")
        };
        let (width, height) = size.split_once('x').unwrap();
        let fit = match fit {
            "default" => Fit::Stretch,
            "crop" => Fit::Cover,
            "fill" => Fit::Contain,
            other => panic!("{other}"),
        };
        let picture = self::expected(&folder.path().join(format!("{source}.source.ppm")));
        let ours = fit
            .apply(&picture, width.parse().unwrap(), height.parse().unwrap())
            .unwrap();
        let theirs = self::expected(&folder.path().join(&name));
        let off = ours
            .pixels()
            .iter()
            .zip(theirs.pixels())
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(off, 0, "{name}: values that differ");
        count += 1;
    }
    assert!(count >= 40, "{count}");
}

#[test]
fn a_soft_edge_is_blended_as_pillow_pastes() {
    let Some(folder) = made("paste") else {
        return;
    };
    let read = |name: &str| expected(&folder.path().join(name));
    let mask = read("mask.ppm").to_grey();
    let ours = blend(&read("below.ppm"), &read("above.ppm"), &mask).unwrap();
    assert_eq!(ours, read("pasted.ppm"));
    assert!(blend(&ours, &ours, &mask[1..]).is_err());
}
