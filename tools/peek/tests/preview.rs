//! `--preview`: what terminals and files are given, decoded by Python and compared with numpy's pictures.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::process::Output;

use support::{TOOL, image, latents, metadata, objects, run, stderr};
use turbo_testkit::process::{bytes, feed, names_in, on_terminal, python, tool};
use turbo_wire::{Header, f32_bytes, names};

const DECODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/preview.py");

/// Latents that are smooth, with values beyond what is shown at both ends.
fn smooth(batch: usize, height: usize, width: usize) -> Vec<u8> {
    let value = |i: usize| {
        let (x, y, c) = (i % width, i / width % height, i / width / height);
        ((x as f32 * 0.9).sin() + (y as f32 * 0.7).cos()) * 2.2 - (c % 5) as f32 * 0.3
    };
    let values: Vec<f32> = (0..batch * 4 * height * width).map(value).collect();
    let header = Header::latents(batch, height, width, metadata(&[("id", "fox")])).unwrap();
    bytes(header, &[(names::LATENTS, &f32_bytes(&values))])
}

/// An image with ramps, and an area of one colour.
fn ramps(height: usize, width: usize) -> Vec<u8> {
    let pixel = |i: usize| {
        let (x, y) = (i % width, i / width);
        if x > width / 2 && y > height / 2 {
            [10, 200, 90]
        } else {
            [(x * 255 / width) as u8, (y * 255 / height) as u8, 128]
        }
    };
    let pixels: Vec<u8> = (0..height * width).flat_map(pixel).collect();
    let header = Header::image(1, height, width, metadata(&[])).unwrap();
    bytes(header, &[(names::IMAGE, &pixels)])
}

/// Runs peek on a stream, checks that the frames passed, and lets Python judge what was shown.
fn judged(stream: &[u8], protocol: &str, how: &str, environment: &[(&str, &str)]) {
    let Some(python) = python("numpy, safetensors.numpy, PIL") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stream"), stream).unwrap();
    let stage = tool(TOOL, &[how, "stream"]).folder(folder.path());
    let stage = environment
        .iter()
        .fold(stage, |stage, (key, value)| stage.env(key, value));
    let output = feed(stage, b"");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        output.stdout == stream,
        "{protocol}: frames pass as they are"
    );
    fs::write(folder.path().join("shown"), &output.stderr).unwrap();
    let shown = if protocol == "files" {
        "x-%.png"
    } else {
        "shown"
    };
    let judge = python.args([DECODE, "stream", shown, protocol]);
    let verdict = feed(judge.folder(folder.path()), b"");
    assert!(verdict.status.success(), "{protocol}: {}", stderr(&verdict));
}

fn small() -> Vec<u8> {
    [smooth(2, 16, 12), ramps(20, 30), ramps(33, 21)].concat()
}

#[test]
fn files_hold_the_pictures() {
    judged(&small(), "files", "--preview=x-%d.png", &[]);
}

#[test]
fn graphics_protocols_show_the_pictures() {
    // One of them needs several pieces of base64.
    let stream = [small(), ramps(300, 500)].concat();
    for protocol in ["kitty", "iterm2", "sixel"] {
        judged(&stream, protocol, &format!("--preview={protocol}"), &[]);
    }
}

#[test]
fn half_blocks_show_the_pictures_as_large_as_the_terminal() {
    let stream = [small(), ramps(64, 300), ramps(500, 30)].concat();
    judged(
        &stream,
        "blocks",
        "--preview=blocks",
        &[("COLORTERM", "truecolor")],
    );
}

#[test]
fn indexed_colours_where_there_are_no_others() {
    let stream = ramps(4, 4);
    let stage = tool(TOOL, &["--preview=blocks", "-"])
        .env_remove("COLORTERM")
        .env_remove("WT_SESSION")
        .env("TERM", "xterm-256color");
    let output = feed(stage, &stream);
    let text = stderr(&output);
    // The area of one colour, 10 200 90: xterm's 35 is 0 175 95, and 41 is 0 215 95, which is nearer.
    assert!(text.contains("48;5;41m") && !text.contains(";2;"), "{text}");
}

