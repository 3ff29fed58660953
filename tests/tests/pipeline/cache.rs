//! `encode-text --cache`.

use pipeline_tests::{Altered, Stage, frames, pipe, progress, python, tool};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use turbo_testkit::tiny_lettered;
use turbo_wire::names;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn encode(model: &Path, cache: &TempDir) -> Stage {
    tool("encode-text", "--progress json --cache")
        .arg(cache.path())
        .model(model)
}

/// What came out, and whether the model was opened for it; nothing else may have been said.
#[track_caller]
fn run(stage: Stage, input: &str) -> (Vec<u8>, bool) {
    let ended = pipe([stage]).input(input).run();
    let out = ended.ok().to_vec();
    let opened = progress(&ended.stages[0].stderr)
        .iter()
        .any(|event| event["open_s"] != 0.0);
    (out, opened)
}

/// The files with this ending, and their bytes.
fn files(cache: &TempDir, ending: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(cache.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| (path.clone(), fs::read(&path).expect("is there")))
        .collect()
}

fn entries(cache: &TempDir) -> BTreeMap<PathBuf, Vec<u8>> {
    files(cache, "safetensors")
}

#[test]
fn a_hit_is_the_miss_to_the_byte_and_opens_no_model() {
    let (model, cache) = (tiny_lettered(), folder());
    let prompts = |stage: Stage| stage.words("--negative-prompt x --clip-skip 1 a b a");
    let plain = pipe([prompts(tool("encode-text", "").model(&model))]).run();
    let (miss, opened) = run(prompts(encode(&model, &cache)), "");
    assert!(opened && miss == plain.ok());
    let (hit, opened) = run(prompts(encode(&model, &cache)), "");
    assert!(!opened && hit == plain.ok());
    // The two prompts and the negative one.
    assert_eq!(entries(&cache).len(), 3);
    // What a record says of itself is put on when it comes out.
    let lines = r#"{"prompt": "a", "id": "1", "seed": 5, "clip_skip": 1}
        {"prompt": "x", "mood": "wild", "negative_prompt": "x"}"#;
    let stage = encode(&model, &cache).arg("--jsonl");
    let (found, opened) = run(stage, lines);
    let found = frames(&found);
    assert!(!opened, "a negative prompt's embeddings are a prompt's");
    assert_eq!(found[0].header.get("id"), Some("1"));
    assert_eq!(found[1].header.get("mood"), Some("wild"));
    assert_eq!(
        found[1].bytes(names::PROMPT_EMBEDS),
        found[1].bytes(names::NEGATIVE_PROMPT_EMBEDS)
    );
    assert_eq!(entries(&cache).len(), 3);
    // The variable does what the flag does; an empty one is none.
    let variable = |value: &Path| {
        let stage = tool("encode-text", "--progress json --clip-skip 1 a").model(&model);
        run(stage.env("TURBO_CACHE", value), "").1
    };
    assert!(!variable(cache.path()) && variable(Path::new("")));
}

/// A prompt that is cut says so each time.
#[test]
fn a_hit_warns_as_the_miss_does() {
    let (model, cache) = (tiny_lettered(), folder());
    let long = "a ".repeat(80);
    let said = |cache: &TempDir| {
        let stage = tool("encode-text", "--cache")
            .arg(cache.path())
            .model(&model);
        let ended = pipe([stage.arg(&long)]).run();
        ended.ok();
        ended.stages[0].stderr.clone()
    };
    let (miss, hit) = (said(&cache), said(&cache));
    assert!(miss.contains("only the first 75 tokens count"), "{miss}");
    assert_eq!(miss, hit);
    assert_eq!(entries(&cache).len(), 1);
}

