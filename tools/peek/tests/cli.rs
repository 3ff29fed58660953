//! The tool as a process: what it shows, what it passes on, exit statuses.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use serde_json::{Value, json};
use support::{TOOL, image, latents, many_types, objects, run, shell, stderr};
use turbo_testkit::process::{feed, on_terminal, pipe, tool};
use turbo_wire::{Dtype, Header, Kind, Metadata, TensorSpec};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A frame as no writer of this project makes it: entries against the order of their bodies,
/// odd spaces, keys without a meaning, no metadata that says what it is.
fn foreign() -> Vec<u8> {
    let json = br#"{ "zz":{"shape":[2], "data_offsets":[64,66],"dtype":"U8"},
        "__metadata__" : {"z":"1","a":"\u0032"},
        "latents":{"dtype":"F32","shape":[1,4,2,2],"data_offsets":[0,64]} }   "#;
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json);
    bytes.extend_from_slice(&[0; 64]);
    bytes.extend_from_slice(&[5, 7]);
    bytes
}

#[test]
fn frames_pass_byte_for_byte() {
    let folder = folder();
    let a = image(3, 5, &[("prompt", "a red fox"), ("x-mood", "wild")]);
    let stream = [a.clone(), foreign(), latents(&[1.0; 32], &[])].concat();
    for args in [&[][..], &["--json"], &["--progress", "json"], &["--quiet"]] {
        let output = run(folder.path(), args, &stream);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(output.stdout == stream, "{args:?}");
        let is_silent = output.stderr.is_empty();
        assert_eq!(is_silent, args == ["--quiet"], "{args:?}");
    }
    // From files too, one after the other.
    fs::write(folder.path().join("a.st"), &a).unwrap();
    let output = run(folder.path(), &["a.st", "-", "a.st"], &foreign());
    assert!(output.stdout == [a.clone(), foreign(), a].concat());
}

#[test]
fn a_table_shows_what_there_is() {
    let folder = folder();
    fs::write(
        folder.path().join("a.st"),
        image(1, 2, &[("prompt", "a fox\x1b[31m")]),
    )
    .unwrap();
    let text = stderr(&run(folder.path(), &["a.st"], b""));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("a.st: frame 0: image, "), "{text}");
    // Values 0, 7, ... 35. numpy: np.std(np.arange(6) * 7) = 11.954776
    assert_eq!(
        lines[2],
        "  image   U8    [1, 1, 2, 3]  0    17.5  35   11.955  0    0"
    );
    assert!(lines.contains(&"  prompt   a fox\\u{1b}[31m"), "{text}");
    assert!(lines.contains(&"  kind     image"), "{text}");
}

#[test]
fn json_is_an_object_a_line() {
    let folder = folder();
    let values: Vec<f32> = (0..16_u8).map(f32::from).collect();
    let frame = latents(&values, &[("id", "fox"), ("seed", "7")]);
    fs::write(folder.path().join("a.st"), frame.repeat(2)).unwrap();
    let output = run(folder.path(), &["--json", "a.st"], b"");
    let objects = objects(&output);
    assert_eq!(objects.len(), 2);
    let seen = &objects[1];
    assert_eq!(
        (&seen["file"], &seen["frame"], &seen["kind"], &seen["bytes"]),
        (
            &json!("a.st"),
            &json!(1),
            &json!("latents"),
            &json!(frame.len())
        )
    );
    // numpy: np.std(np.arange(16)) = 4.6097722286464435
    assert_eq!(
        seen["tensors"],
        json!([{"name": "latents", "dtype": "F32", "shape": [1, 4, 2, 2], "min": 0.0,
            "mean": 7.5, "max": 15.0, "std": 4.609_772_228_646_443_5, "nan": 0, "inf": 0}])
    );
    assert_eq!(seen["metadata"]["id"], "fox");
    assert_eq!(seen["metadata"]["seed"], "7");
    let piped = run(folder.path(), &["--json"], &frame);
    assert!(!stderr(&piped).contains("\"file\""));
}

