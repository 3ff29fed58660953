//! Runs that are started again.

use pipeline_tests::{Stage, pictures, pipe, progress, tool};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use turbo_testkit::tiny_lettered;

/// The whole pipe over these lines, with pictures by `pattern` in `folder`.
struct Run {
    folder: PathBuf,
    pattern: &'static str,
    encode: &'static str,
    denoise: &'static str,
    input: String,
}

impl Run {
    fn stages(&self) -> [Stage; 4] {
        let pattern = self.folder.join(self.pattern);
        let denoise = format!("--width 64 --height 64 {}", self.denoise);
        [
            tool("encode-text", self.encode)
                .model(&tiny_lettered())
                .words("--progress json --skip-existing")
                .arg(&pattern),
            tool("denoise", &denoise),
            tool("decode-latents", ""),
            tool("to-png", "--skip-existing -o").arg(&pattern),
        ]
    }

    /// Runs it to its end, and gives the number of records that were done.
    fn finish(&self) -> usize {
        let ended = pipe(self.stages()).input(self.input.as_str()).run();
        ended.ok();
        progress(&ended.stages[0].stderr).len()
    }

    /// Everything in the folder, temporary files too.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.folder)
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            (name, fs::read(entry.path()).expect("is there"))
        })
        .collect()
}

/// Numbers that look random and are the same each time: xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

