//! The processes of a round.

use crate::tool_path;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is drawn: id, prompt and seed of each picture.
pub(super) const RECORDS: [(&str, &str, u64); 6] = [
    ("a", "a red circle", 1),
    ("b", "a blue square on a white ground", 2),
    ("c", "two green triangles", 3),
    ("d", "a red circle", 4),
    ("e", "a b c d", 5),
    ("f", "a yellow star", 6),
];

/// When a stage that has not ended is said to hang.
const LIMIT: Duration = Duration::from_secs(120);

/// Where the pictures go.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// Into this folder, by their ids.
    Files(PathBuf),
    /// To stdout, of which a reader takes all or this many bytes.
    Stream(Option<usize>),
    /// To a device that is full.
    Full,
}

/// A pipe of four tools.
#[derive(Clone, Debug)]
pub(super) struct Line {
    model: String,
    /// Which of [`RECORDS`] are drawn.
    pub(super) records: Vec<usize>,
    pub(super) output: Output,
    /// `--on-error skip`
    pub(super) skip: bool,
    pub(super) cache: Option<PathBuf>,
    /// Behind which stage bytes trickle.
    pub(super) slow: Option<usize>,
    /// Behind which stage neither side waits for the pipe.
    pub(super) nonblocking: Option<usize>,
    /// Which stage a shell starts, and what it does before and behind the command.
    pub(super) shell: Option<(usize, String, &'static str)>,
}

/// How a stage ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) name: &'static str,
    pub(super) status: ExitStatus,
    pub(super) stderr: String,
    /// Of the last stage.
    pub(super) stdout: Vec<u8>,
    /// Whether it had to be killed.
    pub(super) hung: bool,
}

impl End {
    pub(super) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

pub(super) const STAGES: [&str; 4] = ["encode-text", "denoise", "decode-latents", "to-png"];

impl Line {
    pub(super) fn new(model: &str, records: &[usize], output: Output) -> Self {
        Self {
            model: model.to_owned(),
            records: records.to_vec(),
            output,
            skip: false,
            cache: None,
            slow: None,
            nonblocking: None,
            shell: None,
        }
    }

    fn input(&self) -> String {
        let lines = self.records.iter().map(|&record| {
            let (id, prompt, seed) = RECORDS[record];
            serde_json::json!({"id": id, "prompt": prompt, "seed": seed}).to_string() + "\n"
        });
        lines.collect()
    }

    fn command(&self, stage: usize) -> Command {
        let name = STAGES[stage];
        let mut command = match &self.shell {
            Some((at, before, behind)) if *at == stage => {
                let mut shell = Command::new("sh");
                let script = format!("{before} exec \"$0\" \"$@\" {behind}");
                shell.args(["-c", &script]).arg(tool_path(name));
                shell
            }
            _ => Command::new(tool_path(name)),
        };
        command.env_remove("TURBO_CACHE").env_remove("TURBO_MODEL");
        match stage {
            0 => {
                command.args(["--jsonl", "-", "--model", &self.model]);
                if let Some(cache) = &self.cache {
                    command.arg("--cache").arg(cache);
                }
            }
            3 => {
                if let Output::Files(folder) = &self.output {
                    command.arg("-o").arg(folder.join("{id}.png"));
                }
            }
            _ => {}
        }
        if stage < 3 {
            command.args(["--threads", "1"]);
        }
        if self.skip {
            command.args(["--on-error", "skip"]);
        }
        command
    }

