//! Real processes, joined by real pipes.

use super::{Ended, Stage, StageEnd};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// When a pipe is killed, unless it says otherwise: far more than any needs, so that nothing hangs the tests.
const LIMIT: Duration = Duration::from_secs(180);

/// Stages in the order in which data flows, and what is at the ends.
#[derive(Debug)]
pub struct Pipe {
    stages: Vec<Stage>,
    input: Input,
    output: Output,
    limit: Duration,
}

#[derive(Debug)]
enum Input {
    Nothing,
    Bytes(Vec<u8>, usize),
    Held,
}

#[derive(Debug)]
enum Output {
    Collected,
    Held,
    Given(Stdio),
}

/// Stages joined by pipes; nothing on stdin, stdout collected.
pub fn pipe(stages: impl IntoIterator<Item = Stage>) -> Pipe {
    let stages = stages.into_iter().collect();
    Pipe {
        stages,
        input: Input::Nothing,
        output: Output::Collected,
        limit: LIMIT,
    }
}

impl Pipe {
    /// Feeds these bytes to the first stage.
    #[must_use]
    pub fn input(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.repeated_input(bytes, 1)
    }

    /// Feeds these bytes to the first stage so many times.
    #[must_use]
    pub fn repeated_input(mut self, bytes: impl Into<Vec<u8>>, times: usize) -> Self {
        self.input = Input::Bytes(bytes.into(), times);
        self
    }

    /// Sends the last stage's stdout there.
    #[must_use]
    pub fn output(mut self, to: impl Into<Stdio>) -> Self {
        self.output = Output::Given(to.into());
        self
    }

    /// Leaves both ends to the test: [`Running::stdin`] and [`Running::stdout`].
    #[must_use]
    pub fn held(mut self) -> Self {
        (self.input, self.output) = (Input::Held, Output::Held);
        self
    }

