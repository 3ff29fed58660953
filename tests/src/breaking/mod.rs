//! Breaks whole pipes at random, and looks at every picture that came out all the same.
//!
//! A round draws some pictures by `encode-text | denoise | decode-latents | to-png`, and something happens to it: a
//! signal, a reader that goes away, a full device, a limit on files, a slow partner, weights that are replaced, a second
//! run on the same cache. Whatever it is, a picture that is there is whole and the right one to the byte; nothing hangs,
//! panics or leaves a temporary file; and where nothing happened, all is there.

mod processes;

use processes::{End, Line, Output, RECORDS};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use turbo_testkit::tiny_lettered;

/// What happens to a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Nothing,
    /// A stage gets a signal.
    Signal(i32),
    /// The reader of the pictures takes some bytes and goes.
    GoneReader,
    /// The pictures go to a full device.
    FullDevice,
    /// Files may not grow beyond this many bytes.
    SmallFiles,
    /// Bytes trickle from one stage to the next.
    SlowPartner,
    /// A file of weights is replaced by an equal one.
    Replaced,
    /// The same runs twice at once on one cache.
    Twice,
}

const SIGNALS: [i32; 6] = [1, 2, 3, 9, 13, 15];

/// Random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % bound
    }
}

/// What the rounds have in common.
pub struct Breaker {
    folder: TempDir,
    /// For each model, the picture of each record.
    pictures: Vec<(Model, BTreeMap<String, Vec<u8>>)>,
}

#[derive(Clone, Debug)]
struct Model {
    name: String,
    /// Its files, where it has some.
    folder: Option<PathBuf>,
}