#[test]
fn files_have_numbers_or_ids_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let stream = [smooth(2, 3, 4), smooth(1, 5, 5)].concat();
    // stderr is no terminal here, so pictures go to files.
    let output = run(folder.path(), &["--preview"], &stream);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let numbered = ["preview-0001.png", "preview-0002.png", "preview-0003.png"];
    assert_eq!(names_in(folder.path()), numbered);
    for name in numbered {
        assert!(stderr(&output).contains(&format!("  written to {name}\n")));
    }
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        folder.path(),
        &["--json", "--preview={id}.png"],
        &smooth(2, 3, 4),
    );
    assert_eq!(names_in(folder.path()), ["fox-1.png", "fox.png"]);
    assert_eq!(
        objects(&output)[0]["files"],
        serde_json::json!(["fox.png", "fox-1.png"])
    );
    // Without a number each replaces the one before.
    let one = run(folder.path(), &["--preview=fox.png"], &ramps(7, 9));
    assert_eq!(one.status.code(), Some(0));
    let again = run(
        folder.path(),
        &["--preview=many.png"],
        &[smooth(2, 3, 4), ramps(7, 9)].concat(),
    );
    assert_eq!(again.status.code(), Some(0));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(read("fox.png") == read("many.png"));
}

#[test]
fn a_tensor_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let frame = smooth(1, 3, 4);
    let shown = |args: &[&str]| run(folder.path(), args, &frame);
    let files = |output: &Output| objects(output)[0]["files"].clone();
    let chosen = shown(&["--json", "--preview", "--preview-tensor", "latents"]);
    assert_eq!(files(&chosen), serde_json::json!(["preview-0001.png"]));
    let none = shown(&["--json", "--preview", "--preview-tensor", "noise_pred"]);
    assert_eq!(none.status.code(), Some(0));
    assert!(files(&none).is_null());
    let alone = shown(&["--preview-tensor", "latents"]);
    assert_eq!(alone.status.code(), Some(2));
}

/// The frames matter more than pictures of them.
#[test]
fn a_picture_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stream = [latents(&[0.5; 16], &[]), image(3, 5, &[("id", "a")])].concat();
    for how in ["--preview=none/%d.png", "--preview={id}.png"] {
        let output = run(folder.path(), &[how], &stream);
        assert_eq!(output.status.code(), Some(1), "{how}");
        assert!(output.stdout == stream, "{how}");
        assert!(
            stderr(&output).contains("--preview: "),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(names_in(folder.path()), ["a.png"]);
    for bad in ["--preview=x-%s.png", "--preview=x.gif"] {
        let output = run(folder.path(), &[bad], &stream);
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
    // Without =, what follows is a file to read.
    let output = run(folder.path(), &["--preview", "a.png"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("a PNG picture"),
        "{}",
        stderr(&output)
    );
}

/// On a terminal of its own, by its variables.
#[test]
fn a_terminal_gets_what_it_can() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("l.st"), smooth(1, 16, 16)).unwrap();
    let Some(stage) = on_terminal(&format!("{TOOL} --preview l.st")) else {
        return;
    };
    let text = |pairs: &[(&str, &str)]| {
        let mut stage = stage.clone().folder(folder.path());
        for name in [
            "TMUX",
            "STY",
            "ZELLIJ",
            "KITTY_WINDOW_ID",
            "KONSOLE_VERSION",
            "GHOSTTY_RESOURCES_DIR",
            "TERM_PROGRAM",
            "LC_TERMINAL",
            "COLORTERM",
            "WT_SESSION",
        ] {
            stage = stage.env_remove(name);
        }
        for (name, value) in pairs {
            stage = stage.env(name, value);
        }
        String::from_utf8_lossy(&feed(stage, b"").stdout).into_owned()
    };
    assert!(text(&[("TERM", "xterm-kitty")]).contains("\x1b_Ga=T,f=100"));
    assert!(
        text(&[("TERM", "xterm"), ("TERM_PROGRAM", "iTerm.app")])
            .contains("\x1b]1337;File=inline=1")
    );
    assert!(text(&[("TERM", "foot")]).contains("\x1bP0;1;0q"));
    let truecolor = text(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]);
    assert!(truecolor.contains("\x1b[38;2;"), "{truecolor}");
    assert!(names_in(folder.path()) == ["l.st"]);
    let dumb = text(&[("TERM", "dumb")]);
    assert!(
        dumb.contains("written to preview-0001.png") && !dumb.contains('\x1b'),
        "{dumb}"
    );
}
