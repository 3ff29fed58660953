//! What every tool owes a shell, whatever it computes: one check a manner, run for every tool. A check panics, with the
//! tool's name and what it said, where a tool has other manners.

#![allow(clippy::missing_panics_doc, reason = "said above, once")]

use crate::process::{Ended, Stage, on_terminal, pipe};

/// A tool at work: how it is started, and an item that it reads.
#[derive(Clone, Debug)]
pub struct Worker {
    stage: Stage,
    input: Vec<u8>,
    /// Whether what it shows goes to stderr, so that stdout may be a terminal.
    shows: bool,
    /// Whether its input may be typed.
    is_typed: bool,
}

impl Worker {
    /// A tool that reads frames, or whatever nobody types, and writes data.
    pub fn new(stage: Stage, input: impl Into<Vec<u8>>) -> Self {
        Self {
            stage,
            input: input.into(),
            shows: false,
            is_typed: false,
        }
    }

    /// What the tool shows goes to stderr, and it passes its input on unless stdout is a terminal.
    #[must_use]
    pub fn shows(mut self) -> Self {
        self.shows = true;
        self
    }

    /// The tool's input may be typed.
    #[must_use]
    pub fn is_typed(mut self) -> Self {
        self.is_typed = true;
        self
    }

    fn name(&self) -> &str {
        self.stage.name()
    }

    /// Whether this is stderr of a tool that has nothing to complain about.
    fn is_content(&self, stderr: &str) -> bool {
        let complaint = format!("{}: ", self.name());
        stderr.is_empty() || self.shows && !stderr.contains(&complaint)
    }
}

fn status(ended: &Ended) -> (Option<i32>, &str) {
    let end = &ended.stages[0];
    (end.status.code(), &end.stderr)
}

/// A reader that goes away ends it silently, with status 141.
pub fn gone_reader(worker: &Worker) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let input = worker.input.clone();
    let ended = pipe([worker.stage.clone()])
        .input(input)
        .output(writer)
        .run();
    let (status, stderr) = status(&ended);
    assert_eq!(status, Some(141), "{}: {stderr}", worker.name());
    assert!(worker.is_content(stderr), "{stderr}");
}

/// A full device is an error.
#[cfg(target_os = "linux")]
pub fn full_device(worker: &Worker) {
    let full = std::fs::File::options().write(true).open("/dev/full");
    let input = worker.input.clone();
    let ended = pipe([worker.stage.clone()])
        .input(input)
        .output(full.expect("Linux has it"))
        .run();
    let (status, stderr) = status(&ended);
    assert_eq!(status, Some(1), "{}: {stderr}", worker.name());
    let text = "No space left on device";
    assert!(stderr.contains(text), "{}: {stderr}", worker.name());
}

/// A terminal gets no frames, and nobody types them there. Skipped where there is no `script` (util-linux).
pub fn terminal(worker: &Worker) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("in"), &worker.input).expect("written");
    let line = worker.stage.line();
    let shown = |redirection: &str| {
        let stage = on_terminal(&format!("{line} {redirection}"))?;
        let ended = pipe([stage.folder(folder.path())]).run();
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(!text.contains("data_offsets"), "{line}: {text}");
        Some((ended.stages[0].status.code(), text))
    };
    let Some((status, text)) = shown("< in") else {
        return;
    };
    if worker.shows {
        assert_eq!(status, Some(0), "{line}: {text}");
    } else {
        assert_eq!(status, Some(1), "{line}: {text}");
        let expected = "stdout: expected a pipe or file";
        assert!(text.contains(expected), "{line}: {text}");
    }
    if !worker.is_typed {
        let (status, text) = shown("> out").expect("as before");
        assert_eq!(status, Some(1), "{line}: {text}");
        let found = text.contains("stdin: expected ") && text.contains("found a terminal");
        assert!(found, "{line}: {text}");
    }
}

/// What is written to a closed stdout would be lost, so that is an error.
#[cfg(unix)]
pub fn closed_stdout(worker: &Worker) {
    let stage = worker.stage.clone().in_shell("exec \"$0\" \"$@\" >&-");
    let ended = pipe([stage]).input(worker.input.clone()).run();
    ended.expect(1, &["stdout: expected it open, found it closed"]);
}

/// Nothing to read is the normal end: an empty stdin, none, or a closed one.
pub fn no_input(stage: &Stage) {
    let empty = |ended: Ended| {
        let nothing = ended.expect(0, &[]).is_empty();
        assert!(nothing, "{} wrote something", stage.name());
    };
    empty(pipe([stage.clone()]).run());
    empty(pipe([stage.clone()]).input("").run());
    #[cfg(unix)]
    empty(pipe([stage.clone().in_shell("exec \"$0\" \"$@\" <&-")]).run());
}
