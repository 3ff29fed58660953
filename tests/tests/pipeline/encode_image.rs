//! Pictures in, against what diffusers prepares and encodes, on the tiny checkpoint in f32.

use crate::golden::compare;
use pipeline_tests::{Altered, Stage, embeddings, frame, frames, pipe, tool};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use turbo_testkit::{Tensor, golden, golden_cases, relative_error, shared_dir, tiny};
use turbo_wire::{Kind, names};

/// Bound on an encoding.
const ENCODING: f64 = 1e-4;
/// The tiny checkpoint's `scaling_factor`.
const SCALE: f32 = 0.13025;

/// What a file of [`Files`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Picture,
    Mask,
}

/// The pictures and masks of diffusers' runs, as files.
struct Files {
    folder: TempDir,
    golden: std::collections::HashMap<String, Tensor>,
    cases: Vec<Value>,
}

impl Files {
    fn new() -> Self {
        let cases = golden_cases("pictures")["cases"]
            .as_array()
            .expect("a list")
            .clone();
        let this = Self {
            folder: tempfile::tempdir().expect("a folder"),
            golden: golden("pictures"),
            cases,
        };
        for case in 0..this.cases.len() {
            for (file, key, magic) in [(File::Picture, "picture", "P6"), (File::Mask, "mask", "P5")]
            {
                let Some(tensor) = this.golden.get(&format!("{case}/{key}")) else {
                    continue;
                };
                let (height, width) = (tensor.shape[0], tensor.shape[1]);
                let header = format!("{magic}\n{width} {height}\n255\n");
                let bytes = [header.as_bytes(), &tensor.u8()].concat();
                fs::write(this.path(case, file), bytes).expect("written");
            }
        }
        this
    }

    fn path(&self, case: usize, file: File) -> PathBuf {
        let end = if file == File::Mask { "pgm" } else { "ppm" };
        self.folder.path().join(format!("{case}.{end}"))
    }

    fn has_mask(&self, case: usize) -> bool {
        self.path(case, File::Mask).is_file()
    }

    /// A tensor of a run that diffusers made.
    fn expected(&self, case: usize, name: &str) -> &Tensor {
        &self.golden[&format!("{case}/{name}")]
    }

    /// Flags for the run's autoencoder; none where its weights are not there.
    fn vae(&self, case: usize, stage: Stage) -> Option<Stage> {
        match self.cases[case].get("vae") {
            None => Some(stage),
            Some(_) => Some(stage.arg("--vae").arg(shared_dir()?.join("data/taesdxl"))),
        }
    }

    fn encode_image(&self, case: usize, flags: &str) -> Option<Stage> {
        let stage = tool("encode-image", "--dtype f32")
            .model(&tiny())
            .words(flags);
        Some(self.vae(case, stage)?.arg(self.path(case, File::Picture)))
    }

    /// `encode-image --join -` with the run's mask, if it has one.
    fn join(&self, case: usize) -> Option<Stage> {
        let stage = self.encode_image(case, "--join -")?;
        Some(if self.has_mask(case) {
            stage.arg("--mask").arg(self.path(case, File::Mask))
        } else {
            stage
        })
    }
}

fn scaled(values: &[f32]) -> Vec<f32> {
    values.iter().map(|value| value * SCALE).collect()
}

#[track_caller]
fn close(what: &str, ours: &[f32], expected: &[f32]) {
    let e = relative_error(ours, expected);
    println!("{what}: e = {e:.1e}");
    assert!(e <= ENCODING, "{what}: e = {e}");
}

