//! `--grid`: many pictures in one PNG.

#![forbid(unsafe_code)]

mod support;

use std::io::Cursor;
use std::path::Path;

use support::{expect, image, pixels, run, stderr};
use turbo_testkit::process::names_in;

fn decode(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width as usize, info.height as usize, pixels)
}

/// Five pictures of 4x3 in three frames, three a row: every pixel of the sheet, told from its place.
#[test]
fn pictures_stand_in_rows() {
    let (height, width, columns) = (3, 4, 3);
    let frames = [2, 1, 2].map(|batch| image(batch, height, width, &[]));
    let each = height * width * 3;
    let expected: Vec<Vec<u8>> = [2, 1, 2]
        .iter()
        .flat_map(|&batch| {
            let all = pixels(batch * each);
            all.chunks(each).map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    let output = run(Path::new("."), &["--grid", "3"], &frames.concat());
    expect(&output, 0, "");
    let (w, h, sheet) = decode(&output.stdout);
    assert_eq!((w, h), (columns * width, 2 * height));
    for y in 0..h {
        for x in 0..w {
            let place = y / height * columns + x / width;
            let at = (y % height * width + x % width) * 3;
            let pixel = &sheet[(y * w + x) * 3..][..3];
            match expected.get(place) {
                Some(picture) => assert_eq!(pixel, &picture[at..at + 3], "{x}, {y}"),
                None => assert_eq!(pixel, [255; 3], "{x}, {y}"),
            }
        }
    }
}

#[test]
fn fewer_pictures_than_columns_make_one_narrow_row() {
    let output = run(Path::new("."), &["--grid", "8"], &image(1, 5, 3, &[]));
    assert_eq!(decode(&output.stdout), (3, 5, pixels(45)));
}

#[test]
fn what_does_not_fit_is_told_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mixed = [image(1, 5, 3, &[]), image(1, 3, 5, &[])].concat();
    let output = run(folder.path(), &["--grid", "2", "-o", "sheet.png"], &mixed);
    expect(
        &output,
        1,
        "frame 1: --grid: expected a picture of 3x5 like those before, found 5x3",
    );
    assert!(names_in(folder.path()).is_empty());

    // Skipped, the other one is written.
    let skip = ["--grid", "2", "-o", "sheet.png", "--on-error", "skip"];
    assert_eq!(run(folder.path(), &skip, &mixed).status.code(), Some(1));
    assert_eq!(names_in(folder.path()), ["sheet.png"]);

    let wide = run(
        folder.path(),
        &["--grid", "2", "--max-side", "5"],
        &image(2, 5, 3, &[]),
    );
    expect(
        &wide,
        1,
        "expected at most 5 pixels a side, found 2 x 1 pictures of 3x5",
    );
    assert!(wide.stdout.is_empty());

    let none = run(folder.path(), &["--grid", "2"], &[]);
    assert_eq!(
        (none.status.code(), none.stdout.len(), stderr(&none)),
        (Some(0), 0, String::new())
    );
}
