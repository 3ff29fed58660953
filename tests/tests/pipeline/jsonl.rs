//! Records: JSON lines with their own settings.

use crate::golden::{TEXT, compare};
use pipeline_tests::{Altered, Stage, frames, pictures, pipe, progress, tool};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use turbo_testkit::{golden, golden_cases, relative_error, shared_dir, tiny, tiny_lettered};
use turbo_wire::{Frame, FrameReader, FrameWriter, Limits, names};

fn encode(flags: &str) -> Stage {
    tool("encode-text", flags).model(&tiny_lettered())
}

fn lines(records: &[Value]) -> String {
    let lines: Vec<String> = records.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A line for each of five records that differ in everything.
fn five() -> Vec<String> {
    let records = [
        json!({"prompt": "a"}),
        json!({"prompt": "b c", "id": "x", "seed": 7, "steps": 2}),
        json!({"prompt": "", "negative_prompt": "d", "guidance_scale": 1.5, "mood": "wild"}),
        json!({"prompt": "e", "prompt_2": "f", "clip_skip": 1, "width": 96, "tags": ["g", 1]}),
        json!({"prompt": "a", "negative_prompt": "h", "negative_prompt_2": "i", "seed": 1}),
    ];
    records.iter().map(|record| format!("{record}\n")).collect()
}

fn get<'a>(frame: &'a Frame, key: &str) -> Option<&'a str> {
    frame.header.get(key)
}

/// Every setting in one stream, against what diffusers drew with them.
#[test]
fn settings_in_records_draw_diffusers_pictures() {
    if shared_dir().is_none() {
        return;
    }
    let (golden, cases) = (golden("tiny"), golden_cases("tiny"));
    let cases = cases["cases"]["image"].as_array().expect("a list");
    let cases: Vec<_> = cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.get("kind").is_none())
        .collect();
    let record = |index: usize, case: &Value| {
        let mut record = Map::from_iter([("id".to_owned(), json!(format!("case/{index}")))]);
        for (key, value) in case.as_object().expect("an object") {
            let key = match &key[..] {
                "num_inference_steps" => "steps",
                "crops_coords_top_left" => "crops_top_left",
                key => key,
            };
            let value = match value.as_array().map(Vec::as_slice) {
                Some([first, second]) => json!(format!("{first}x{second}")),
                _ => value.clone(),
            };
            record.insert(key.to_owned(), value);
        }
        Value::Object(record)
    };
    let records: Vec<Value> = cases.iter().map(|(i, case)| record(*i, case)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    // The flags are all wrong, and lose.
    let made = [
        tool("encode-text", "--jsonl --dtype f32").model(&tiny()),
        tool(
            "denoise",
            "--steps 7 --seed 77 --width 8 --height 8 --dtype f32",
        ),
    ];
    let latents = pipe(made.clone()).input(lines(&records)).run();
    let rest = [
        tool("decode-latents", "--dtype f32"),
        tool("to-png", "-o").arg(folder.path().join("{id}.png")),
    ];
    let stages = made.into_iter().chain(rest);
    pipe(stages).input(lines(&records)).run().ok();
    let latents = frames(latents.ok());
    assert_eq!((cases.len(), latents.len()), (8, 8));
    for ((index, _), frame) in cases.iter().zip(&latents) {
        let png = fs::read(folder.path().join(format!("case_{index}.png"))).expect("is there");
        let mut writer = FrameWriter::new(Vec::new());
        writer.write_frame(frame).expect("a vector takes it");
        let expected = ["latents", "pixels"].map(|name| &golden[&format!("image/{index}/{name}")]);
        let what = format!("record {index}");
        compare(&what, &writer.into_inner(), &png, expected);
    }
}

