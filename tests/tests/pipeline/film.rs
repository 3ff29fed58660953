//! Streams of pictures: ffmpeg at both ends of the pipe.

use pipeline_tests::{Stage, installed, pipe, progress, tool};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A prompt's embeddings in a file, by the demo.
fn prompt(folder: &TempDir) -> std::path::PathBuf {
    let path = folder.path().join("prompt.safetensors");
    let encode = tool("encode-text", "")
        .model(Path::new("demo"))
        .arg("a red apple");
    fs::write(&path, pipe([encode]).run().ok()).expect("written");
    path
}

fn ffmpeg(words: &str) -> Stage {
    Stage::program("ffmpeg", "ffmpeg")
        .words("-loglevel error -nostdin -y")
        .words(words)
}

fn skipped() -> bool {
    let missing = ["ffmpeg", "ffprobe"]
        .into_iter()
        .find(|name| !installed(name));
    if let Some(name) = missing {
        eprintln!("skipped: {name} is not installed (Debian's package ffmpeg has it)");
    }
    missing.is_some()
}

const FRAMES: usize = 24;

/// A clip of a real codec in, a clip of as many pictures out.
#[test]
fn a_film_goes_through_the_pipe() {
    if skipped() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (clip, out) = (folder.path().join("in.mp4"), folder.path().join("out.mp4"));
    let make = ffmpeg(&format!(
        "-f lavfi -i testsrc=size=320x240:rate=8 -frames:v {FRAMES}"
    ));
    pipe([make.arg(&clip)]).run().ok();
    let stages = [
        ffmpeg("-i")
            .arg(&clip)
            .words("-vf scale=64:64 -f image2pipe -c:v png -"),
        tool("encode-image", "--join").arg(prompt(&folder)).arg("-"),
        tool("denoise", "--steps 2 --strength 0.5 --seed 7 --seed-step 0"),
        tool("decode-latents", ""),
        tool("to-png", ""),
        ffmpeg("-f image2pipe -i -").arg(&out),
    ];
    pipe(stages).limit(600).run().ok();
    let count =
        "-v error -count_frames -show_entries stream=nb_read_frames,width,height -of csv=p=0";
    let probe = Stage::program("ffprobe", "ffprobe").words(count).arg(&out);
    let found = pipe([probe]).run();
    let found = String::from_utf8(found.ok().to_vec()).expect("UTF-8");
    assert_eq!(found.trim(), format!("64,64,{FRAMES}"));
}

/// Bare pixels, Motion JPEG and PPM from ffmpeg are the pictures that PNG brings, as near as the codec keeps them.
#[test]
fn whatever_ffmpeg_pipes_is_read() {
    if skipped() {
        return;
    }
    let source = |words: &str| {
        ffmpeg("-f lavfi -i testsrc=size=64x48:rate=8 -frames:v 5")
            .words(words)
            .arg("-")
    };
    let encode = |words: &str| {
        tool("encode-image", words)
            .words("--dtype f32")
            .model(Path::new("demo"))
            .arg("-")
    };
    let run = |from: &str, flags: &str| pipe([source(from), encode(flags)]).run().ok().to_vec();
    let png = run("-f image2pipe -c:v png", "");
    assert_eq!(pipeline_tests::frames(&png).len(), 5);
    assert!(png == run("-f image2pipe -c:v ppm", ""), "PPM");
    assert!(
        png == run("-f rawvideo -pix_fmt rgb24", "--raw 64x48"),
        "bare pixels"
    );
    // What image2pipe writes when nobody names a codec.
    let jpeg = run("-f image2pipe", "");
    assert_eq!(pipeline_tests::frames(&jpeg).len(), 5);
}

/// Of a thousand pictures one is in memory at a time.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_film() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = [&b"P6 64 64 255\n"[..], &[90; 64 * 64 * 3]].concat();
    let encode = tool("encode-image", "--progress json --join")
        .arg(prompt(&folder))
        .arg("-");
    let nowhere = fs::File::options()
        .write(true)
        .open("/dev/null")
        .expect("Linux has it");
    let ended = pipe([encode])
        .repeated_input(picture, 1000)
        .output(nowhere)
        .limit(600)
        .run();
    ended.ok();
    let events = progress(&ended.stages[0].stderr);
    assert_eq!(events.len(), 1000);
    let memory = |frame: usize| events[frame]["max_rss_bytes"].as_u64().expect("a number");
    let (early, late) = (memory(20), memory(999));
    println!("after 20 pictures {early} bytes, after 1000 {late}");
    assert!(late < early + (4 << 20), "{early} bytes became {late}");
    // The model is opened once.
    let opened = events
        .iter()
        .filter(|event| event["open_s"].as_f64() > Some(0.0));
    assert_eq!(opened.count(), 1);
}