    /// Another time limit.
    #[must_use]
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Runs the pipe to its end.
    ///
    /// # Panics
    /// If it does not start, or not end in time.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Starts the pipe.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(self) -> Running {
        let Self {
            stages,
            input,
            output,
            limit,
        } = self;
        let last = stages.len() - 1;
        let (mut collects, mut given) = (false, None);
        match output {
            Output::Collected => collects = true,
            Output::Held => {}
            Output::Given(stdio) => given = Some(stdio),
        }
        let mut next = Some(if matches!(input, Input::Nothing) {
            Stdio::null()
        } else {
            Stdio::piped()
        });
        let (mut children, mut stderr) = (Vec::new(), Vec::new());
        let (mut stdin, mut stdout) = (None, None);
        for (index, stage) in stages.iter().enumerate() {
            let out = if index == last { given.take() } else { None };
            let from = next.take().expect("each stage leaves a pipe for the next");
            let mut child = stage.spawn(from, out.unwrap_or_else(Stdio::piped));
            stdin = stdin.or(child.stdin.take());
            stderr.push(collect(child.stderr.take().expect("is piped")));
            if index < last {
                next = Some(child.stdout.take().expect("is piped").into());
            } else {
                stdout = child.stdout.take();
            }
            children.push(child);
        }
        let feeder = match input {
            Input::Bytes(bytes, times) => {
                let mut stdin = stdin.take().expect("is piped");
                // A tool that stops early closes its stdin, which is its right.
                Some(std::thread::spawn(move || {
                    let _ = (0..times).try_for_each(|_| stdin.write_all(&bytes));
                }))
            }
            Input::Nothing | Input::Held => None,
        };
        let collector = if collects {
            stdout.take().map(collect)
        } else {
            None
        };
        let children = Arc::new(Mutex::new(children));
        let watchdog = Watchdog::start(Arc::clone(&children), limit);
        let names = stages.iter().map(|stage| stage.name().to_owned()).collect();
        Running {
            names,
            children,
            stdin,
            stdout,
            stderr,
            feeder,
            collector,
            watchdog,
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

type Children = Arc<Mutex<Vec<Child>>>;

fn lock(children: &Children) -> MutexGuard<'_, Vec<Child>> {
    children.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the processes when time is up, or when the test that started them fails before it waits for them.
#[derive(Debug)]
struct Watchdog {
    barked: Arc<AtomicBool>,
    // Dropped with the pipe, which ends the thread.
    _leash: mpsc::Sender<()>,
}

impl Watchdog {
    fn start(children: Children, limit: Duration) -> Self {
        let barked = Arc::new(AtomicBool::new(false));
        let (leash, held) = mpsc::channel();
        let flag = Arc::clone(&barked);
        std::thread::spawn(move || {
            let late = held.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            flag.store(late, Ordering::SeqCst);
            for child in lock(&children).iter_mut() {
                let _ = child.kill();
            }
        });
        Self {
            barked,
            _leash: leash,
        }
    }
}

/// A pipe at work.
#[derive(Debug)]
pub struct Running {
    names: Vec<String>,
    children: Children,
    /// The first stage's stdin, if it was [held](Pipe::held).
    pub stdin: Option<ChildStdin>,
    /// The last stage's stdout, if it was [held](Pipe::held).
    pub stdout: Option<ChildStdout>,
    stderr: Vec<JoinHandle<Vec<u8>>>,
    feeder: Option<JoinHandle<()>>,
    collector: Option<JoinHandle<Vec<u8>>>,
    watchdog: Watchdog,
}

impl Running {
    /// A stage's process id.
    pub fn id(&self, stage: usize) -> u32 {
        lock(&self.children)[stage].id()
    }

    /// Peak resident memory of a stage so far, in bytes.
    ///
    /// # Panics
    /// Where the system does not tell, which is anywhere but on Linux, or if the stage has ended.
    pub fn max_rss_bytes(&self, stage: usize) -> u64 {
        let path = format!("/proc/{}/status", self.id(stage));
        let status = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a running process has one");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        kib << 10
    }

    /// Kills a stage, if it has not ended, in a way that it cannot take notice of.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(&self, stage: usize) {
        lock(&self.children)[stage]
            .kill()
            .expect("a child can be killed");
    }

    /// Closes stdin, if it was held, takes in what is left of stdout, and waits for the end.
    ///
    /// # Panics
    /// If the end does not come in time.
    pub fn wait(mut self) -> Ended {
        drop(self.stdin.take());
        let collector = self.collector.take().or(self.stdout.take().map(collect));
        let mut statuses = vec![None; self.names.len()];
        while statuses.contains(&None) {
            for (child, status) in lock(&self.children).iter_mut().zip(&mut statuses) {
                *status = status.or(child.try_wait().expect("a process can be waited for"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let stdout = collector.map_or_else(Vec::new, |thread| {
            thread.join().expect("the collector does not panic")
        });
        if let Some(feeder) = self.feeder {
            feeder.join().expect("the feeder does not panic");
        }
        let ends = self.names.into_iter().zip(statuses).zip(self.stderr);
        let stages = ends.map(|((name, status), stderr)| {
            let stderr = stderr.join().expect("the collector does not panic");
            StageEnd {
                name,
                status: status.expect("it ended"),
                stderr: String::from_utf8(stderr).expect("stderr is UTF-8"),
            }
        });
        let ended = Ended {
            stages: stages.collect(),
            stdout,
        };
        assert!(
            !self.watchdog.barked.load(Ordering::SeqCst),
            "killed, as time was up:\n{}",
            ended.report()
        );
        ended
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "killed, as time was up")]
    fn what_hangs_is_killed() {
        pipe([Stage::program("sleep", "sleep").arg("600")])
            .limit(1)
            .run();
    }

    #[test]
    fn a_pipe_is_a_pipe() {
        let shell = |line: &str| Stage::program("sh", "sh").arg("-c").arg(line);
        let ended = pipe([shell("cat; echo a >&2"), shell("tr a-z A-Z; exit 3")])
            .repeated_input("x y\n", 2)
            .run();
        assert_eq!(ended.stdout, b"X Y\nX Y\n");
        let ends = ended.stages.iter();
        let ends: Vec<_> = ends
            .map(|end| (end.status.code(), &end.stderr[..]))
            .collect();
        assert_eq!(ends, [(Some(0), "a\n"), (Some(3), "")]);
    }
}
