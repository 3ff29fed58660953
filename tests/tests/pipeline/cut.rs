//! Weight files that are cut or overwritten while a whole pipe is at work.

use pipeline_tests::{Altered, pictures, pipe, tool};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use turbo_testkit::tiny_lettered;

/// A file of weights, and which stage of the pipe uses it.
const FILES: [(&str, usize); 3] = [
    ("text_encoder/model.fp16.safetensors", 0),
    ("unet/diffusion_pytorch_model.fp16.safetensors", 1),
    ("vae/diffusion_pytorch_model.fp16.safetensors", 2),
];

/// Draws a picture, changes the file, asks for a second one, and looks at what became of it.
fn change(file: &str, at: usize, flags: &str, change: &dyn Fn(&Path), said: &str) {
    // A file of its own in the place of a link.
    let model = Altered::of(&tiny_lettered()).with_bytes(file, |bytes| bytes);
    let stages = || {
        [
            tool("encode-text", flags).model(model.path()),
            tool("denoise", "--seed 1 --width 64 --height 64").words(flags),
            tool("decode-latents", flags),
            tool("to-png", flags),
        ]
    };
    let first = pipe(stages()).input("a\n").run().ok().to_vec();

    let mut running = pipe(stages()).held().start();
    let (mut stdin, mut stdout) = (
        running.stdin.take().expect("held"),
        running.stdout.take().expect("held"),
    );
    stdin.write_all(b"a\n").expect("it reads");
    let mut picture = vec![0; first.len()];
    stdout.read_exact(&mut picture).expect("a picture");
    assert!(picture == first, "{file}");
    change(&model.path().join(file));
    stdin.write_all(b"b\n").expect("it reads");
    drop(stdin);
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it ends");
    assert!(
        rest.is_empty(),
        "{file}: {} bytes behind the first picture",
        rest.len()
    );
    let ended = running.wait();
    for (stage, end) in ended.stages.iter().enumerate() {
        let code = end.status.code();
        let stderr = &end.stderr;
        if stage < at {
            assert!(
                code == Some(0) || code == Some(141),
                "{file}: {}: {stderr}",
                end.name
            );
        } else if stage == at {
            assert_eq!(code, Some(1), "{file}: {stderr}");
            assert!(
                stderr.contains(file) && stderr.contains(said),
                "{file}: {stderr}"
            );
            assert_eq!(stderr.matches(file).count(), 1, "{stderr}");
        } else if flags.is_empty() {
            // The header of the second frame had come.
            end.expect(1, &["frame 1, byte "]);
        }
    }
    assert_eq!(pictures(&picture).len(), 1);
}

/// What was cut off ends the tool where it is read; the last part of a page reads as zeros, of which nobody is told.
#[test]
fn a_file_that_is_cut_is_named_and_earlier_pictures_are_whole() {
    for (file, stage) in FILES {
        let length = |path: &Path, length: &dyn Fn(u64) -> u64| {
            let file = File::options().write(true).open(path).expect("is there");
            let old = file.metadata().expect("is there").len();
            file.set_len(length(old)).expect("cut");
        };
        let to_nothing = |path: &Path| length(path, &|_| 0);
        change(
            file,
            stage,
            "",
            &to_nothing,
            "the file was cut while it was in use",
        );
        let by_a_byte = |path: &Path| length(path, &|old| old - 1);
        change(file, stage, "", &by_a_byte, "found it changed meanwhile");
    }
}

/// With `--on-error skip` too: no later frame would be right.
#[test]
fn a_file_that_is_overwritten_is_named_and_nothing_is_drawn_with_it() {
    for (file, stage) in FILES {
        for flags in ["", "--on-error skip"] {
            let overwrite = |path: &Path| {
                let mut bytes = fs::read(path).expect("is there");
                let half = bytes.len() / 2;
                bytes[half..].iter_mut().for_each(|byte| *byte ^= 1);
                let mut file = File::options().write(true).open(path).expect("is there");
                file.write_all(&bytes).expect("written");
            };
            change(file, stage, flags, &overwrite, "found it changed meanwhile");
        }
    }
}