#[test]
fn pictures_alone_are_diffusers_means() {
    let files = Files::new();
    for case in 0..files.cases.len() {
        let Some(stage) = files.encode_image(case, "") else {
            continue;
        };
        let out = pipe([stage]).run();
        let frame = frame(out.ok(), Kind::Latents);
        let latents = frame.to_f32(names::LATENTS).expect("latents");
        let expected = match files.golden.get(&format!("{case}/encoded")) {
            Some(encoded) => encoded.f32(),
            None => scaled(&files.expected(case, "mean").f32()),
        };
        close(&format!("picture {case}"), &latents, &expected);
        let [.., height, width] = files.expected(case, "latents").shape[..] else {
            panic!("latents have four axes")
        };
        let (width, height) = ((width * 8).to_string(), (height * 8).to_string());
        assert_eq!(frame.header.get("width"), Some(&width[..]));
        assert_eq!(frame.header.get("height"), Some(&height[..]));
    }
}

#[test]
fn joined_pictures_are_diffusers_distributions_and_masks() {
    let files = Files::new();
    let prompt = embeddings(
        &[0],
        &[
            ("prompt", "a hole in the wall"),
            ("seed", "6"),
            ("x-mood", "wild"),
        ],
    );
    let before = frame(&prompt, Kind::TextEmbeddings);
    for case in 0..files.cases.len() {
        let Some(stage) = files.join(case) else {
            continue;
        };
        let out = pipe([stage]).input(prompt.clone()).run();
        let frame = frame(out.ok(), Kind::TextEmbeddings);
        let mean = frame.to_f32(names::IMAGE_MEAN).expect("a mean");
        if let Some(encoded) = files.golden.get(&format!("{case}/encoded")) {
            close(&format!("{case}: encoded"), &mean, &encoded.f32());
            assert!(frame.header.tensor(names::IMAGE_LOGVAR).is_none());
            let path = shared_dir().expect("was there").join("data/taesdxl");
            assert_eq!(frame.header.get("vae"), path.to_str());
        } else {
            close(
                &format!("{case}: mean"),
                &mean,
                &scaled(&files.expected(case, "mean").f32()),
            );
            let logvar = frame.to_f32(names::IMAGE_LOGVAR).expect("a logvar");
            let expected = files.expected(case, "logvar").f32();
            let expected: Vec<f32> = expected.iter().map(|v| v + 2.0 * SCALE.ln()).collect();
            close(&format!("{case}: logvar"), &logvar, &expected);
            assert_eq!(frame.header.get("vae"), None);
        }
        let mask = frame.to_f32(names::MASK);
        assert_eq!(mask.is_some(), files.has_mask(case));
        if let Some(mask) = mask {
            let expected = files.expected(case, "prepared_mask");
            let width = expected.shape[3];
            let pixels = expected.u8();
            let nearest =
                |i: usize| f32::from(pixels[i / (width / 8) * 8 * width + i % (width / 8) * 8]);
            let expected: Vec<f32> = (0..mask.len()).map(nearest).collect();
            assert!(mask == expected, "{case}: mask");
            assert!(mask.contains(&0.0) && mask.contains(&1.0));
        }
        // A network with four channels does not look under the mask.
        assert!(frame.header.tensor(names::MASKED_IMAGE_MEAN).is_none());
        // All else is as it was.
        for tensor in before.header.tensors() {
            assert_eq!(
                frame.bytes(&tensor.name),
                before.bytes(&tensor.name),
                "{}",
                tensor.name
            );
        }
        for (key, value) in before.header.metadata() {
            assert_eq!(frame.header.get(key), Some(&value[..]), "{key}");
        }
    }
}

/// A picture's encoding does not depend on what else is in its stream, nor on how it came.
#[test]
fn pictures_on_stdin_are_those_in_files() {
    let files = Files::new();
    let paths: Vec<PathBuf> = [0, 2, 5].map(|case| files.path(case, File::Picture)).into();
    let stage = || tool("encode-image", "--dtype f32").model(&tiny());
    let named = pipe([paths.iter().fold(stage(), Stage::arg)]).run();
    let bytes: Vec<u8> = paths
        .iter()
        .flat_map(|path| fs::read(path).expect("written"))
        .collect();
    let piped = pipe([stage().arg("-")]).input(bytes).run();
    assert_eq!(frames(named.ok()).len(), 3);
    assert!(named.ok() == piped.ok(), "files and stdin differ");
    // Bare pixels, of which each picture has the same size.
    let picture = files.expected(3, "picture");
    let raw = stage().words("--raw 128x96 -");
    let raw = pipe([raw]).input(picture.u8().repeat(2)).run();
    let alone = pipe([stage().arg(files.path(3, File::Picture))]).run();
    assert!(raw.ok() == alone.ok().repeat(2), "bare pixels differ");
}