/// An entry is a file that any reader of safetensors opens, and tells nobody what was asked.
#[test]
fn an_entry_is_a_file_of_one_frame_without_the_prompt() {
    let (model, cache) = (tiny_lettered(), folder());
    // The end of it finds no place.
    let prompt = "secret fox ".repeat(20);
    let stage = encode(&model, &cache).arg("--quiet").arg(&prompt);
    let (miss, _) = run(stage, "");
    let (path, bytes) = entries(&cache).pop_first().expect("an entry");
    assert!(!bytes.windows(6).any(|found| found == b"secret"));
    let (of, entry) = (&frames(&miss)[0], &frames(&bytes)[0]);
    for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
        assert_eq!(of.bytes(name), entry.bytes(name));
    }
    let Some(python) = python() else { return };
    let script = "import sys; from safetensors.numpy import load_file; f = load_file(sys.argv[1]); \
                  print(f['prompt_embeds'].shape, f['pooled_prompt_embeds'].shape)";
    let stage = Stage::program("python", python)
        .arg("-c")
        .arg(script)
        .arg(path);
    let shape = |name| {
        let shape = &of.header.tensor(name).expect("is there").shape;
        let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
        format!("({})", shape.join(", "))
    };
    let expected = [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS].map(shape);
    assert_eq!(
        String::from_utf8_lossy(pipe([stage]).run().ok()).trim(),
        expected.join(" ")
    );
}

/// Everything that changes the embeddings is in the key, and what does not is not.
#[test]
fn what_changes_the_result_is_a_miss_and_what_does_not_is_a_hit() {
    let (model, cache) = (tiny_lettered(), folder());
    let opened = |flags: &str| run(encode(&model, &cache).words(flags), "").1;
    assert!(opened("a"));
    for flags in [
        "a",
        "a --threads 1",
        "a --threads 3",
        "--prompt-2 a a",
        "a --images 3",
        "a a a",
    ] {
        assert!(!opened(flags), "{flags}");
    }
    for flags in [
        "A",
        "b",
        "--prompt-2 b a",
        "--prompt-2 a b",
        "--clip-skip 1 a",
        "--negative-prompt d a",
        "--device candle-cpu a",
    ] {
        assert!(opened(flags), "{flags}");
        assert!(!opened(flags), "{flags}");
    }
    let portable = || {
        run(
            encode(&model, &cache).env("TURBO_ISA", "portable").arg("a"),
            "",
        )
        .1
    };
    assert!(portable() && !portable());

    // The checkpoint counts by what is in it.
    let opened = |model: &Altered| run(encode(model.path(), &cache).arg("a"), "").1;
    assert!(
        !opened(&Altered::of(&tiny_lettered())),
        "the same elsewhere"
    );
    let weights = |part: &str| {
        let file = format!("{part}/model.fp16.safetensors");
        Altered::of(&tiny_lettered()).with_tensors(&file, |_, body| body[0] ^= 1)
    };
    let json = |file: &str, key: &'static str, value: serde_json::Value| {
        Altered::of(&tiny_lettered()).with_json(file, |json| {
            json.insert(key.to_owned(), value);
        })
    };
    let changed = [
        weights("text_encoder"),
        weights("text_encoder_2"),
        json("text_encoder/config.json", "layer_norm_eps", 1e-4.into()),
        json("text_encoder_2/config.json", "layer_norm_eps", 1e-4.into()),
        json(
            "tokenizer/tokenizer_config.json",
            "model_max_length",
            76.into(),
        ),
        json("tokenizer_2/vocab.json", "zzz", 600.into()),
    ];
    for (index, model) in changed[..4].iter().enumerate() {
        assert!(opened(model), "change {index}");
        assert!(!opened(model), "change {index}");
    }
    // The encoders want as many tokens of the one tokenizer as of the other.
    let ended = pipe([encode(changed[4].path(), &cache).arg("a")]).run();
    assert_eq!(ended.stages[0].status.code(), Some(1));
    assert!(opened(&changed[5]));
    let other = Altered::of(&tiny_lettered()).with_tensors(
        "unet/diffusion_pytorch_model.fp16.safetensors",
        |_, body| body[0] ^= 1,
    );
    assert!(!opened(&other), "the UNet encodes no text");
}

