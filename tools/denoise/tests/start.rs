//! Pictures to start from: latents beside the frames, and one prompt for many of them.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use support::{assert_fails, frame, frames, latents, model, prompts, run, stderr, values, widths};
use turbo_wire::Kind;

/// A frame of latents `[rows, 4, 8, 8]`.
fn init(rows: usize, picture: usize) -> Vec<u8> {
    let values = values(rows * 256, picture);
    frame(
        Kind::Latents,
        &[],
        &[("latents", &[rows, 4, 8, 8], &values)],
    )
}

fn file(folder: &Path, name: &str, frames: &[Vec<u8>]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, frames.concat()).unwrap();
    path
}

/// A frame whose picture has no distribution, as TAESDXL's.
fn pictured(picture: usize) -> Vec<u8> {
    let (tokens, width, pooled) = widths();
    frame(
        Kind::TextEmbeddings,
        &[],
        &[
            (
                "prompt_embeds",
                &[1, tokens, width],
                &values(tokens * width, 1),
            ),
            ("pooled_prompt_embeds", &[1, pooled], &values(pooled, 1)),
            ("image_mean", &[1, 4, 8, 8], &values(256, picture)),
        ],
    )
}

#[test]
fn latents_beside_a_frame_are_its_picture() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let bare = ["-m", &model, "--seed", "3", "--seed-step", "0"];
    let beside = |input: &[u8], init: &[Vec<u8>]| {
        let path = file(folder.path(), "init.st", init);
        let args = [&bare[..], &["--init", path.to_str().unwrap()]].concat();
        frames(&args, input)
    };
    let expected: Vec<_> = [pictured(5), pictured(6)]
        .iter()
        .map(|input| latents(&frames(&bare, input)[0]))
        .collect();
    assert_ne!(expected[0], expected[1]);

    let prompts = frame_without_size(1).repeat(2);
    let two = beside(&prompts, &[init(1, 5), init(1, 6)]);
    assert_eq!(two.iter().map(latents).collect::<Vec<_>>(), expected);
    assert_eq!(two[0].header.get("strength"), Some("0.5"));
    assert_eq!(two[0].header.get("steps"), Some("2"));
    // A single one on either side is repeated.
    let films = beside(&frame_without_size(1), &[init(1, 5), init(1, 6)]);
    assert_eq!(films.iter().map(latents).collect::<Vec<_>>(), expected);
    let one = beside(&prompts, &[init(1, 5)]);
    assert_eq!(latents(&one[0]), expected[0]);
    assert_eq!(latents(&one[1]), expected[0]);
    // A single row stands for all rows.
    let rows = beside(&rows_without_size(&[1, 1]), &[init(1, 5)]);
    assert_eq!(latents(&rows[0])[..256], expected[0]);
}

fn frame_without_size(prompt: usize) -> Vec<u8> {
    rows_without_size(&[prompt])
}

fn rows_without_size(prompts: &[usize]) -> Vec<u8> {
    let (tokens, width, pooled) = widths();
    let rows = |count: usize| -> Vec<f32> {
        prompts
            .iter()
            .flat_map(|&prompt| values(count, prompt))
            .collect()
    };
    let batch = prompts.len();
    frame(
        Kind::TextEmbeddings,
        &[],
        &[
            (
                "prompt_embeds",
                &[batch, tokens, width],
                &rows(tokens * width),
            ),
            ("pooled_prompt_embeds", &[batch, pooled], &rows(pooled)),
        ],
    )
}

#[test]
fn what_does_not_pair_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let two = file(folder.path(), "two.st", &[init(1, 5), init(1, 6)]);
    let wide = file(folder.path(), "wide.st", &[init(3, 5)]);
    let (model, two) = (model(), two.to_str().unwrap());
    let args = ["-m", &model, "--seed", "1", "--init"];
    let with = |path| [&args[..], &[path]].concat();

    let three = frame_without_size(1).repeat(3);
    let output = run(&with(two), &three);
    assert_fails(
        &output,
        1,
        "frame 2: expected a frame of --init beside it, found the end after 2",
    );
    assert_eq!(
        support::read(&output.stdout).len(),
        2,
        "{}",
        stderr(&output)
    );
    assert_fails(
        &run(&with(two), &pictured(5)),
        1,
        "--init: expected a frame without a picture",
    );
    let output = run(&with(wide.to_str().unwrap()), &rows_without_size(&[1, 2]));
    assert_fails(
        &output,
        1,
        "--init: expected latents of 2 rows or of one, found 3",
    );
    assert_fails(
        &run(&with("-"), &three),
        2,
        "--init -: expected the frames from a FILE",
    );
    let missing = folder.path().join("missing.st");
    assert_fails(
        &run(&with(missing.to_str().unwrap()), &three),
        1,
        "missing.st",
    );
    let output = run(&with(two), &prompts(&[("width", "128")], &[1]));
    assert_fails(
        &output,
        1,
        "width: expected 64, which the picture to start from has, found 128",
    );
}

#[test]
fn a_strength_without_a_picture_is_told_once() {
    let input = prompts(&[], &[1]).repeat(2);
    let output = run(
        &["-m", &model(), "--seed", "1", "--strength", "0.5"],
        &input,
    );
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output);
    assert_eq!(
        text.matches("--strength has no effect").count(),
        1,
        "{text}"
    );
}
