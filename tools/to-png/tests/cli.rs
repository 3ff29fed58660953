//! The tool as a process: pictures, files, exit statuses.

#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::Path;

use support::{TOOL, expect, image, latents, pixels, run, shell, stderr};
use turbo_testkit::process::{names_in, pipe, tool};

/// Width, height and pixels of a PNG.
fn decode(bytes: &[u8]) -> (u32, u32, Vec<u8>) {
    let decoder = png::Decoder::new(Cursor::new(bytes));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    (info.width, info.height, pixels)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn one_frame_becomes_one_png_on_stdout() {
    let folder = folder();
    let output = run(folder.path(), &[], &image(1, 5, 3, &[]));
    expect(&output, 0, "");
    assert_eq!(decode(&output.stdout), (3, 5, pixels(45)));
    let again = run(folder.path(), &["-o", "-"], &image(1, 5, 3, &[]));
    assert_eq!(output.stdout, again.stdout);
}

#[test]
fn pictures_follow_one_another_on_stdout() {
    let folder = folder();
    let (a, b) = (image(1, 5, 3, &[]), image(1, 2, 4, &[]));
    let one = |frame: &[u8]| run(folder.path(), &[], frame).stdout;
    let both = run(folder.path(), &[], &[a.clone(), b.clone()].concat());
    expect(&both, 0, "");
    assert_eq!(both.stdout, [one(&a), one(&b)].concat());
    // The same from files, stdin in between.
    fs::write(folder.path().join("a.st"), &a).unwrap();
    let three = run(folder.path(), &["a.st", "-", "a.st"], &b);
    expect(&three, 0, "");
    assert_eq!(three.stdout, [one(&a), one(&b), one(&a)].concat());
}

#[test]
fn a_picture_is_passed_on_before_the_next_frame_comes() {
    let folder = folder();
    let frame = image(1, 5, 3, &[]);
    let expected = run(folder.path(), &[], &frame).stdout;
    let mut running = pipe([tool(TOOL, &[])]).held().start();
    let mut stdin = running.stdin.take().unwrap();
    let mut stdout = running.stdout.take().unwrap();
    for _ in 0..2 {
        stdin.write_all(&frame).unwrap();
        let mut png = vec![0; expected.len()];
        stdout.read_exact(&mut png).unwrap();
        assert_eq!(png, expected);
    }
    drop(stdin);
    running.wait().ok();
}

#[test]
fn files_are_numbered_from_one_and_replaced() {
    let folder = folder();
    fs::write(folder.path().join("out-0002.png"), "old").unwrap();
    let frames = [image(1, 5, 3, &[]), image(2, 2, 4, &[])].concat();
    let output = run(folder.path(), &["-o", "out-%04d.png"], &frames);
    expect(&output, 0, "");
    assert!(output.stdout.is_empty());
    assert_eq!(
        names_in(folder.path()),
        ["out-0001.png", "out-0002.png", "out-0003.png"]
    );
    let read = |name| decode(&fs::read(folder.path().join(name)).unwrap());
    let second = pixels(48);
    assert_eq!(read("out-0001.png"), (3, 5, pixels(45)));
    assert_eq!(read("out-0002.png"), (4, 2, second[..24].to_vec()));
    assert_eq!(read("out-0003.png"), (4, 2, second[24..].to_vec()));
}

#[test]
fn files_are_named_by_id_and_stay_in_their_folder() {
    let folder = folder();
    let frames = [
        image(2, 1, 1, &[("id", "fox")]),
        image(1, 1, 1, &[("id", "../../up")]),
        image(1, 1, 1, &[("id", ".x/\x1b\0\n")]),
    ]
    .concat();
    fs::create_dir(folder.path().join("in")).unwrap();
    expect(&run(folder.path(), &["-o", "in/{id}.png"], &frames), 0, "");
    assert_eq!(names_in(folder.path()), ["in"]);
    let mut names = ["fox.png", "fox-1.png", "___.._up.png", "_x____.png"];
    names.sort_unstable();
    assert_eq!(names_in(&folder.path().join("in")), names);
}

#[test]
fn a_name_used_twice_is_an_error_and_the_first_stays() {
    let folder = folder();
    let a = image(1, 1, 1, &[("id", "a/b")]);
    let b = image(1, 2, 2, &[("id", "a_b")]);
    let c = image(1, 1, 1, &[("id", "c")]);
    let frames = [a.clone(), b, c].concat();
    let output = run(folder.path(), &["-o", "{id}.png"], &frames);
    expect(&output, 1, "to-png: frame 1: a_b.png: expected a new name");
    assert_eq!(names_in(folder.path()), ["a_b.png"]);
    let png = fs::read(folder.path().join("a_b.png")).unwrap();
    assert_eq!(decode(&png).0, 1);

    let output = run(
        folder.path(),
        &["-o", "{id}.png", "--on-error", "skip"],
        &frames,
    );
    expect(&output, 1, "frame 1: a_b.png");
    assert_eq!(names_in(folder.path()), ["a_b.png", "c.png"]);
    // Names of an earlier run are no clash.
    expect(&run(folder.path(), &["-o", "{id}.png"], &a), 0, "");
}

#[test]
fn what_is_there_stays_and_what_is_not_is_written() {
    let folder = folder();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let batch = image(2, 2, 4, &[("id", "b")]);
    let frames = [image(1, 5, 3, &[("id", "a")]), batch.clone()].concat();
    fs::write(folder.path().join("a.png"), "old").unwrap();
    fs::write(folder.path().join("b-1.png"), "old").unwrap();
    let args = ["-o", "{id}.png", "--skip-existing"];
    expect(&run(folder.path(), &args, &frames), 0, "");
    assert_eq!(names_in(folder.path()), ["a.png", "b-1.png", "b.png"]);
    assert_eq!(
        (read("a.png"), read("b-1.png")),
        (b"old".into(), b"old".into())
    );
    assert_eq!(decode(&read("b.png")), (4, 2, pixels(48)[..24].to_vec()));
    // A frame that is passed over has to be whole all the same.
    let cut = &batch[..batch.len() - 1];
    expect(&run(folder.path(), &args, cut), 1, "frame 0, byte");
    // Without the flag they are replaced.
    expect(&run(folder.path(), &["-o", "{id}.png"], &frames), 0, "");
    assert_ne!(read("a.png"), b"old");
    // Two pictures of one name in a run are an error, whether or not the file is there.
    let output = run(folder.path(), &args, &batch.repeat(2));
    expect(&output, 1, "frame 1: b.png: expected a new name");
    // One file is a name too.
    fs::write(folder.path().join("one.png"), "old").unwrap();
    let args = ["-o", "one.png", "--skip-existing"];
    expect(&run(folder.path(), &args, &image(1, 1, 1, &[])), 0, "");
    assert_eq!(read("one.png"), b"old");
    // stdout has nothing that could be there.
    for args in [&["--skip-existing"][..], &["--skip-existing", "-o", "-"]] {
        expect(&run(folder.path(), args, b""), 2, "-o PATTERN");
    }
}

#[test]
fn numbers_are_those_that_the_stream_tells() {
    let folder = folder();
    let frames = [
        image(1, 1, 1, &[]),
        image(2, 1, 1, &[("picture_index", "6")]),
        image(1, 1, 1, &[]),
    ]
    .concat();
    expect(&run(folder.path(), &["-o", "%d.png"], &frames), 0, "");
    assert_eq!(
        names_in(folder.path()),
        ["1.png", "4.png", "7.png", "8.png"]
    );
    let twice = image(1, 1, 1, &[("picture_index", "3")]).repeat(2);
    let output = run(folder.path(), &["-o", "%d.png"], &twice);
    expect(&output, 1, "frame 1: 4.png: expected a new name");
    let wrong = image(1, 1, 1, &[("picture_index", "-1")]);
    let output = run(folder.path(), &["-o", "%d.png"], &wrong);
    let text = "frame 0: metadata: picture_index: expected a whole number from 0 to 2^64 - 1, found \"-1\"";
    expect(&output, 1, text);
}

#[test]
fn several_pictures_for_one_file_are_an_error_that_says_what_to_type() {
    let folder = folder();
    let frame = image(1, 1, 1, &[]);
    expect(&run(folder.path(), &["-o", "x.png"], &frame), 0, "");
    let output = run(folder.path(), &["-o", "y.png"], &frame.repeat(2));
    expect(&output, 1, "frame 1: --output y.png");
    expect(&output, 1, "-o y-%04d.png");
    let output = run(folder.path(), &["-o", "it's.png"], &image(2, 1, 1, &[]));
    expect(&output, 1, r"-o 'it'\''s-%04d.png'");
    let output = run(folder.path(), &["-o", "z.png"], &image(2, 1, 1, &[]));
    expect(&output, 1, "frame 0: --output z.png");
    // A batch is refused as a whole; of a stream, the first picture stays.
    assert_eq!(names_in(folder.path()), ["x.png", "y.png"]);
}

#[test]
fn a_wrong_pattern_is_wrong_usage() {
    let folder = folder();
    let output = run(folder.path(), &["-o", "%s.png"], b"");
    expect(&output, 2, "expected %d, %0Nd");
    let output = run(folder.path(), &["-o", "{id}.png"], &image(1, 1, 1, &[]));
    expect(&output, 1, "frame 0: id: expected one");
    let output = run(folder.path(), &["-o", "no/%d.png"], &image(1, 1, 1, &[]));
    expect(&output, 1, "mkdir -p no");
}

#[test]
fn whole_frames_before_a_cut_stay() {
    let folder = folder();
    let frame = image(1, 5, 3, &[]);
    for cut in 1..frame.len() {
        let stream = [frame.clone(), frame[..cut].to_vec()].concat();
        // Every place of the length and the JSON's begin, then some.
        if cut > 20 && cut % 23 != 0 && cut != frame.len() - 1 {
            continue;
        }
        let output = run(folder.path(), &[], &stream);
        expect(&output, 1, "to-png: frame 1, byte ");
        assert_eq!(decode(&output.stdout), (3, 5, pixels(45)), "{cut}");
    }
    let stream = [frame.clone(), frame[..99].to_vec()].concat();
    fs::write(folder.path().join("cut.st"), stream).unwrap();
    let output = run(folder.path(), &["-o", "%d.png", "cut.st"], b"");
    expect(&output, 1, "to-png: cut.st: frame 1, byte ");
    assert_eq!(names_in(folder.path()), ["1.png", "cut.st"]);
}

#[test]
fn other_frames_and_garbage_are_refused() {
    let folder = folder();
    let output = run(folder.path(), &["--on-error", "skip"], &latents());
    expect(&output, 1, "expected kind \"image\", found \"latents\"");
    expect(&output, 1, "decode-latents missing");
    let output = run(folder.path(), &[], b"\x89PNG\r\n\x1a\n and so on");
    expect(&output, 1, "PNG");
    expect(
        &run(folder.path(), &["none.st"], b""),
        1,
        "to-png: none.st: ",
    );
    expect(&run(folder.path(), &["."], b""), 1, "directory");
    expect(&run(folder.path(), &["--bad"], b""), 2, "--bad");
}

#[test]
fn a_picture_that_is_too_large_is_refused_by_its_header() {
    let folder = folder();
    let (large, small) = (image(1, 9, 4, &[]), image(1, 8, 8, &[]));
    // The body never comes: the header is enough.
    let output = run(
        folder.path(),
        &["--max-side", "8"],
        &large[..large.len() - 108],
    );
    expect(
        &output,
        1,
        "frame 0: image: expected at most 8 pixels a side, found 4 x 9",
    );
    let output = run(
        folder.path(),
        &["--max-side", "8", "--on-error", "skip", "-o", "%d.png"],
        &[large, small.clone()].concat(),
    );
    expect(&output, 1, "raise --max-side");
    // A picture's number is its place in the input, whatever became of those before it.
    assert_eq!(names_in(folder.path()), ["2.png"]);
    let output = run(folder.path(), &["--max-frame-bytes", "100"], &small);
    expect(&output, 1, "expected at most 100 bytes");
}

#[test]
fn a_full_device_is_an_error_by_name() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    let folder = folder();
    fs::write(folder.path().join("a.st"), image(1, 5, 3, &[])).unwrap();
    let output = shell(folder.path(), r#""$0" a.st -o /dev/full"#);
    expect(&output, 1, "/dev/full: No space left");
}

#[test]
fn a_thousand_frames_take_no_more_memory_than_a_few() {
    let folder = folder();
    // 48 KiB each: 48 MiB in all, if they were kept.
    let stream = image(1, 128, 128, &[("id", "x")]).repeat(1000);
    let output = run(folder.path(), &["--progress", "json"], &stream);
    assert_eq!(output.status.code(), Some(0));
    let ends = output.stdout.windows(4).filter(|w| w == b"IEND").count();
    assert_eq!(ends, 1000);
    let text = stderr(&output);
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 1000);
    assert_eq!(
        (&events[999]["frame"], &events[999]["id"]),
        (&999.into(), &"x".into())
    );
    let rss = |n: usize| events[n]["max_rss_bytes"].as_u64();
    if let (Some(early), Some(late)) = (rss(20), rss(999)) {
        assert!(late < early + (4 << 20), "{early} bytes, then {late}");
    }
}

