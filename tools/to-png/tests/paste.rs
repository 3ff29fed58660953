//! `--paste`: a photo's own pixels around what was painted anew.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::Path;

use support::{expect, image, pixels, run};
use turbo_picture::{Alpha, Limits, Rgb, read};

fn write_ppm(path: &Path, width: usize, height: usize, pixels: &[u8]) {
    let header = format!("P6 {width} {height} 255\n");
    fs::write(path, [header.as_bytes(), pixels].concat()).unwrap();
}

fn png(bytes: &[u8]) -> Rgb {
    read(bytes, Alpha::Ignored, &Limits::default()).unwrap()
}

/// Columns: black, then rising, then white.
fn mask(width: usize, height: usize) -> Vec<u8> {
    let grey = |x: usize| (x * 3).saturating_sub(width) * 255 / width;
    let row = (0..width).flat_map(|x| [grey(x).min(255) as u8; 3]);
    row.collect::<Vec<_>>().repeat(height)
}

#[test]
fn the_photo_stays_bit_for_bit_and_edges_are_soft() {
    let folder = tempfile::tempdir().unwrap();
    let (width, height) = (48, 16);
    let photo: Vec<u8> = (0..width * height * 3)
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    write_ppm(&folder.path().join("photo.ppm"), width, height, &photo);
    let mask = mask(width, height);
    write_ppm(&folder.path().join("mask.ppm"), width, height, &mask);
    let args = ["--paste", "photo.ppm", "--mask", "mask.ppm"];
    let output = run(
        folder.path(),
        &args,
        &image(1, height, width, &[("seed", "1")]),
    );
    expect(&output, 0, "");
    let out = png(&output.stdout);
    assert_eq!(out.size(), (width, height));
    let new = pixels(width * height * 3);
    let mut mixed = 0;
    for (i, &value) in out.pixels().iter().enumerate() {
        match mask[i] {
            0 => assert_eq!(value, photo[i], "{i}"),
            255 => assert_eq!(value, new[i], "{i}"),
            grey => {
                let exact = f64::from(photo[i])
                    + (f64::from(new[i]) - f64::from(photo[i])) * f64::from(grey) / 255.0;
                assert!(
                    (f64::from(value) - exact).abs() <= 0.51,
                    "{i}: {value}, {exact}"
                );
                mixed += 1;
            }
        }
    }
    assert!(mixed > 500, "{mixed}");
}

/// A photo of 131 x 99 is drawn in 128 x 96; what comes out has the photo's size and pixels.
#[test]
fn the_picture_takes_on_the_photos_size() {
    let folder = tempfile::tempdir().unwrap();
    let photo: Vec<u8> = (0..131 * 99 * 3).map(|i| (i * 17 % 253) as u8).collect();
    write_ppm(&folder.path().join("photo.ppm"), 131, 99, &photo);
    write_ppm(&folder.path().join("black.ppm"), 2, 2, &[0; 12]);
    let args = ["--paste", "photo.ppm", "--mask", "black.ppm"];
    let output = run(folder.path(), &args, &image(1, 96, 128, &[]));
    expect(&output, 0, "");
    let out = png(&output.stdout);
    assert_eq!(out.size(), (131, 99));
    assert_eq!(out.pixels(), photo);

    // All in one sheet.
    let args = ["--grid", "2", "--paste", "photo.ppm", "--mask", "black.ppm"];
    let output = run(folder.path(), &args, &image(2, 96, 128, &[]));
    expect(&output, 0, "");
    assert_eq!(png(&output.stdout).size(), (262, 99));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.png"), "hello").unwrap();
    write_ppm(&folder.path().join("photo.ppm"), 1, 1, &[0; 3]);
    let stream = image(1, 8, 8, &[]);
    let output = run(folder.path(), &["--paste", "photo.ppm"], &stream);
    expect(&output, 2, "--mask");
    let args = ["--paste", "text.png", "--mask", "photo.ppm"];
    let output = run(folder.path(), &args, &stream);
    expect(&output, 1, "text.png: --paste: byte 0: expected a PNG");
    let args = ["--paste", "photo.ppm", "--mask", "none.png"];
    expect(&run(folder.path(), &args, &stream), 1, "none.png");
}