    pub(super) fn start(&self) -> Running {
        let mut stages: Vec<Child> = Vec::new();
        let mut stderr = Vec::new();
        let mut before: Option<Stdio> = None;
        for stage in 0..STAGES.len() {
            let mut command = self.command(stage);
            let mut joined = None;
            let out = match (&self.output, stage) {
                (Output::Full, 3) => {
                    let full = File::options().write(true).open("/dev/full");
                    full.expect("Linux has it").into()
                }
                _ if self.nonblocking == Some(stage) => {
                    let (reader, writer) = nonblocking_pipe();
                    joined = Some(reader);
                    writer
                }
                _ => Stdio::piped(),
            };
            command
                .stdin(before.take().unwrap_or_else(Stdio::piped))
                .stdout(out)
                .stderr(Stdio::piped());
            let mut child = command.spawn().expect("it starts");
            stderr.push(collect(child.stderr.take(), None));
            if stage == 0 {
                let mut stdin = child.stdin.take().expect("is piped");
                let input = self.input();
                std::thread::spawn(move || stdin.write_all(input.as_bytes()));
            }
            if let Some(reader) = joined {
                before = Some(reader);
            } else if stage < 3 {
                let from = child.stdout.take().expect("is piped");
                before = Some(if self.slow == Some(stage) {
                    let (to, writer) = std::io::pipe().map(|(r, w)| (r.into(), w)).expect("a pipe");
                    trickle(from, writer);
                    to
                } else {
                    from.into()
                });
            }
            stages.push(child);
        }
        let limit = match self.output {
            Output::Stream(limit) => limit,
            Output::Files(_) | Output::Full => None,
        };
        let stdout = collect(stages[3].stdout.take(), limit);
        Running {
            stages,
            stderr,
            stdout,
        }
    }
}

/// A pipe of which neither end waits, as another program that shares it may have set it.
fn nonblocking_pipe() -> (Stdio, Stdio) {
    use rustix::fs::{OFlags, fcntl_setfl};
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fcntl_setfl(&reader, OFlags::NONBLOCK).expect("set");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("set");
    (reader.into(), writer.into())
}

/// Reads all, or so many bytes and goes.
fn collect(from: Option<impl Read + Send + 'static>, limit: Option<usize>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            let limit = limit.map_or(u64::MAX, |limit| limit as u64);
            let _ = from.take(limit).read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Passes bytes on in pieces of odd sizes, with pauses.
fn trickle(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = [0; 5003];
        for round in 0_u64.. {
            let size = [1, 7, 8, 100, 5003][round as usize % 5];
            match from.read(&mut buffer[..size]) {
                Ok(count) if count > 0 => {
                    if to.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
                _ => return,
            }
            if round % 4 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

/// A pipe at work.
pub(super) struct Running {
    stages: Vec<Child>,
    stderr: Vec<JoinHandle<Vec<u8>>>,
    stdout: JoinHandle<Vec<u8>>,
}

impl Running {
    /// Sends a stage a signal, if it has not ended.
    pub(super) fn signal(&self, stage: usize, signal: i32) {
        let pid = self.stages[stage].id().to_string();
        let _ = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .stderr(Stdio::null())
            .status();
    }

    /// Whether a stage maps a file whose path ends so, before its end.
    pub(super) fn has_mapped(&self, stage: usize, path: &str) -> bool {
        let maps = format!("/proc/{}/maps", self.stages[stage].id());
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            match fs::read_to_string(&maps) {
                Ok(maps) if maps.contains(path) => return true,
                Ok(maps) if !maps.is_empty() => std::thread::sleep(Duration::from_millis(1)),
                // The process has ended.
                _ => return false,
            }
        }
        false
    }

    pub(super) fn wait(self) -> Vec<End> {
        let deadline = Instant::now() + LIMIT;
        let mut ends: Vec<_> = self
            .stages
            .into_iter()
            .map(|mut child| {
                let mut hung = false;
                let status = loop {
                    if let Some(status) = child.try_wait().expect("it can be waited for") {
                        break status;
                    }
                    if Instant::now() > deadline && !hung {
                        hung = true;
                        child.kill().expect("it can be killed");
                    }
                    std::thread::sleep(Duration::from_millis(2));
                };
                (status, hung)
            })
            .zip(STAGES)
            .zip(self.stderr)
            .map(|(((status, hung), name), stderr)| End {
                name,
                status,
                stderr: String::from_utf8_lossy(&stderr.join().expect("it reads")).into_owned(),
                stdout: Vec::new(),
                hung,
            })
            .collect();
        ends[3].stdout = self.stdout.join().expect("it reads");
        ends
    }
}