/// A header that announces so many pictures of a pixel, and as many metadata keys of its own; and no body.
fn announcement(rows: usize, keys: usize) -> Vec<u8> {
    let names: Vec<String> = (0..keys).map(|key| format!("k{key}")).collect();
    let mut pairs: Vec<(&str, &str)> = names.iter().map(|name| (&name[..], "")).collect();
    pairs.push(("id", "fox"));
    let header = turbo_wire::Header::image(rows, 1, 1, support::metadata(&pairs)).unwrap();
    header.encoded().to_vec()
}

/// Memory and time grow with what has come, not with what is announced.
#[cfg(target_os = "linux")]
#[test]
fn rows_that_are_announced_cost_nothing() {
    let folder = folder();
    let file = folder.path().join("a.st");
    for name in ["fox.png", "fox-1.png", "1.png", "2.png"] {
        fs::write(folder.path().join(name), "old").unwrap();
    }
    for (rows, keys) in [(20_000_000, 0), (357_913_000, 0), (1_000_000, 70_000)] {
        let header = announcement(rows, keys);
        fs::write(&file, &header).unwrap();
        for args in [
            "",
            "--no-metadata",
            "--grid 4",
            "-o %d.png",
            "-o {id}.png",
            "-o {id}.png --on-error skip",
            "-o %d.png --skip-existing",
            "-o {id}.png --skip-existing --on-error skip",
        ] {
            let line = format!(
                r#"ulimit -v 200000; ulimit -t 10; exec "$0" --max-header-bytes 2MiB {args} a.st"#
            );
            let output = shell(folder.path(), &line);
            let text = format!(
                "to-png: a.st: frame 0, byte {}: the input ends",
                header.len()
            );
            expect(&output, 1, &text);
            assert_eq!(stderr(&output).lines().count(), 1, "{args}");
            assert!(output.stdout.is_empty());
        }
    }
    assert_eq!(names_in(folder.path()).len(), 5);
}

