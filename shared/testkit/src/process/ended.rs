//! How a pipe ended, and what is to be expected of that.

use std::process::ExitStatus;

/// How a stage ended.
#[derive(Clone, Debug)]
pub struct StageEnd {
    /// The tool.
    pub name: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// What it said.
    pub stderr: String,
}

impl StageEnd {
    /// Asserts the exit status, and that stderr is one line, of the tool, that has all of `texts`; or empty, if
    /// there are none.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn expect(&self, status: i32, texts: &[&str]) {
        let (name, stderr) = (&self.name, &self.stderr);
        assert_eq!(
            self.status.code(),
            Some(status),
            "{name}: {}\n{stderr}",
            self.status
        );
        if texts.is_empty() {
            assert_eq!(stderr, "", "{name}");
        } else {
            assert!(stderr.starts_with(&format!("{name}: ")), "{name}: {stderr}");
            assert_eq!(stderr.trim_end().lines().count(), 1, "{name}: {stderr}");
            for text in texts {
                assert!(
                    stderr.contains(text),
                    "{name}: expected {text:?} in: {stderr}"
                );
            }
        }
    }
}

/// A pipe that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Each stage, first to last.
    pub stages: Vec<StageEnd>,
    /// What came out of the last one, if it was collected.
    pub stdout: Vec<u8>,
}

impl Ended {
    /// Asserts that every stage succeeded, and gives what came out.
    ///
    /// # Panics
    /// If one did not.
    #[track_caller]
    pub fn ok(&self) -> &[u8] {
        assert!(
            self.stages.iter().all(|stage| stage.status.success()),
            "{}",
            self.report()
        );
        &self.stdout
    }

    /// Asserts about the only stage: see [`StageEnd::expect`].
    ///
    /// # Panics
    /// If it does not hold, or there are several stages.
    #[track_caller]
    pub fn expect(&self, status: i32, texts: &[&str]) -> &[u8] {
        let [stage] = &self.stages[..] else {
            panic!("expected one stage, found {}", self.stages.len())
        };
        stage.expect(status, texts);
        &self.stdout
    }

    pub(crate) fn report(&self) -> String {
        let lines = self
            .stages
            .iter()
            .map(|stage| format!("{}: {}\n{}", stage.name, stage.status, stage.stderr));
        lines.collect::<Vec<_>>().join("\n")
    }
}
