//! A program, and what it is started with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program, its arguments, its environment and its folder.
#[derive(Clone, Debug)]
pub struct Stage {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Set, or taken away.
    variables: Vec<(String, Option<OsString>)>,
    clear: bool,
    folder: Option<PathBuf>,
}

impl Stage {
    /// Any program. `name` is what messages call it.
    pub fn program(name: &str, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            clear: false,
            folder: None,
        }
    }

    /// A shell line, in which `"$0"` is this program and its arguments are `"$1"` and so on.
    #[must_use]
    pub fn in_shell(mut self, line: &str) -> Self {
        let mut arguments: Vec<OsString> = ["-c", line].map(OsString::from).into();
        arguments.push(std::mem::replace(&mut self.program, "sh".into()).into());
        arguments.append(&mut self.arguments);
        Self { arguments, ..self }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments so far.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The program and its arguments as a shell takes them.
    ///
    /// # Panics
    /// If one is not Unicode, or has an apostrophe.
    pub fn line(&self) -> String {
        let words = [self.program.as_os_str()]
            .into_iter()
            .chain(self.arguments.iter().map(OsString::as_os_str));
        let quoted = words.map(|word| {
            let word = word.to_str().expect("UTF-8");
            assert!(!word.contains('\''), "{word}");
            format!("'{word}'")
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// Adds the words of `arguments`, which are separated by blanks.
    #[must_use]
    pub fn words(self, arguments: &str) -> Self {
        self.args(arguments.split_whitespace())
    }

    /// Adds arguments, whatever is in them.
    #[must_use]
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Adds one argument, whatever is in it.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds `--model FOLDER`.
    #[must_use]
    pub fn model(self, folder: &Path) -> Self {
        self.arg("--model").arg(folder)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .push((key.to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes an environment variable away.
    #[must_use]
    pub fn env_remove(mut self, key: &str) -> Self {
        self.variables.push((key.to_owned(), None));
        self
    }

    /// Takes away whatever the tests' own environment has.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.clear = true;
        self
    }

    /// Starts in this folder.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts it; stderr is a pipe.
    ///
    /// # Panics
    /// If it does not start.
    pub(super) fn spawn(&self, stdin: Stdio, stdout: Stdio) -> Child {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if self.clear {
            command.env_clear();
        }
        // What the tests' own environment names is no business of the tools.
        command.env_remove("TURBO_MODEL").env_remove("TURBO_CACHE");
        for (key, value) in &self.variables {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        command
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.program.display()))
    }
}