#[test]
fn values_that_are_no_numbers_are_counted_and_null() {
    let folder = folder();
    let mut values = [1.0; 32];
    values[3] = f32::NAN;
    values[4] = f32::INFINITY;
    values[5] = f32::NEG_INFINITY;
    let bad = latents(&[f32::NAN; 16], &[]);
    let output = run(
        folder.path(),
        &["--json"],
        &[latents(&values, &[]), bad.clone()].concat(),
    );
    let seen = objects(&output);
    let tensor = |n: usize| seen[n]["tensors"][0].clone();
    assert_eq!(
        (&tensor(0)["nan"], &tensor(0)["inf"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        (&tensor(0)["max"], &tensor(0)["std"]),
        (&json!(1.0), &json!(0.0))
    );
    assert_eq!(
        (&tensor(1)["nan"], &tensor(1)["mean"]),
        (&json!(16), &Value::Null)
    );
    let table = stderr(&run(folder.path(), &[], &bad));
    assert!(table.contains("-    -     -    -    16   0"), "{table}");
}

#[test]
fn tensors_of_other_types_are_shown() {
    let folder = folder();
    let stream = many_types(&[
        (Dtype::I64, &(-3_i64).to_le_bytes()),
        (Dtype::BOOL, &[0, 1]),
        (Dtype::F8_E4M3, &[1]),
    ]);
    let output = run(folder.path(), &["--json"], &stream);
    assert!(output.stdout == stream);
    let seen = objects(&output);
    let tensors = seen[0]["tensors"].as_array().unwrap();
    let find = |name: &str| tensors.iter().find(|t| t["name"] == name).unwrap();
    assert_eq!(find("x-I64")["min"], json!(-3.0));
    assert_eq!(find("x-BOOL")["mean"], json!(0.5));
    assert_eq!(find("x-F8_E4M3")["nan"], Value::Null);
}

#[test]
fn a_header_is_passed_on_before_its_body_comes() {
    let frame = image(3, 5, &[]);
    let body = 45;
    let mut running = pipe([tool(TOOL, &[])]).held().start();
    let mut stdin = running.stdin.take().unwrap();
    let mut stdout = running.stdout.take().unwrap();
    for _ in 0..2 {
        for part in [&frame[..frame.len() - body], &frame[frame.len() - body..]] {
            stdin.write_all(part).unwrap();
            let mut passed = vec![0; part.len()];
            stdout.read_exact(&mut passed).unwrap();
            assert!(passed == part);
        }
    }
    drop(stdin);
    running.wait().ok();
}

#[test]
fn whole_frames_before_a_fault_are_shown_and_passed() {
    let folder = folder();
    let frame = image(3, 5, &[]);
    let cut = [frame.clone(), frame[..frame.len() - 1].to_vec()].concat();
    let output = run(folder.path(), &[], &cut);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with(&frame));
    let text = stderr(&output);
    assert!(text.contains("frame 0: image"), "{text}");
    assert!(text.contains("\npeek: frame 1, byte "), "{text}");

    fs::write(
        folder.path().join("x.st"),
        [frame.as_slice(), b"garbage!"].concat(),
    )
    .unwrap();
    let output = run(folder.path(), &["x.st"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout == frame);
    assert!(stderr(&output).contains("peek: x.st: frame 1, byte "));

    let output = run(folder.path(), &["--max-frame-bytes", "99"], &frame);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(run(folder.path(), &["none.st"], b"").status.code(), Some(1));
    assert_eq!(run(folder.path(), &["--bad"], b"").status.code(), Some(2));
}

#[test]
fn full_devices_and_itself_as_output() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    let folder = folder();
    let frame = image(3, 5, &[]);
    fs::write(folder.path().join("a.st"), &frame).unwrap();
    // The frames matter more than what is told of them.
    let output = shell(folder.path(), r#""$0" a.st 2> /dev/full"#);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == frame);
    let output = shell(folder.path(), r#""$0" a.st >> a.st"#);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the same file"));
    assert!(fs::read(folder.path().join("a.st")).unwrap() == frame);
}

#[test]
fn a_terminal_gets_the_table_and_no_frames() {
    let folder = folder();
    fs::write(folder.path().join("a.st"), image(3, 5, &[("id", "fox")])).unwrap();
    let shown = |line: String| Some(feed(on_terminal(&line)?.folder(folder.path()), b""));
    let Some(output) = shown(format!("{TOOL} a.st")) else {
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("a.st: frame 0: image"), "{text}");
    assert!(!text.contains("data_offsets"), "{text}");

    let output = shown(format!("{TOOL} > out.st")).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("peek: stdin: expected frames, found a terminal"),
        "{text}"
    );
    // With nothing passed on, the table is the result: its loss is a failure.
    let output = shown(format!("{TOOL} a.st 2> /dev/full")).unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_thousand_frames_take_no_more_memory_than_a_few() {
    let folder = folder();
    // 48 KiB each: 48 MiB in all, if they were kept.
    let stream = image(128, 128, &[("id", "x")]).repeat(1000);
    let output = run(folder.path(), &["--json", "--progress", "json"], &stream);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == stream);
    let events: Vec<_> = objects(&output)
        .into_iter()
        .filter(|object| object["event"] == "frame")
        .collect();
    assert_eq!(events.len(), 1000);
    assert_eq!(
        (&events[999]["frame"], &events[999]["id"]),
        (&json!(999), &json!("x"))
    );
    let rss = |n: usize| events[n]["max_rss_bytes"].as_u64();
    if let (Some(early), Some(late)) = (rss(20), rss(999)) {
        assert!(late < early + (4 << 20), "{early} bytes, then {late}");
    }
}

/// Time and text grow with what has come, not with the square of it.
#[cfg(target_os = "linux")]
#[test]
fn many_tensors_and_keys_take_their_own_time_only() {
    let folder = folder();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    // 100,000 tensors of a byte each: seconds for each search through all of them for each.
    let count = 100_000;
    let names: Vec<String> = (0..count).map(|i| format!("t{i:06}")).collect();
    let values = [0.25_f32; 16].map(f32::to_le_bytes).concat();
    let mut specs = vec![TensorSpec::new("latents", Dtype::F32, &[1, 4, 2, 2])];
    specs.extend(
        names
            .iter()
            .map(|name| TensorSpec::new(name, Dtype::U8, &[1])),
    );
    let mut bodies = vec![("latents", &values[..])];
    bodies.extend(names.iter().map(|name| (&name[..], &[7][..])));
    let header = Header::new(Kind::Latents, specs, Metadata::new()).unwrap();
    file("a.st", &support::bytes(header, &bodies));
    let limits = "--max-tensors 1000000 --max-header-bytes 1GiB";
    for args in ["", "--json", "--compare a.st"] {
        let line = format!(r#"ulimit -t 10; exec "$0" {limits} {args} a.st > b.st"#);
        let output = shell(folder.path(), &line);
        let text = stderr(&output);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args}: {}",
            &text[..text.len().min(500)]
        );
        assert!(text.contains("t099999"), "{args}");
        assert_eq!(
            fs::read(folder.path().join("b.st")).unwrap(),
            fs::read(folder.path().join("a.st")).unwrap()
        );
    }
    // One long key among many short ones: each line is as long as it has to be.
    let long = "k".repeat(300_000);
    let keys: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    let mut pairs: Vec<_> = keys.iter().map(|key| (&key[..], "")).collect();
    pairs.push((&long, "x"));
    file("a.st", &image(1, 1, &pairs));
    file("b.st", &image(1, 1, &[]));
    for args in ["a.st", "a.st --compare b.st"] {
        let output = shell(folder.path(), &format!(r#""$0" {args} > /dev/null"#));
        assert!(
            output.stderr.len() < 3 << 20,
            "{args}: {} bytes",
            output.stderr.len()
        );
    }
}

/// A picture on the terminal is far larger than a frame's pixel.
#[cfg(target_os = "linux")]
#[test]
fn small_pictures_are_drawn_one_at_a_time() {
    let folder = folder();
    let pixels = vec![0; 3000 * 3];
    let header = Header::image(3000, 1, 1, Metadata::new()).unwrap();
    fs::write(
        folder.path().join("a.st"),
        support::bytes(header, &[("image", &pixels)]),
    )
    .unwrap();
    // Each takes 200 KB and more: 600 MB in all.
    let line = r#"ulimit -v 200000; "$0" --preview=sixel a.st 2>&1 > /dev/null | wc -c"#;
    let output = shell(folder.path(), line);
    let count: u64 = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(count > 1_000_000, "{count}");
}

/// JSON says the same to who reads it, and nothing to a terminal.
#[test]
fn json_steers_no_terminal() {
    let folder = folder();
    let prompt = "a\u{7f}\u{9b}31m\u{202e}\u{200b}狐\u{e0041}";
    let frame = image(1, 1, &[("prompt", prompt)]);
    fs::write(folder.path().join("a.st"), frame).unwrap();
    fs::write(folder.path().join("b.st"), image(1, 1, &[])).unwrap();
    for args in [
        &["--json", "a.st"][..],
        &["--json", "a.st", "--compare", "b.st"],
        &["--progress", "json", "--quiet", "a.st"],
    ] {
        let output = run(folder.path(), args, b"");
        let text = stderr(&output);
        let steers =
            |c: char| c != '\n' && c.is_control() || "\u{202e}\u{200b}\u{e0041}".contains(c);
        assert!(!text.contains(steers), "{text:?}");
        if !args.contains(&"--quiet") {
            assert!(
                text.contains(r"a\u007f\u009b31m\u202e\u200b狐\udb40\udc41"),
                "{text}"
            );
        }
    }
    let output = run(folder.path(), &["--json", "a.st"], b"");
    assert_eq!(objects(&output)[0]["metadata"]["prompt"], prompt);
}