#[test]
fn frames_and_pictures_pair_one_to_one() {
    let files = Files::new();
    let stage = |count: usize| {
        let stage = tool("encode-image", "--dtype f32 --join -").model(&tiny());
        (0..count).fold(stage, |stage, case| {
            stage.arg(files.path(case, File::Picture))
        })
    };
    let prompts = |count: usize| -> Vec<u8> {
        let id = |i: usize| i.to_string();
        (0..count)
            .flat_map(|i| embeddings(&[0], &[("id", &id(i)[..])]))
            .collect()
    };
    let seen = |stream: &[u8]| -> Vec<(String, Vec<usize>)> {
        let of = |frame: turbo_wire::Frame| {
            let shape = frame
                .header
                .tensor(names::IMAGE_MEAN)
                .expect("joined")
                .shape
                .clone();
            (
                frame.header.get("id").expect("an id").to_owned(),
                shape[2..].to_vec(),
            )
        };
        frames(stream).into_iter().map(of).collect()
    };
    let row = |id: &str, height, width| (id.to_owned(), vec![height, width]);
    let run = |frames, pictures| pipe([stage(pictures)]).input(prompts(frames)).run();
    let paired = run(2, 2);
    assert_eq!(seen(paired.ok()), [row("0", 12, 16), row("1", 16, 16)]);
    let one_picture = run(3, 1);
    assert_eq!(
        seen(one_picture.ok()),
        [row("0", 12, 16), row("1", 12, 16), row("2", 12, 16)]
    );
    let one_prompt = run(1, 3);
    assert_eq!(
        seen(one_prompt.ok()),
        [row("0", 12, 16), row("0", 16, 16), row("0", 18, 8)]
    );
    // Each frame is what it is alone.
    let alone = run(1, 1);
    assert!(paired.ok().starts_with(alone.ok()) && one_prompt.ok().starts_with(alone.ok()));

    let ended = run(3, 2);
    assert_eq!(seen(ended.expect(1, &["frame 2", "picture"])).len(), 2);
    let ended = run(2, 3);
    assert_eq!(seen(ended.expect(1, &["picture 2", "frame"])).len(), 2);
    // Rows of a frame have the picture each.
    let batch = pipe([stage(1)]).input(embeddings(&[0, 1], &[])).run();
    let batch = frame(batch.ok(), Kind::TextEmbeddings);
    let mean = batch.to_f32(names::IMAGE_MEAN).expect("joined");
    assert!(mean[..mean.len() / 2] == mean[mean.len() / 2..]);
    assert_eq!(
        batch
            .header
            .tensor(names::IMAGE_MEAN)
            .expect("joined")
            .shape,
        [2, 4, 12, 16]
    );
}