fn records(count: usize) -> String {
    (0..count)
        .map(|k| {
            let mut record = json!({"prompt": format!("fox {k}"), "id": format!("r/{k}")});
            if k % 3 == 0 {
                record["seed"] = json!(1000 + k);
            }
            record.to_string()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn prompts(count: usize) -> String {
    let prompts: Vec<String> = (0..count).map(|k| format!("fox {k}")).collect();
    prompts.join("\n")
}

/// Whether a file of this name is a picture, and not on its way to be one.
fn is_picture(name: &str) -> bool {
    !name.starts_with('.')
}

/// Kills some or all of the processes again and again, each time at another moment, until nothing is missing; then
/// compares with a run that nobody disturbed. `images` is the number of pictures of a record.
fn killed_at_random(seed: u64, images: usize, new: impl Fn(PathBuf) -> Run) {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = new(folder.path().join("whole"));
    let pieces = new(folder.path().join("pieces"));
    for run in [&whole, &pieces] {
        fs::create_dir(&run.folder).expect("made");
    }
    let records = whole.finish();
    let expected = whole.files();
    assert_eq!(expected.len(), records * images);
    let pictures = || {
        let names = fs::read_dir(&pieces.folder).expect("a folder");
        let names = names.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| name.to_str().is_some_and(is_picture))
            .count()
    };
    let mut random = Random(seed);
    let mut leftovers = 0;
    for round in 0..8 {
        let before = pieces.files();
        let running = pipe(pieces.stages()).input(pieces.input.as_str()).start();
        // Some pictures later, and a while: the time alone would tell nothing on a machine of another speed.
        let enough = (pictures() + random.below(4) as usize).min(expected.len());
        while pictures() < enough {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(random.below(40)));
        // One process, several, or all of them.
        let victims = 1 + random.below(15);
        for stage in (0..4).filter(|stage| victims >> stage & 1 == 1) {
            running.kill(stage);
        }
        running.wait();
        let after = pieces.files();
        for (name, bytes) in &before {
            let kept = after.get(name) == Some(bytes);
            assert!(kept || !is_picture(name), "round {round}: {name} is gone");
        }
        for (name, bytes) in after.iter().filter(|(name, _)| is_picture(name)) {
            let same = expected.get(name) == Some(bytes);
            assert!(same, "round {round}: {name} differs");
        }
        leftovers += after.len() - pictures();
    }
    let left = expected.len() - pictures();
    println!("{left} pictures left to do, {leftovers} temporary files seen");
    assert!(left > 0, "the kills came too late to tell anything");
    // Only records of which a picture is missing are done again.
    let done = pieces.finish();
    assert!(
        done >= left.div_ceil(images) && done <= left,
        "{done} records done for {left} pictures"
    );
    assert!(pieces.files() == expected, "{:?}", pieces.files().keys());
    assert_eq!(pieces.finish(), 0);
}

#[test]
fn a_run_by_ids_that_is_killed_at_random_ends_with_the_same_files() {
    killed_at_random(0x5eed, 1, |folder| Run {
        folder,
        pattern: "{id}.png",
        encode: "--jsonl",
        denoise: "--seed 7",
        input: records(60),
    });
}

#[test]
fn a_run_by_numbers_that_is_killed_at_random_ends_with_the_same_files() {
    killed_at_random(0xf0c5, 2, |folder| Run {
        folder,
        pattern: "out-%04d.png",
        encode: "--images 2",
        denoise: "--seed 7",
        input: prompts(30),
    });
}

/// Whatever is missing, it is done, and nothing else is: numbers, seeds and names are those of the run in one go.
#[test]
fn just_what_is_missing_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = |pattern, encode, denoise, input: String| Run {
        folder: folder.path().to_owned(),
        pattern,
        encode,
        denoise,
        input,
    };
    let plain = prompts(6);
    let runs = [
        new("{id}.png", "--jsonl", "--seed 3", records(6)),
        new("%d.png", "", "--seed 3", plain.clone()),
        new(
            "%02d.png",
            "--images 3",
            "--seed 3 --images 3",
            plain.clone(),
        ),
        new("{id}-%d.png", "--jsonl --images 2", "--seed 3", records(6)),
    ];
    for run in runs {
        run.finish();
        let expected = run.files();
        let names: Vec<&String> = expected.keys().collect();
        let modified = |name: &str| {
            let metadata = fs::metadata(run.folder.join(name)).expect("is there");
            metadata.modified().expect("a time")
        };
        for missing in [&names[..1], &names[2..4], &names[names.len() - 1..], &names] {
            for name in missing {
                fs::remove_file(run.folder.join(name)).expect("removed");
            }
            let kept: Vec<_> = names
                .iter()
                .filter(|name| !missing.contains(name))
                .collect();
            let before: Vec<_> = kept.iter().map(|name| modified(name)).collect();
            // As a run that was killed leaves it.
            fs::write(run.folder.join(".turbo-x1.part"), "x").expect("written");
            let done = run.finish();
            assert!(done > 0 && done <= missing.len());
            assert!(run.files() == expected, "{}: {missing:?}", run.pattern);
            let after: Vec<_> = kept.iter().map(|name| modified(name)).collect();
            assert_eq!(before, after, "{}: {missing:?}", run.pattern);
        }
        // With nothing missing no model is needed.
        fs::write(run.folder.join(".turbo-x2.part"), "x").expect("written");
        let mut stages = run.stages();
        stages[0] = tool("encode-text", run.encode)
            .words("--model /nonexistent/model --skip-existing")
            .arg(run.folder.join(run.pattern));
        pipe(stages).input(run.input.as_str()).run().ok();
        assert!(run.files() == expected, "{}", run.pattern);
        for name in names {
            fs::remove_file(run.folder.join(name)).expect("removed");
        }
    }
}

/// Records that fail keep their places too.
#[test]
fn records_that_fail_do_not_move_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = Run {
        folder: folder.path().to_owned(),
        pattern: "%d.png",
        encode: "--jsonl --on-error skip",
        denoise: "--seed 50 --on-error skip",
        // The second line is no record, and the third has more steps than there are.
        input: [
            json!({"prompt": "a"}).to_string(),
            "{".to_owned(),
            json!({"prompt": "b", "steps": 100_000}).to_string(),
            json!({"prompt": "c"}).to_string(),
        ]
        .join("\n"),
    };
    let finish = || {
        let ended = pipe(run.stages()).input(run.input.as_str()).run();
        let statuses = ended.stages.iter().map(|stage| stage.status.code());
        assert_eq!(
            statuses.collect::<Vec<_>>(),
            [Some(1), Some(1), Some(0), Some(0)]
        );
    };
    finish();
    let expected = run.files();
    let seed = |name: &str| {
        let text = pictures(&expected[name])[0].text["sdxl-turbo"].clone();
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all["seed"].as_str().expect("a seed").to_owned()
    };
    let names: Vec<&String> = expected.keys().collect();
    assert_eq!(names.len(), 2);
    assert_eq!([seed("1.png"), seed(names[1])], ["50", "53"]);
    fs::remove_file(run.folder.join(names[1])).expect("removed");
    finish();
    assert!(run.files() == expected);
}

#[test]
fn names_that_stand_for_two_records_or_none_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let encode = |pattern: &str, input: &str| {
        let stage = tool("encode-text", "--jsonl").model(&tiny_lettered());
        let pattern = folder.path().join(pattern);
        let stage = stage.arg("--skip-existing").arg(pattern);
        pipe([stage]).input(input).run()
    };
    fs::write(folder.path().join("x_y.png"), "").expect("written");
    // The second would be taken for done.
    let clash = r#"{"prompt": "a", "id": "x/y"}
        {"prompt": "b", "id": "x_y"}"#;
    let ended = encode("{id}.png", clash);
    ended.expect(1, &["frame 1: ", "x_y.png: expected a new name"]);
    let ended = encode("{id}.png", r#"{"prompt": "a"}"#);
    ended.expect(1, &["frame 0: id: expected one", "%04d"]);
    let ended = encode("%s.png", "");
    ended.expect(2, &["--skip-existing", "expected %d"]);
}
