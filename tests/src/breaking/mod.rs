//! Breaks whole pipes at random, and looks at every picture that came out all the same.
//!
//! A round draws some pictures by `encode-text | denoise | decode-latents | to-png`, and something happens to it: an
//! [`Event`]. Whatever it is, a picture that is there is whole and the right one to the byte; nothing hangs, panics or
//! leaves a temporary file; whoever fails says why; and where nothing happened, all is there.
//!
//! - `event.rs`: what may happen, and what may come of it.
//! - `processes.rs`: the processes of a round.
//! - `places.rs`: the checkpoint whose files change, and file systems with little room.

mod event;
mod places;
mod processes;

use event::{Event, Random};
use places::{Disk, Model};
use processes::{Line, Output, RECORDS, Running};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use turbo_testkit::tiny_lettered;

/// Room for some pictures and not for all, and for some entries of the cache.
const DISK_BYTES: [(&str, usize); 2] = [("small-disk", 64 << 10), ("small-cache", 256 << 10)];

/// What the rounds have in common.
pub struct Breaker {
    /// For each model, the picture of each record.
    pictures: Vec<(Model, BTreeMap<String, Vec<u8>>)>,
    /// For pictures, and for a cache; none where this user may not mount any.
    disks: Option<[Disk; 2]>,
    /// Last, so that what is mounted there has gone before.
    folder: TempDir,
}

impl Breaker {
    /// Draws all pictures undisturbed.
    ///
    /// # Panics
    /// If that fails.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // A copy, as its files are to be changed.
        let tiny = folder.path().join("tiny");
        let models = [
            Model::built_in("demo"),
            Model::copy_of(&tiny_lettered(), tiny),
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
        let disk = |(name, bytes)| Disk::mount(folder.path().join(name), bytes);
        let disks = DISK_BYTES.map(disk);
        let disks = disks
            .iter()
            .all(Option::is_some)
            .then(|| disks.map(|disk| disk.expect("is there")));
        if disks.is_none() {
            eprintln!(
                "break: no small file systems, which only root may mount; full devices stand for them"
            );
        }
        Self {
            pictures: pictures.into(),
            disks,
            folder,
        }
    }

    /// One round. Equal seeds choose equally; when something happens is a matter of the machine.
    ///
    /// # Errors
    /// What went wrong, with all that was said.
    pub fn round(&self, seed: u64) -> Result<(), String> {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let (model, expected) = &self.pictures[random.below(self.pictures.len())];
        let event = Event::choose(&mut random, model.folder.is_some(), self.disks.is_some());
        let out = self.folder(&event, seed);
        let line = self.line(&event, model, &out, &mut random);

        let second = event.is_double().then(|| line.start());
        let running = line.start();
        happen(&event, model, &running, &mut random);
        let mut ends = running.wait();
        let stdout = std::mem::take(&mut ends[3].stdout);
        let (cache, file) = (line.cache.is_some(), model.file(&event));
        let mut failures = event.judge(&ends, cache, true, file.as_ref());
        let mut found = look(&line, expected, &stdout);
        if let Some(second) = second {
            let mut ends = second.wait();
            failures.extend(event.judge(&ends, cache, false, file.as_ref()));
            let stdout = std::mem::take(&mut ends[3].stdout);
            let again = look(&line, expected, &stdout);
            // Into the same files they write both.
            if matches!(line.output, Output::Stream(_)) && again.count != line.records.len() {
                failures.push(format!("the second run: {} pictures", again.count));
            }
            found.failures.extend(again.failures);
        }
        found.add(files(&out, expected, event.may_leave_files()));
        failures.append(&mut found.failures);
        let all = event.leaves_all_well(cache)
            || event.is_double() && !matches!(line.output, Output::Stream(_));
        if all && found.count != line.records.len() {
            failures.push(format!(
                "{} pictures of {}",
                found.count,
                line.records.len()
            ));
        }
        model.restore();
        empty(&out);
        let _ = fs::remove_dir(&out);
        if failures.is_empty() {
            return Ok(());
        }
        Err(format!(
            "round {seed}: {event:?}, {line:?}\n{}\n{ends:#?}",
            failures.join("\n")
        ))
    }