#[test]
fn second_prompts_and_skipped_layers_of_records_are_diffusers() {
    if shared_dir().is_none() {
        return;
    }
    let golden = golden("tiny");
    let cases = golden_cases("tiny");
    let records = cases["cases"]["text"].as_array().expect("a list");
    // As flags they would count for every record.
    let encode = tool("encode-text", "--jsonl --dtype f32 --quiet").model(&tiny());
    let ended = pipe([encode]).input(lines(records)).run();
    let found = frames(ended.ok());
    assert_eq!(found.len(), records.len());
    for (index, frame) in found.iter().enumerate() {
        for name in [names::PROMPT_EMBEDS, names::POOLED_PROMPT_EMBEDS] {
            let expected = golden[&format!("text/{index}/{name}")].f32();
            let e = relative_error(&frame.to_f32(name).expect("f32"), &expected);
            assert!(e <= TEXT, "record {index}, {name}: e = {e}");
        }
    }
}

/// Alone, anywhere in a stream of 1,000, and with any number of threads.
#[test]
fn a_record_gives_the_same_bytes_wherever_it_stands() {
    let five = five();
    let alone: Vec<Vec<u8>> = five
        .iter()
        .map(|line| {
            let ended = pipe([encode("--jsonl --threads 1")])
                .input(line.as_str())
                .run();
            ended.ok().to_vec()
        })
        .collect();
    let order: Vec<usize> = (0..1000_usize).map(|k| (k * k + k / 7) % 5).collect();
    let stream: String = order.iter().map(|&k| five[k].as_str()).collect();
    for threads in ["1", "2", "3"] {
        let ended = pipe([encode("--jsonl").arg("--threads").arg(threads)])
            .input(stream.as_str())
            .run();
        let mut rest = ended.ok();
        for (place, &record) in order.iter().enumerate() {
            let (found, after) = rest.split_at(alone[record].len());
            assert!(
                found == alone[record],
                "record {record} at place {place} with {threads} threads"
            );
            rest = after;
        }
        assert!(rest.is_empty());
    }
    // The rest of the pipe too, where the record has a seed.
    let draw = |input: &str| {
        let stages = [
            encode("--jsonl"),
            tool("denoise", "--width 64 --height 64 --seed 5"),
            tool("decode-latents", ""),
        ];
        pipe(stages).input(input).run().ok().to_vec()
    };
    let (own, others) = (draw(&five[1]), draw(&[&five[0][..], &five[1]].concat()));
    assert!(others.ends_with(&own));
    assert_eq!(get(&frames(&own)[0], "seed"), Some("7"));
}

#[test]
fn a_records_value_wins_then_the_flag_then_the_default() {
    let records = [
        json!({"prompt": "a"}),
        json!({"prompt": "a", "negative_prompt": "own", "prompt_2": "own", "clip_skip": 0, "images": 1,
            "seed": 3, "steps": 1, "width": 72, "height": 80, "guidance_scale": 3}),
        json!({"prompt": "a", "prompt_2": "", "negative_prompt": null, "seed": null}),
    ];
    let stages = [
        encode("--jsonl --negative-prompt flag --prompt-2 flag --clip-skip 1 --images 2"),
        tool("denoise", "--seed 100 --steps 2 --width 64 --height 64"),
    ];
    let found = frames(pipe(stages).input(lines(&records)).run().ok());
    let keys = [
        "prompt_2",
        "negative_prompt",
        "clip_skip",
        "seed",
        "steps",
        "width",
        "height",
        "guidance_scale",
    ];
    let values: Vec<_> = found
        .iter()
        .map(|frame| keys.map(|key| get(frame, key).unwrap_or("-")))
        .collect();
    let flags = |prompt_2, seed| [prompt_2, "flag", "1", seed, "2", "64", "64", "0"];
    let own = ["own", "own", "-", "3", "1", "72", "80", "3"];
    assert_eq!(
        values,
        [
            flags("flag", "100"),
            flags("flag", "101"),
            own,
            flags("-", "104"),
            flags("-", "105")
        ]
    );
}