#[test]
fn a_records_own_picture_mask_and_size_win() {
    let files = Files::new();
    let path = |case, file| files.path(case, file).to_str().expect("UTF-8").to_owned();
    let (picture, mask) = (path(5, File::Picture), path(5, File::Mask));
    let prompt = embeddings(&[0], &[("image", &picture), ("mask", &mask)]);
    let stage = || tool("encode-image", "--dtype f32 --join -").model(&tiny());
    let own = pipe([stage()]).input(prompt.clone()).run();
    let own = frame(own.ok(), Kind::TextEmbeddings);
    let mean = own.to_f32(names::IMAGE_MEAN).expect("joined");
    close(
        "a record's own",
        &mean,
        &scaled(&files.expected(5, "mean").f32()),
    );
    assert!(own.header.tensor(names::MASK).is_some());
    // Against flags that say otherwise.
    let other = stage()
        .arg("--mask")
        .arg(path(6, File::Mask))
        .arg(path(0, File::Picture));
    let wins = pipe([other]).input(prompt).run();
    assert!(own == frame(wins.ok(), Kind::TextEmbeddings));
    let sized = embeddings(
        &[0],
        &[("image", &picture), ("width", "64"), ("height", "72")],
    );
    let sized = pipe([stage().words("--width 128 --height 128")])
        .input(sized)
        .run();
    let sized = frame(sized.ok(), Kind::TextEmbeddings);
    assert_eq!(
        sized
            .header
            .tensor(names::IMAGE_MEAN)
            .expect("joined")
            .shape,
        [1, 4, 9, 8]
    );
    // Without any.
    let none = pipe([stage()]).input(embeddings(&[0], &[])).run();
    none.expect(
        1,
        &["frame 0", "expected a picture, found none", "\"image\""],
    );
    let missing = embeddings(&[0], &[("image", "/no/such.png")]);
    pipe([stage()])
        .input(missing)
        .run()
        .expect(1, &["/no/such.png"]);
}