    /// The folder for the pictures.
    fn folder(&self, event: &Event, seed: u64) -> PathBuf {
        if let (Event::SmallDisk, Some([disk, _])) = (event, &self.disks) {
            return disk.path.clone();
        }
        let out = self.folder.path().join(format!("out-{seed}"));
        fs::create_dir_all(&out).expect("made");
        out
    }

    fn line(&self, event: &Event, model: &Model, out: &Path, random: &mut Random) -> Line {
        let count = 1 + random.below(RECORDS.len());
        let mut chosen: Vec<usize> = (0..RECORDS.len()).collect();
        for place in 0..count {
            let other = place + random.below(RECORDS.len() - place);
            chosen.swap(place, other);
        }
        chosen.truncate(count);
        let stream = random.below(3) == 0;
        let output = match event {
            Event::FullDevice => Output::Full,
            Event::GoneReader => Output::Stream(Some(random.below(20_000))),
            Event::SmallDisk => Output::Files(out.to_owned()),
            _ if stream => Output::Stream(None),
            _ => Output::Files(out.to_owned()),
        };
        let mut line = Line::new(&model.name, &chosen, output);
        line.skip = random.below(2) == 0;
        if random.below(2) == 0 || event.needs_cache() {
            let cache = match (event, &self.disks) {
                (Event::SmallCache, Some([_, disk])) => {
                    empty(&disk.path);
                    disk.path.clone()
                }
                _ => self.folder.path().join(format!("cache-{}", model.short())),
            };
            line.cache = Some(cache);
        }
        line.shell = event.shell();
        match *event {
            Event::SlowPartner(stage) => line.slow = Some(stage),
            Event::Nonblocking(stage) => line.nonblocking = Some(stage),
            _ => {}
        }
        line
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

/// After a while, does what happens to a line at work.
fn happen(event: &Event, model: &Model, running: &Running, random: &mut Random) {
    let pause = Duration::from_millis(random.below(250) as u64);
    if let Event::Overwritten(weights) = event
        && !running.has_mapped(weights.stage(), weights.path())
    {
        // It would be another checkpoint from the start.
        return;
    }
    std::thread::sleep(pause);
    match *event {
        Event::Signal(signal, Some(stage)) => running.signal(stage, signal),
        Event::Signal(signal, None) => (0..4).for_each(|stage| running.signal(stage, signal)),
        Event::OneOfTwo(stage) => running.signal(stage, 9),
        Event::Stopped(stage) => {
            running.signal(stage, 19);
            std::thread::sleep(pause);
            running.signal(stage, 18);
        }
        Event::Replaced(weights) => model.replace(weights),
        Event::Overwritten(weights) => model.overwrite(weights),
        Event::Cut(weights, share) => model.cut(weights, share),
        _ => {}
    }
}

/// Pictures that are as they should be, and what is wrong with others.
#[derive(Default)]
struct Found {
    count: usize,
    failures: Vec<String>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.failures.extend(other.failures);
    }
}

/// The pictures of a stream: in the order of the records; some may be left out, the last may be cut.
fn look(line: &Line, expected: &BTreeMap<String, Vec<u8>>, stream: &[u8]) -> Found {
    let mut found = Found::default();
    let mut rest = stream;
    let mut records = line.records.iter().map(|&record| RECORDS[record].0);
    while !rest.is_empty() {
        let Some(id) = records.next() else {
            found
                .failures
                .push("stdout: more than the pictures".to_owned());
            break;
        };
        let picture = &expected[&format!("{id}.png")];
        if let Some(after) = rest.strip_prefix(&picture[..]) {
            rest = after;
            found.count += 1;
        } else if picture.starts_with(rest) {
            break;
        }
    }
    found
}

/// The pictures in a folder.
fn files(out: &Path, expected: &BTreeMap<String, Vec<u8>>, may_leave: bool) -> Found {
    let mut found = Found::default();
    for (name, bytes) in whole_files(out) {
        if name.starts_with('.') {
            if !may_leave {
                found.failures.push(format!("{name}: left behind"));
            }
        } else if expected.get(&name) != Some(&bytes) {
            found.failures.push(format!("{name}: another picture"));
        } else {
            found.count += 1;
        }
    }
    found
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

/// Removes the files of a folder.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}