#[test]
fn ids_name_files_and_everything_reaches_the_png() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = [
        json!({"prompt": "a", "id": "../up", "mood": "wild 狐", "tags": ["x", {"y": null}], "seed": 9}),
        json!({"prompt": "b", "id": 12}),
        json!({"prompt": "c", "id": "con"}),
    ];
    let stages = [
        encode("--jsonl"),
        tool("denoise", "--width 64 --height 64 --seed 1"),
        tool("decode-latents", ""),
        tool("to-png", "-o").arg(folder.path().join("{id}.png")),
    ];
    pipe(stages.clone()).input(lines(&records)).run().ok();
    let mut found: Vec<_> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    found.sort();
    assert_eq!(found, ["12.png", "___up.png", "_con.png"]);
    let png = fs::read(folder.path().join("___up.png")).expect("is there");
    let all: Value = serde_json::from_str(&pictures(&png)[0].text["sdxl-turbo"]).expect("JSON");
    let expected = [
        ("id", "../up"),
        ("mood", "wild 狐"),
        ("tags", r#"["x",{"y":null}]"#),
        ("seed", "9"),
    ];
    for (key, value) in expected {
        assert_eq!(all[key], value, "{key}");
    }
    // A clash, and a record without a name.
    let clash = [
        json!({"prompt": "a", "id": "x/y"}),
        json!({"prompt": "a", "id": "x_y"}),
    ];
    let ended = pipe(stages.clone()).input(lines(&clash)).run();
    ended.stages[3].expect(1, &["frame 1", "x_y.png: expected a new name"]);
    let ended = pipe(stages).input(lines(&[json!({"prompt": "a"})])).run();
    ended.stages[3].expect(1, &["frame 0: id: expected one", "--jsonl", "%04d"]);
}