/// Networks with nine channels see the picture with grey under the mask: with nothing under it all of the picture, with
/// all under it nothing of the picture.
#[test]
fn nine_channels_ask_for_the_picture_under_the_mask() {
    let files = Files::new();
    let model = Altered::of(&tiny()).with_json("unet/config.json", |config| {
        config["in_channels"] = 9.into();
    });
    let mask = |name: &str, grey: u8| {
        let path = files.folder.path().join(name);
        fs::write(&path, [&b"P5 1 1 255\n"[..], &[grey]].concat()).expect("written");
        path
    };
    let (black, white) = (mask("black.pgm", 0), mask("white.pgm", 255));
    let run = |case, mask: &Path| {
        let stage = tool("encode-image", "--dtype f32 --join -").model(model.path());
        let stage = stage
            .arg("--mask")
            .arg(mask)
            .arg(files.path(case, File::Picture));
        let out = pipe([stage]).input(embeddings(&[0], &[])).run();
        let frame = frame(out.ok(), Kind::TextEmbeddings);
        [
            names::IMAGE_MEAN,
            names::MASKED_IMAGE_MEAN,
            names::IMAGE_LOGVAR,
            names::MASKED_IMAGE_LOGVAR,
        ]
        .map(|name| frame.to_f32(name).expect("is there"))
    };
    let [mean, masked, logvar, masked_logvar] = run(1, &black);
    assert!(
        mean == masked && logvar == masked_logvar,
        "nothing is under the mask"
    );
    // Two pictures that are brought to one size.
    let (one, other) = (run(0, &white), run(3, &white));
    assert!(
        one[0] != other[0] && one[0] != one[1],
        "two pictures are one"
    );
    assert!(
        one[1] == other[1] && one[3] == other[3],
        "what is under the mask is not seen"
    );
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_goes_on() {
    let files = Files::new();
    let folder = files.folder.path();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let good = fs::read(files.path(3, File::Picture)).expect("written");
    let cut = write("cut.ppm", &good[..good.len() - 1]);
    let text = write("text.png", b"hello there");
    let bomb = write("bomb.ppm", b"P6 100000 100000 255\n");
    let empty = write("empty.png", b"");
    let thin = write("thin.ppm", b"P6 1 1 255\nabc");
    let stage = |paths: &[&Path], flags: &str| {
        let stage = tool("encode-image", "--dtype f32")
            .model(&tiny())
            .words(flags);
        paths.iter().fold(stage, Stage::arg)
    };
    let good = files.path(3, File::Picture);
    for (path, text) in [
        (&cut, "the input ends inside a PPM or PGM picture"),
        (
            &text,
            "expected a PNG, JPEG, WebP, PPM (P6) or PGM (P5) picture, found text",
        ),
        (
            &bomb,
            "expected at most 178956970 pixels, found 100000 x 100000",
        ),
        (&empty, "found an empty file"),
        (&thin, "at least 8 x 8"),
        (&folder.join("none.png"), "No such file"),
    ] {
        let name = path.to_str().expect("UTF-8");
        let ended = pipe([stage(&[&good, path, &good], "")]).run();
        assert_eq!(frames(ended.expect(1, &[name, text])).len(), 1, "{name}");
        let ended = pipe([stage(&[&good, path, &good], "--on-error skip")]).run();
        assert_eq!(frames(ended.expect(1, &[name, text])).len(), 2, "{name}");
    }
    // On stdin, the place is a number.
    let bytes = fs::read(&good).expect("written");
    let cut = [&bytes[..], &bytes[..100]].concat();
    let ended = pipe([stage(&[Path::new("-")], "--on-error skip")])
        .input(cut)
        .run();
    let out = ended.expect(1, &["stdin", "picture 1", "the input ends"]);
    assert_eq!(frames(out).len(), 1);
    let ended = pipe([stage(&[&good], "--max-pixels 100")]).run();
    ended.expect(1, &["--max-pixels"]);
}

#[test]
fn wrong_calls_are_usage_errors() {
    for (words, text) in [
        ("", "expected a PICTURE"),
        ("- -", "stdin (-): expected in one place"),
        ("- --join -", "stdin (-): expected in one place"),
        (
            "--join - --mask - x.png",
            "stdin (-): expected in one place",
        ),
        ("--mask m.png x.png", "--join"),
        ("--width 100 x.png", "--width"),
        ("--raw 5 x.png", "WIDTHxHEIGHT"),
        ("--background whitish x.png", "#ffcc00"),
        ("--fit squeeze x.png", "stretch"),
    ] {
        let ended = pipe([tool("encode-image", words)]).run();
        let end = &ended.stages[0];
        assert_eq!(end.status.code(), Some(2), "{words}: {}", end.stderr);
        assert!(end.stderr.contains(text), "{words}: {}", end.stderr);
    }
}

/// Encode, decode: the picture again, as near as the autoencoder comes.
#[test]
fn a_picture_alone_comes_back() {
    let files = Files::new();
    let stages = [
        files
            .encode_image(0, "")
            .expect("no weights from elsewhere"),
        tool("decode-latents", "--dtype f32"),
        tool("to-png", ""),
    ];
    let out = pipe(stages).run();
    let picture = &pipeline_tests::pictures(out.ok())[0];
    assert_eq!((picture.width, picture.height), (128, 96));
}

/// From prompt and picture to pixels, through real pipes, with diffusers' steps, noise, masks and order of draws.
#[test]
fn whole_runs_from_pictures_are_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let files = Files::new();
    let model = tiny();
    for (index, case) in files.cases.iter().enumerate() {
        let mut text = tool("encode-text", "--dtype f32").model(&model);
        if let Some(negative) = case.get("negative_prompt") {
            text = text
                .arg("--negative-prompt")
                .arg(negative.as_str().expect("text"));
        }
        let guidance = case
            .get("guidance_scale")
            .map_or(0.0, |g| g.as_f64().expect("a number"));
        let denoise = format!(
            "--dtype f32 --steps {} --strength {} --seed {} --guidance-scale {guidance}",
            case["steps"], case["strength"], case["seed"]
        );
        let made = [
            text.arg("--").arg(case["prompt"].as_str().expect("text")),
            files.join(index).expect("weights are there"),
            tool("denoise", &denoise),
        ];
        let latents = pipe(made.clone()).run();
        // Which autoencoder it is, the stream says.
        let rest = [tool("decode-latents", "--dtype f32"), tool("to-png", "")];
        let png = pipe(made.into_iter().chain(rest)).run();
        let expected = ["latents", "pixels"].map(|name| files.expected(index, name));
        compare(
            &format!("picture {index}"),
            latents.ok(),
            png.ok(),
            expected,
        );
    }
}
