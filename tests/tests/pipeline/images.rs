//! Several pictures of a prompt.

use pipeline_tests::{Stage, embeddings, frames, pictures, pipe, progress, tool};
use std::fs;
use turbo_testkit::{golden, relative_error, tiny};
use turbo_wire::{Frame, names};

/// A size at which the tiny checkpoint draws in milliseconds; that of `make_trace.py`.
const SMALL: &str = "--width 64 --height 96 --steps 2";

fn denoise(flags: &str) -> Stage {
    tool("denoise", &format!("{SMALL} {flags}")).model(&tiny())
}

fn draw(flags: &str, input: &[u8]) -> Vec<Frame> {
    frames(pipe([denoise(flags)]).input(input).run().ok())
}

/// The metadata values of all frames for a key.
fn values(frames: &[Frame], key: &str) -> Vec<Option<String>> {
    let of = |frame: &Frame| frame.header.get(key).map(ToOwned::to_owned);
    frames.iter().map(of).collect()
}

fn some<const N: usize>(texts: [&str; N]) -> Vec<Option<String>> {
    texts.map(|text| Some(text.to_owned())).to_vec()
}

#[test]
fn each_picture_is_that_of_its_seed_alone() {
    let input = [embeddings(&[0], &[("id", "a")]), embeddings(&[1], &[])].concat();
    // With guidance too, where two things are worked out once.
    for flags in ["", "--guidance-scale 2"] {
        let all = draw(&format!("--seed 20 --images 3 {flags}"), &input);
        assert_eq!(all.len(), 6);
        let seeds = some(["20", "21", "22", "23", "24", "25"]);
        assert_eq!(values(&all, "seed"), seeds);
        // The same where the records ask for it.
        let asked = [
            embeddings(&[0], &[("id", "a"), ("images", "3")]),
            embeddings(&[1], &[("images", "3")]),
        ];
        let asked = draw(&format!("--seed 20 {flags}"), &asked.concat());
        assert!(asked == all);
        for (index, frame) in all.iter().enumerate() {
            let record = index / 3;
            let alone = draw(
                &format!("--seed {} {flags}", 20 + index),
                &embeddings(&[record], &[]),
            );
            assert!(
                frame.body() == alone[0].body(),
                "{flags}: picture {index} differs from a run with its seed"
            );
        }
        assert!(all[0].body() != all[1].body(), "the seed counts");
    }
}

#[test]
fn pictures_are_diffusers_num_images_per_prompt() {
    let golden = &golden("trace")["images/latents"];
    let found = draw("--seed 100 --images 3 --dtype f32", &embeddings(&[0], &[]));
    assert_eq!(found.len(), golden.shape[0]);
    let found: Vec<f32> = found
        .iter()
        .flat_map(|frame| frame.to_f32(names::LATENTS).expect("f32"))
        .collect();
    let e = relative_error(&found, &golden.f32());
    println!("three pictures: e = {e:.1e}");
    assert!(e <= 1e-4, "e = {e}");
}

#[test]
fn a_record_says_how_many_and_counts_from_its_own_seed() {
    let records = [
        embeddings(&[0], &[("images", "2"), ("seed", "7"), ("id", "fox")]),
        embeddings(&[0], &[]),
        embeddings(&[0], &[("images", "1")]),
    ];
    let all = draw("--seed 50 --images 3", &records.concat());
    assert_eq!(
        values(&all, "seed"),
        some(["7", "8", "53", "54", "55", "52"])
    );
    assert_eq!(values(&all, "id")[..2], some(["fox", "fox-1"]));
    let indices = ["0", "1", "0", "1", "2"];
    assert_eq!(values(&all, "image_index")[..5], some(indices));
    assert_eq!(values(&all, "image_index")[5], None);
    assert!(values(&all, "images").iter().all(Option::is_none));
    // The same record alone, with no flag: the same bytes, metadata and all.
    let alone = pipe([denoise("")]).input(&records[0][..]).run();
    let expected: Vec<u8> = all[..2]
        .iter()
        .flat_map(|frame| [frame.header.encoded(), frame.body()].concat())
        .collect();
    assert!(alone.ok() == expected);
}