impl Breaker {
    /// Draws all pictures undisturbed.
    ///
    /// # Panics
    /// If that fails.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // A copy, as its files are to be replaced.
        let tiny = folder.path().join("tiny");
        copy(&tiny_lettered(), &tiny);
        let models = [
            Model {
                name: "demo".to_owned(),
                folder: None,
            },
            Model {
                name: tiny.display().to_string(),
                folder: Some(tiny),
            },
        ];
        let pictures = models.map(|model| {
            let out = folder.path().join("undisturbed");
            fs::create_dir_all(&out).expect("made");
            let line = Line::new(&model.name, &[0, 1, 2, 3, 4, 5], Output::Files(out.clone()));
            let ends = line.start().wait();
            assert!(ends.iter().all(|end| end.status.success()), "{ends:?}");
            let pictures = whole_files(&out);
            assert_eq!(pictures.len(), RECORDS.len());
            fs::remove_dir_all(&out).expect("removed");
            (model, pictures)
        });
        Self {
            folder,
            pictures: pictures.into(),
        }
    }

    /// One round. Equal seeds choose equally; when something happens is a matter of the machine.
    ///
    /// # Errors
    /// What went wrong, with all that was said.
    pub fn round(&self, seed: u64) -> Result<(), String> {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let (model, expected) = &self.pictures[random.below(self.pictures.len())];
        let event = match random.below(12) {
            0 => Event::Nothing,
            1..=4 => Event::Signal(SIGNALS[random.below(SIGNALS.len())]),
            5 => Event::GoneReader,
            6 => Event::FullDevice,
            7 => Event::SmallFiles,
            8 => Event::SlowPartner,
            9 if model.folder.is_some() => Event::Replaced,
            _ => Event::Twice,
        };
        let count = 1 + random.below(RECORDS.len());
        let mut chosen: Vec<usize> = (0..RECORDS.len()).collect();
        for place in 0..count {
            let other = place + random.below(RECORDS.len() - place);
            chosen.swap(place, other);
        }
        chosen.truncate(count);

        let out = self.folder.path().join(format!("out-{seed}"));
        fs::create_dir_all(&out).map_err(|error| error.to_string())?;
        let stream = event == Event::GoneReader || random.below(3) == 0;
        let output = match event {
            Event::FullDevice => Output::Full,
            Event::GoneReader => Output::Stream(Some(random.below(20_000))),
            _ if stream => Output::Stream(None),
            _ => Output::Files(out.clone()),
        };
        let mut line = Line::new(&model.name, &chosen, output);
        line.skip = random.below(2) == 0;
        if random.below(2) == 0 || event == Event::Twice {
            let place = model.folder.as_ref().map_or("cache-demo", |_| "cache-tiny");
            line.cache = Some(self.folder.path().join(place));
        }
        line.slow = (event == Event::SlowPartner).then(|| random.below(3));
        line.small_files = event == Event::SmallFiles;

        let second = (event == Event::Twice).then(|| line.start());
        let running = line.start();
        std::thread::sleep(Duration::from_millis(random.below(250) as u64));
        match event {
            Event::Signal(signal) => running.signal(random.below(4), signal),
            Event::Replaced => replace(model, &mut random),
            _ => {}
        }
        let mut ends = running.wait();
        let found = ends.last_mut().map(|end| std::mem::take(&mut end.stdout));
        let mut failures = judge(event, &line, &ends);
        if let Some(second) = second {
            let mut ends = second.wait();
            failures.extend(judge(event, &line, &ends));
            let again = ends.last_mut().map(|end| std::mem::take(&mut end.stdout));
            if again != found {
                failures.push("the second run gives other pictures".to_owned());
            }
        }
        failures.extend(look(
            event,
            &line,
            expected,
            &out,
            &found.unwrap_or_default(),
        ));
        let _ = fs::remove_dir_all(&out);
        if failures.is_empty() {
            return Ok(());
        }
        Err(format!(
            "round {seed}: {event:?}, {line:?}\n{}\n{ends:#?}",
            failures.join("\n")
        ))
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

/// What is wrong with how the stages ended.
fn judge(event: Event, line: &Line, ends: &[End]) -> Vec<String> {
    let mut failures = Vec::new();
    for end in ends {
        let name = end.name;
        if end.hung {
            failures.push(format!("{name}: had to be killed"));
        }
        if end.stderr.contains("panicked") || end.stderr.contains("a bug in") {
            failures.push(format!("{name}: a panic"));
        }
        let allowed = match (end.status.code(), end.signal()) {
            (Some(0), _) => true,
            _ if event == Event::Nothing => false,
            (Some(1 | 130 | 141), _) => true,
            (None, Some(signal)) => event == Event::Signal(signal),
            _ => false,
        };
        if !allowed {
            failures.push(format!("{name}: {}", end.status));
        }
        if end.status.code() == Some(1) && end.stderr.is_empty() {
            failures.push(format!("{name}: failed without a word"));
        }
    }
    let undisturbed = [
        Event::Nothing,
        Event::SlowPartner,
        Event::Twice,
        Event::Replaced,
    ];
    if undisturbed.contains(&event) && !ends.iter().all(|end| end.status.success()) {
        // With a cache, a checkpoint that is replaced under way is an error.
        if event != Event::Replaced || line.cache.is_none() {
            failures.push("a failure, where nothing had happened".to_owned());
        }
    }
    if event == Event::FullDevice && ends.iter().all(|end| end.status.success()) {
        failures.push("no failure, where nothing could be written".to_owned());
    }
    failures
}

/// What is wrong with the pictures.
fn look(
    event: Event,
    line: &Line,
    expected: &BTreeMap<String, Vec<u8>>,
    out: &Path,
    stream: &[u8],
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut count = 0;
    for (name, bytes) in whole_files(out) {
        if name.starts_with('.') {
            if event != Event::Signal(9) {
                failures.push(format!("{name}: left behind"));
            }
        } else if expected
            .get(&name)
            .is_none_or(|expected| *expected != bytes)
        {
            failures.push(format!("{name}: another picture"));
        } else {
            count += 1;
        }
    }
    // In the order of the records; some may be left out, the last may be cut.
    let mut rest = stream;
    let mut records = line.records.iter().map(|&record| RECORDS[record].0);
    while !rest.is_empty() {
        let Some(id) = records.next() else {
            failures.push("stdout: more than the pictures".to_owned());
            break;
        };
        let picture = &expected[&format!("{id}.png")];
        if let Some(after) = rest.strip_prefix(&picture[..]) {
            rest = after;
            count += 1;
        } else if picture.starts_with(rest) {
            if event == Event::Nothing {
                failures.push("stdout: a cut picture".to_owned());
            }
            break;
        }
    }
    let complete = [Event::Nothing, Event::SlowPartner, Event::Twice];
    if complete.contains(&event) && count != line.records.len() {
        failures.push(format!("{count} pictures of {}", line.records.len()));
    }
    failures
}

/// Puts an equal file in the place of one of the model's.
fn replace(model: &Model, random: &mut Random) {
    let files = [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ];
    if let Some(folder) = &model.folder {
        let path = folder.join(files[random.below(files.len())]);
        let new = path.with_extension("new");
        let copied = fs::copy(&path, &new).and_then(|_| fs::rename(&new, &path));
        copied.expect("replaced");
    }
}

fn whole_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let bytes = fs::read(entry.path()).expect("is there");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}