/// A checkpoint that changes in its place: nothing remembers it wrongly.
#[test]
fn a_checkpoint_that_is_replaced_is_noticed() {
    let cache = folder();
    let file = "text_encoder/model.fp16.safetensors";
    let model = Altered::of(&tiny_lettered()).with_bytes(file, |bytes| bytes);
    let age = |path: &Path| {
        // As if it had lain there: what is new is never remembered.
        let time = SystemTime::now() - Duration::from_secs(3600);
        let file = fs::File::options()
            .append(true)
            .open(path)
            .expect("is there");
        file.set_modified(time).expect("set");
    };
    age(&model.path().join(file));
    let (before, _) = run(encode(model.path(), &cache).arg("a"), "");
    let model = model.with_tensors(file, |_, body| body[1000] ^= 0x40);
    age(&model.path().join(file));
    let (after, opened) = run(encode(model.path(), &cache).arg("a"), "");
    assert!(opened && before != after);
}

#[test]
fn a_damaged_entry_is_replaced() {
    let (model, cache) = (tiny_lettered(), folder());
    let (expected, _) = run(encode(&model, &cache).arg("a"), "");
    let (path, good) = entries(&cache).pop_first().expect("an entry");
    run(encode(&model, &cache).arg("b"), "");
    let other = entries(&cache)
        .into_values()
        .find(|bytes| *bytes != good)
        .expect("another entry");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let damages = [
        Vec::new(),
        b"not a frame".to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"x"].concat(),
        [&good[..], &good[..]].concat(),
        flipped(good.len() - 1),
        flipped(good.len() / 2),
        // In the name of a tensor, and in the middle of the header.
        flipped(20),
        flipped(200),
        other,
    ];
    for (index, damage) in damages.iter().enumerate() {
        fs::write(&path, damage).expect("written");
        let ended = pipe([tool("encode-text", "--cache")
            .arg(cache.path())
            .model(&model)
            .arg("a")])
        .run();
        assert!(ended.ok() == expected, "damage {index}");
        let said = &ended.stages[0].stderr;
        assert_eq!(said.lines().count(), 1, "damage {index}: {said}");
        let name = path.file_name().expect("a name").to_str().expect("UTF-8");
        assert!(
            said.starts_with("encode-text: warning: ")
                && said.contains(name)
                && said.contains("damaged"),
            "damage {index}: {said}"
        );
        assert!(fs::read(&path).expect("is there") == good, "damage {index}");
        let (hit, opened) = run(encode(&model, &cache).arg("a"), "");
        assert!(!opened && hit == expected, "damage {index}");
    }
    // What remembers the checkpoint may be damaged too.
    for name in files(&cache, "identity").keys() {
        fs::write(name, "0000").expect("written");
    }
    assert!(!run(encode(&model, &cache).arg("a"), "").1);
    // A folder in the entry's place cannot be replaced: that is told, and the work is done.
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    let ended = pipe([tool("encode-text", "--cache")
        .arg(cache.path())
        .model(&model)
        .arg("a")])
    .run();
    assert!(ended.ok() == expected);
    let said = &ended.stages[0].stderr;
    let line = said
        .lines()
        .find(|line| line.contains("the cache is not written any more"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    let name = path.file_name().expect("a name").to_str().expect("UTF-8");
    assert_eq!(line.matches(name).count(), 1, "{line}");
}

#[test]
fn many_processes_may_share_a_folder() {
    let model = tiny_lettered();
    let prompts = "a b c d e f g h";
    let expected = pipe([tool("encode-text", prompts).model(&model)]).run();
    // With so little room that they remove what the others have just written or are reading.
    for (size, limit) in [("1GiB", 1 << 30), ("150K", 150 << 10)] {
        let cache = folder();
        for _ in 0..3 {
            let start = || {
                let stage = tool("encode-text", "--cache-size").arg(size);
                let stage = stage.model(&model).arg("--cache").arg(cache.path());
                pipe([stage.words(prompts)]).start()
            };
            let running: Vec<_> = (0..6).map(|_| start()).collect();
            for process in running {
                let ended = process.wait();
                assert!(ended.ok() == expected.ok(), "{size}");
                assert_eq!(ended.stages[0].stderr, "", "{size}");
            }
        }
        // Nothing is left but whole files.
        let all = fs::read_dir(cache.path()).expect("a folder").count();
        let (kept, known) = (entries(&cache), files(&cache, "identity"));
        assert_eq!(all, kept.len() + known.len(), "{size}");
        assert!(
            kept.values().map(Vec::len).sum::<usize>() <= limit,
            "{size}"
        );
        for bytes in kept.values() {
            assert_eq!(frames(bytes).len(), 1);
        }
    }
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    let (model, cache) = (tiny_lettered(), folder());
    let stage = |size: &str, prompt: &str| {
        encode(&model, &cache)
            .words("--cache-size")
            .arg(size)
            .arg(prompt)
    };
    let opened = |size: &str, prompt: &str| run(stage(size, prompt), "").1;
    // Files of others stay, whatever they are called.
    for name in ["notes.safetensors", "README"] {
        fs::write(cache.path().join(name), vec![0; 100_000]).expect("written");
    }
    assert!(opened("1GiB", "a"));
    let entry = entries(&cache)
        .into_values()
        .map(|bytes| bytes.len())
        .min()
        .expect("an entry");
    // Room for three, and for what remembers the checkpoint.
    let size = (3 * entry + entry / 2).to_string();
    for prompt in ["b", "c"] {
        assert!(opened(&size, prompt));
    }
    assert!(!opened(&size, "a"), "used again");
    assert!(opened(&size, "d"), "which makes b go");
    let missing: Vec<&str> = ["a", "c", "d", "b"]
        .into_iter()
        .filter(|prompt| opened("1GiB", prompt))
        .collect();
    assert_eq!(missing, ["b"]);
    // Without room nothing stays, and all works.
    assert!(opened("0", "e") && opened("0", "e"));
    assert_eq!(entries(&cache).len(), 1, "just notes.safetensors");
    assert!(cache.path().join("README").exists());
}

#[test]
fn the_folder_alone() {
    let (model, cache) = (tiny_lettered(), folder());
    let (expected, _) = run(encode(&model, &cache).arg("a"), "");
    let only = || encode(&model, &cache).words("--cache-only");
    let (hit, opened) = run(only().arg("a"), "");
    assert!(!opened && hit == expected);
    let ended = pipe([only().arg("b")]).run();
    let name = cache.path().display().to_string();
    assert!(
        ended
            .expect(
                1,
                &[
                    "frame 0: prompt: expected",
                    &name,
                    "run once without --cache-only"
                ]
            )
            .is_empty()
    );
    let ended = pipe([only().words("--negative-prompt b a")]).run();
    ended.expect(1, &["frame 0: negative prompt: expected"]);
    // One that is missing can be left out.
    let ended = pipe([tool("encode-text", "--on-error skip --cache-only --cache")
        .arg(cache.path())
        .model(&model)
        .words("b a")])
    .run();
    assert!(ended.expect(1, &["frame 0: prompt: expected"]) == expected);
    // Nothing is written, not even the folder.
    let none = cache.path().join("none");
    let ended = pipe([tool("encode-text", "--cache-only a --cache")
        .arg(&none)
        .model(&model)])
    .run();
    ended.expect(1, &["none"]);
    assert!(!none.exists());
    let ended = pipe([tool("encode-text", "--cache-only a")]).run();
    ended.expect(2, &["--cache DIR"]);
    let file = cache.path().join("file");
    fs::write(&file, "").expect("written");
    let ended = pipe([tool("encode-text", "a --cache").arg(&file).model(&model)]).run();
    ended.expect(1, &["file: --cache"]);
}

/// What stands in a file's place: what it is, and what puts it there.
#[cfg(unix)]
type Put<'a> = (&'a str, &'a dyn Fn(&Path));

/// In a folder that others may write to as well, what stands under a name of ours may be a link to anything, or a pipe.
#[cfg(unix)]
#[test]
fn nothing_but_regular_files_is_read_or_written() {
    use std::os::unix::fs::symlink;
    let (model, cache, elsewhere) = (tiny_lettered(), folder(), folder());
    let (expected, _) = run(encode(&model, &cache).arg("a"), "");
    let (entry, good) = entries(&cache).pop_first().expect("an entry");
    let precious = elsewhere.path().join("precious");
    fs::write(&precious, "precious").expect("written");
    let identities: Vec<_> = files(&cache, "identity").into_keys().collect();
    let fifo = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo").success());
    };
    let put: [Put; 5] = [
        ("a link", &|path| symlink(&precious, path).expect("made")),
        ("a link to nothing", &|path| {
            symlink(elsewhere.path().join("none"), path).expect("made");
        }),
        ("a device", &|path| {
            symlink("/dev/zero", path).expect("made");
        }),
        ("a pipe", &fifo),
        // A link to what would be taken as it stands there.
        ("a link to an entry", &|path| {
            let copy = elsewhere.path().join("copy");
            fs::write(&copy, &good).expect("written");
            symlink(&copy, path).expect("made");
        }),
    ];
    for (what, put) in put {
        for path in identities.iter().chain([&entry]) {
            fs::remove_file(path).expect("removed");
            put(path);
            let ended = pipe([tool("encode-text", "--cache")
                .arg(cache.path())
                .model(&model)
                .arg("a")])
            .limit(30)
            .run();
            assert!(ended.ok() == expected, "{what}");
            if *path == entry {
                let said = &ended.stages[0].stderr;
                assert!(
                    said.contains("damaged, and to be replaced"),
                    "{what}: {said}"
                );
                assert!(said.contains("expected a regular file"), "{what}: {said}");
                assert_eq!(said.matches("safetensors").count(), 1, "{what}: {said}");
            }
            let metadata = fs::symlink_metadata(path);
            let is_file = metadata.is_ok_and(|metadata| metadata.is_file());
            assert!(is_file, "{what}: {}", path.display());
        }
        let kept = fs::read_to_string(&precious).expect("is there");
        assert_eq!(kept, "precious", "{what}");
        assert!(!elsewhere.path().join("none").exists(), "{what}");
        assert!(fs::read(&entry).expect("is there") == good, "{what}");
    }
}

