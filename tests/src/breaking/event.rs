//! What happens to a round, and what may come of it.

use super::processes::{End, STAGES};
use std::path::PathBuf;

/// What happens to a round. A stage is told by its place in the pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Nothing,
    /// A stage gets a signal, or all of them do, as from a terminal.
    Signal(i32, Option<usize>),
    /// A stage is stopped for a while, and goes on.
    Stopped(usize),
    /// The reader of the pictures takes some bytes and goes.
    GoneReader,
    /// The pictures go to a full device.
    FullDevice,
    /// The pictures go to a file system with little room.
    SmallDisk,
    /// The cache lies on one.
    SmallCache,
    /// The pictures' files may not grow beyond some bytes.
    SmallFiles,
    /// A stage may open so many files.
    FewFiles(usize, usize),
    /// A stage may have so many KiB of memory.
    LittleMemory(usize, usize),
    /// A stage is started with stderr closed.
    NoStderr(usize),
    /// Bytes trickle from this stage to the next.
    SlowPartner(usize),
    /// The pipe behind this stage does not wait.
    Nonblocking(usize),
    /// A file of weights is replaced by an equal one, by renaming.
    Replaced(Weights),
    /// A file of weights gets other bytes in its place, while it is in use.
    Overwritten(Weights),
    /// A file of weights is cut to some share of it: so many thousandths.
    Cut(Weights, u64),
    /// The same runs twice at once on one cache.
    Twice,
    /// So does it, and a stage of one of them is killed.
    OneOfTwo(usize),
}

/// A file of weights, by the stage that uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    TextEncoder,
    Unet,
    Vae,
}

impl Weights {
    pub(super) const ALL: [Self; 3] = [Self::TextEncoder, Self::Unet, Self::Vae];

    /// The only stage that opens it.
    pub(super) fn stage(self) -> usize {
        self as usize
    }

    /// Its path in the checkpoint.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder/model.fp16.safetensors",
            Self::Unet => "unet/diffusion_pytorch_model.fp16.safetensors",
            Self::Vae => "vae/diffusion_pytorch_model.fp16.safetensors",
        }
    }
}

/// Those that end a process where nobody handles them, but for the signals of faults.
const SIGNALS: [i32; 9] = [1, 2, 3, 9, 10, 13, 14, 15, 24];

/// Random numbers: xorshift64*.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) as usize % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

impl Event {
    /// Some event. `files`: whether the checkpoint's files are there to be changed. `disks`: whether there are small
    /// file systems.
    pub(super) fn choose(random: &mut Random, files: bool, disks: bool) -> Self {
        let stage = random.below(STAGES.len());
        let behind = random.below(STAGES.len() - 1);
        let weights = random.of(&Weights::ALL);
        match random.below(32) {
            0 => Self::Nothing,
            1..=6 => Self::Signal(random.of(&SIGNALS), Some(stage)),
            7 => Self::Signal(random.of(&SIGNALS), None),
            8 => Self::Stopped(stage),
            9 | 10 => Self::GoneReader,
            12 | 13 if disks => Self::SmallDisk,
            14 | 15 if disks => Self::SmallCache,
            11..=15 => Self::FullDevice,
            16 => Self::SmallFiles,
            17 => Self::FewFiles(stage, 4 + random.below(12)),
            // Less than that, and the tools themselves do not fit.
            18..=20 => Self::LittleMemory(stage, 24_000 + random.below(40_000)),
            21 => Self::NoStderr(stage),
            22 => Self::SlowPartner(behind),
            23 => Self::Nonblocking(behind),
            24 if files => Self::Replaced(weights),
            25 | 26 if files => Self::Overwritten(weights),
            27 | 28 if files => Self::Cut(weights, random.below(1000) as u64),
            29 => Self::OneOfTwo(stage),
            _ => Self::Twice,
        }
    }

    /// Whether two runs share a cache.
    pub(super) fn is_double(&self) -> bool {
        matches!(self, Self::Twice | Self::OneOfTwo(_))
    }

    /// Whether a cache has to be there.
    pub(super) fn needs_cache(&self) -> bool {
        self.is_double() || *self == Self::SmallCache
    }

    /// What a shell does before a stage starts, and behind its command.
    pub(super) fn shell(&self) -> Option<(usize, String, &'static str)> {
        match self {
            // In units of 512 bytes.
            Self::SmallFiles => Some((3, "ulimit -f 2;".to_owned(), "")),
            Self::FewFiles(stage, count) => Some((*stage, format!("ulimit -n {count};"), "")),
            Self::LittleMemory(stage, kib) => Some((*stage, format!("ulimit -v {kib};"), "")),
            Self::NoStderr(stage) => Some((*stage, String::new(), "2>&-")),
            _ => None,
        }
    }

    /// Whether all pictures have to come out all the same. With a cache, a checkpoint that is replaced under way is an
    /// error.
    pub(super) fn leaves_all_well(&self, cache: bool) -> bool {
        match self {
            Self::Nothing
            | Self::Stopped(_)
            | Self::SmallCache
            | Self::NoStderr(_)
            | Self::SlowPartner(_)
            | Self::Nonblocking(_)
            | Self::Twice
            // Rust's runtime ignores SIGPIPE.
            | Self::Signal(13, _) => true,
            Self::Replaced(_) => !cache,
            _ => false,
        }
    }

    /// Whether a temporary file may be left: nobody can take one away when he is killed.
    pub(super) fn may_leave_files(&self) -> bool {
        matches!(self, Self::Signal(9, _) | Self::OneOfTwo(_))
    }

    /// What is wrong with how the stages ended. `hit` is whether it was this run of two that something happened to.
    pub(super) fn judge(
        &self,
        ends: &[End],
        cache: bool,
        hit: bool,
        file: Option<&PathBuf>,
    ) -> Vec<String> {
        let mut failures = Vec::new();
        let well = self.leaves_all_well(cache) || self.is_double() && !hit;
        for (stage, end) in ends.iter().enumerate() {
            let mut fail = |what: &str| failures.push(format!("{}: {what}", end.name));
            if end.hung {
                fail("had to be killed");
            }
            if end.stderr.contains("panicked") || end.stderr.contains("a bug in") {
                fail("a panic");
            }
            let silenced = *self == Self::NoStderr(stage);
            let code = end.status.code();
            let allowed = match (code, end.signal()) {
                (Some(0), _) => true,
                _ if well => false,
                (Some(1 | 130 | 141), _) => true,
                // The linker found no memory, or no file, before the tool was there.
                (Some(127), _) => {
                    matches!(self, Self::LittleMemory(s, _) | Self::FewFiles(s, _) if *s == stage)
                }
                (None, Some(signal)) => match self {
                    Self::Signal(sent, to) => signal == *sent && to.is_none_or(|to| to == stage),
                    Self::OneOfTwo(to) => signal == 9 && *to == stage,
                    _ => false,
                },
                _ => false,
            };
            if !allowed {
                fail(&format!("{}, which nothing explains", end.status));
            }
            if code == Some(1) && end.stderr.is_empty() && !silenced {
                fail("failed without a word");
            }
            // The other stages may fail of what this one leaves out.
            if let (Self::Overwritten(weights) | Self::Cut(weights, _), Some(file)) = (self, file)
                && weights.stage() == stage
                && !end.status.success()
                && code != Some(141)
                && !end.stderr.contains(&file.display().to_string())
            {
                fail("does not name the file that changed");
            }
        }
        if *self == Self::FullDevice && ends.iter().all(|end| end.status.success()) {
            failures.push("no failure, where nothing could be written".to_owned());
        }
        failures
    }
}