#[test]
fn a_bad_line_is_named_by_its_number_and_can_be_skipped() {
    let bad = [
        ("a red fox", "expected a JSON object, found something else"),
        (r#"["a"]"#, "expected a JSON object"),
        ("{}", "expected a key \"prompt\""),
        (r#"{"prompt": 1}"#, "prompt: expected a string, found 1"),
        (
            r#"{"prompt": "a", "seed": -1}"#,
            "seed: expected a whole number from 0",
        ),
        (
            r#"{"prompt": "a", "steps": "2"}"#,
            "steps: expected a whole number from 1",
        ),
        (
            r#"{"prompt": "a", "width": 100}"#,
            "width: expected a multiple of 8",
        ),
        (
            r#"{"prompt": "a", "strength": 2}"#,
            "strength: expected a number above 0",
        ),
        (
            r#"{"prompt": "a", "negative_prompt_2": "b"}"#,
            "negative_prompt_2: expected a negative_prompt",
        ),
    ];
    let good = r#"{"prompt": "good"}"#;
    for (line, text) in bad {
        // Blank lines count as lines, and not as records.
        let input = format!("{good}\n\n  \n{line}\n{good}\n");
        // What a line lacks beside the flags is no fault of its text.
        let place = if line.contains("prompt_2") {
            ""
        } else {
            "stdin: line 4: "
        };
        let ended = pipe([encode("--jsonl")]).input(input.as_str()).run();
        let found = frames(ended.expect(1, &[&format!("frame 1: {place}"), text]));
        assert_eq!(found.len(), 1, "{line}");
        let ended = pipe([encode("--jsonl --on-error skip")])
            .input(input.as_str())
            .run();
        let found = frames(ended.expect(1, &[&format!("frame 1: {place}"), text]));
        assert_eq!(found.len(), 2, "{line}");
    }
    // A file is named, and so is a line that is too long; nothing after it is lost.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("records.jsonl");
    let long = format!(r#"{{"prompt": "{}"}}"#, "x".repeat(300 << 10));
    fs::write(&path, format!("{long}\n{good}\n{{\n")).expect("written");
    let ended = pipe([encode("--on-error skip").arg("--jsonl").arg(&path)]).run();
    let stage = &ended.stages[0];
    assert_eq!(stage.status.code(), Some(1));
    let name = path.display();
    let said: Vec<_> = stage.stderr.lines().collect();
    assert_eq!(
        said,
        [
            format!(
                "encode-text: {name}: frame 0: line 1: expected at most 262144 bytes, found more"
            ),
            format!(
                "encode-text: {name}: frame 2: line 3: expected a JSON object, found something else at column 1: EOF \
                 while parsing an object"
            ),
        ]
    );
    assert_eq!(frames(&ended.stdout).len(), 1);
    let missing = folder.path().join("none.jsonl");
    let ended = pipe([encode("").arg("--jsonl").arg(&missing)]).run();
    ended.expect(1, &["none.jsonl", "No such file"]);
    let ended = pipe([encode("--jsonl x").arg("a red fox")]).run();
    assert_eq!(ended.stages[0].status.code(), Some(2));
}

/// As for `tail -f records | encode-text --jsonl`.
#[test]
fn a_record_is_answered_before_the_next_one_comes() {
    let mut running = pipe([encode("--jsonl")]).held().start();
    let mut stdin = running.stdin.take().expect("held");
    let mut reader = FrameReader::new(running.stdout.take().expect("held"), Limits::default());
    for line in five() {
        stdin.write_all(line.as_bytes()).expect("it reads");
        stdin.flush().expect("it reads");
        let record: Value = serde_json::from_str(&line).expect("JSON");
        let frame = reader.next_frame().expect("a frame").expect("a frame");
        assert_eq!(get(&frame, "prompt"), record["prompt"].as_str());
    }
    drop(stdin);
    assert!(reader.next_frame().expect("the end").is_none());
    running.wait().ok();
}

/// The model that records name is opened for them, and stays open until they name another.
#[test]
fn records_may_name_their_model() {
    let one = tiny_lettered();
    let alias = Altered::of(&one);
    let record = |model: &Path| json!({"prompt": "a", "model": model});
    let records = [
        record(&one),
        json!({"prompt": "a"}),
        record(alias.path()),
        record(alias.path()),
        json!({"prompt": "a", "model": "/nonexistent/model"}),
        json!({"prompt": "a"}),
    ];
    let stage =
        tool("encode-text", "--jsonl --on-error skip --progress json").env("TURBO_MODEL", &one);
    let ended = pipe([stage]).input(lines(&records)).run();
    let stage = &ended.stages[0];
    assert_eq!(stage.status.code(), Some(1), "{}", stage.stderr);
    let (errors, events): (Vec<&str>, Vec<&str>) = stage
        .stderr
        .lines()
        .partition(|line| !line.starts_with('{'));
    assert!(
        errors.len() == 1 && errors[0].contains("frame 4: /nonexistent/model"),
        "{errors:?}"
    );
    let opened: Vec<bool> = progress(&events.join("\n"))
        .iter()
        .map(|event| event["open_s"].as_f64() > Some(0.0))
        .collect();
    assert_eq!(opened, [true, false, true, false, true]);
    let found = frames(&ended.stdout);
    let models: Vec<_> = found.iter().map(|frame| get(frame, "model")).collect();
    let (one, alias) = (one.to_str(), alias.path().to_str());
    assert_eq!(models, [one, one, alias, alias, one]);
}

/// A hundred records, four tools, one load each.
#[test]
fn every_tool_opens_its_model_once() {
    let stages = [
        encode("--jsonl --progress json"),
        tool("denoise", "--width 64 --height 64 --seed 1 --progress json"),
        tool("decode-latents", "--progress json"),
    ];
    let ended = pipe(stages).input(five()[0].repeat(100)).run();
    assert_eq!(frames(ended.ok()).len(), 100);
    for stage in &ended.stages {
        let events = progress(&stage.stderr);
        assert_eq!(events.len(), 100, "{}", stage.name);
        assert!(events[0]["open_s"].as_f64() > Some(0.0), "{}", stage.name);
        assert!(
            events[1..].iter().all(|event| event["open_s"] == 0.0),
            "{}",
            stage.name
        );
    }
}