#[test]
fn a_frame_without_ids_fails_once() {
    let folder = folder();
    let output = run(
        folder.path(),
        &["-o", "{id}.png", "--on-error", "skip"],
        &image(1000, 1, 1, &[]),
    );
    expect(&output, 1, "frame 0: id: expected one");
    assert_eq!(stderr(&output).lines().count(), 1);
    let last = u64::MAX.to_string();
    let output = run(
        folder.path(),
        &["-o", "%d.png"],
        &image(2, 1, 1, &[("picture_index", &last)]),
    );
    expect(
        &output,
        1,
        "picture_index: expected a number that leaves room for 2 pictures",
    );
}

/// As names that differ by case or Unicode form are on some file systems, and here by a link.
#[cfg(unix)]
#[test]
fn names_that_are_one_file_are_a_clash() {
    let folder = folder();
    let frames = [
        image(1, 1, 1, &[("id", "fox")]),
        image(1, 2, 2, &[("id", "FOX")]),
        image(1, 1, 1, &[("id", "owl")]),
    ]
    .concat();
    std::os::unix::fs::symlink("fox.png", folder.path().join("FOX.png")).unwrap();
    for more in [&[][..], &["--skip-existing"]] {
        let args = [&["-o", "{id}.png", "--on-error", "skip"], more].concat();
        let output = run(folder.path(), &args, &frames);
        if more.is_empty() {
            expect(&output, 1, "frame 1: FOX.png: expected a new file");
        }
        let png = fs::read(folder.path().join("fox.png")).unwrap();
        assert_eq!(decode(&png).0, 1);
        assert!(folder.path().join("owl.png").exists());
        fs::remove_file(folder.path().join("owl.png")).unwrap();
    }
    fs::remove_file(folder.path().join("fox.png")).unwrap();
    let args = ["-o", "{id}.png", "--skip-existing"];
    expect(
        &run(folder.path(), &args, &frames),
        1,
        "FOX.png: expected a new file",
    );
    // What an earlier run wrote is no clash.
    let again = image(1, 2, 2, &[("id", "FOX")]);
    expect(&run(folder.path(), &["-o", "{id}.png"], &again), 0, "");
}