/// A checkpoint that is overwritten in its place while a tool has it open: what is computed of it is nobody's.
#[test]
fn a_checkpoint_that_changes_under_way_leaves_nothing_in_the_cache() {
    let cache = folder();
    let file = "text_encoder/model.fp16.safetensors";
    let model = Altered::of(&tiny_lettered()).with_bytes(file, |bytes| bytes);
    let path = model.path().join(file);
    let original = fs::read(&path).expect("is there");
    let overwrite = |change: fn(&mut u8)| {
        let mut bytes = original.clone();
        bytes[original.len() / 2..].iter_mut().for_each(change);
        // In place: the same file to whoever has it open.
        let mut file = fs::File::options().write(true).open(&path).expect("opens");
        file.write_all(&bytes).expect("written");
    };
    let (first, _) = run(tool("encode-text", "a").model(model.path()), "");
    let mut running = pipe([encode(model.path(), &cache)]).held().start();
    let mut stdin = running.stdin.take().expect("is held");
    let mut stdout = running.stdout.take().expect("is held");
    stdin.write_all(b"a\n").expect("it reads");
    let mut frame = vec![0; first.len()];
    stdout.read_exact(&mut frame).expect("a frame");
    assert!(frame == first);
    // So that the clock of the file system has moved on.
    std::thread::sleep(Duration::from_millis(50));
    overwrite(|byte| *byte ^= 1);
    stdin.write_all(b"b\n").expect("it reads");
    drop(stdin);
    let ended = running.wait();
    let end = &ended.stages[0];
    assert_eq!(end.status.code(), Some(1), "{}", end.stderr);
    assert!(
        end.stderr.contains("frame 1: ")
            && end.stderr.contains(file)
            && end.stderr.contains("found it changed meanwhile"),
        "{}",
        end.stderr
    );
    assert_eq!(entries(&cache).len(), 1);
    // As it was again: what is found and what is made anew is right.
    overwrite(|_| {});
    let words = |stage: Stage| stage.words("a b");
    let (plain, _) = run(words(tool("encode-text", "").model(model.path())), "");
    assert!(run(words(encode(model.path(), &cache)), "").0 == plain);
}