#[test]
fn rows_and_pictures_count_on_together() {
    let all = draw("--seed 5 --images 2", &embeddings(&[0, 1], &[]));
    assert_eq!(all.len(), 2);
    for (index, frame) in all.iter().enumerate() {
        assert_eq!(frame.header.batch(), 2);
        let alone = draw(&format!("--seed {}", 5 + index), &embeddings(&[0, 1], &[]));
        assert!(frame.body() == alone[0].body(), "picture {index}");
    }
}

#[test]
fn files_are_named_by_id_without_a_clash() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = [
        embeddings(&[0], &[("id", "fox"), ("images", "3")]),
        embeddings(&[1], &[("id", "owl")]),
    ];
    let stages = [
        denoise("--seed 1"),
        tool("decode-latents", ""),
        tool("to-png", "-o").arg(folder.path().join("{id}.png")),
    ];
    pipe(stages).input(input.concat()).run().ok();
    let mut found: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    found.sort();
    assert_eq!(found, ["fox-1.png", "fox-2.png", "fox.png", "owl.png"]);
    let seed = |name: &str| {
        let png = fs::read(folder.path().join(name)).expect("a file");
        let all = pictures(&png).remove(0).text["sdxl-turbo"].clone();
        let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
        all["seed"].as_str().expect("a seed").to_owned()
    };
    // Record 1 has the seed 1 + 1: what record 0 says of itself is no business of the others.
    let names = ["fox.png", "fox-1.png", "fox-2.png", "owl.png"];
    assert_eq!(names.map(seed), ["1", "2", "3", "2"]);
}

#[test]
fn each_picture_is_reported() {
    let ended = pipe([denoise("--seed 1 --images 2 --progress json")])
        .input(embeddings(&[0], &[("id", "a")]))
        .run();
    ended.ok();
    let lines = progress(&ended.stages[0].stderr);
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line["frame"].as_u64(), line["id"].as_str()))
        .collect();
    assert_eq!(seen, [(Some(0), Some("a")), (Some(1), Some("a-1"))]);
    assert_eq!(lines[1]["open_s"], 0.0);
    assert_eq!(lines[1]["step_s"].as_array().map(Vec::len), Some(2));
}

/// A number of pictures that nobody could wait for takes no memory, and ends with its reader.
#[test]
#[cfg(target_os = "linux")]
fn pictures_come_one_by_one() {
    use std::io::Read;
    let many = u32::MAX.to_string();
    let mut running = pipe([denoise("--seed 1")]).held().start();
    let mut stdin = running.stdin.take().expect("is held");
    let input = embeddings(&[0], &[("images", &many)]);
    std::io::Write::write_all(&mut stdin, &input).expect("is read");
    let mut stdout = running.stdout.take().expect("is held");
    let mut seen = vec![0; 1 << 16];
    stdout.read_exact(&mut seen).expect("frames");
    let early = running.max_rss_bytes(0);
    for _ in 0..8 {
        stdout.read_exact(&mut seen).expect("frames");
    }
    let late = running.max_rss_bytes(0);
    assert!(late < early + (8 << 20), "{early} bytes, then {late}");
    drop(stdout);
    drop(stdin);
    let ended = running.wait();
    assert_eq!(ended.stages[0].status.code(), Some(141));
}

#[test]
fn numbers_that_cannot_be() {
    let ended = pipe([denoise("--images 0")]).run();
    let end = &ended.stages[0];
    assert_eq!(end.status.code(), Some(2));
    let text = "'0' for '--images <M>': expected a whole number from 1, found 0";
    assert!(end.stderr.contains(text), "{}", end.stderr);
    pipe([denoise("")])
        .input(embeddings(&[0], &[("images", "some")]))
        .run()
        .expect(1, &["frame 0: metadata: images: expected a whole number"]);
}
