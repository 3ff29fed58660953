//! Where a tool reads: files, or stdin.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::stdio::{self, Patient};
use crate::{Context, Error, Result};

/// `[FILE]...`: what to read, each a stream; without any, stdin.
#[derive(Args, Clone, Debug, Default)]
pub struct InputArgs {
    /// Files to read, - for stdin; without any, stdin
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

impl InputArgs {
    /// What to read, in order. Nothing is opened yet.
    pub fn sources(&self) -> Vec<Source> {
        if self.files.is_empty() {
            return vec![Source::Stdin];
        }
        self.files.iter().map(|path| Source::new(path)).collect()
    }
}

/// One thing to read, not opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// stdin, also written `-`.
    Stdin,
    /// A file (or a pipe or device with a name).
    File(PathBuf),
}

impl Source {
    /// The source a user means by `path`: `-` is stdin.
    pub fn new(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdin
        } else {
            Self::File(path.to_path_buf())
        }
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::File(path) => Some(path),
        }
    }

    /// Opens it for binary data. `what` is expected there ("image frames"), `remedy` says where
    /// that comes from ("pipe decode-latents into it").
    ///
    /// # Errors
    /// The file cannot be opened; stdin is a terminal, at which nobody types frames.
    pub fn open(&self, what: &str, remedy: &str) -> Result<Input> {
        if *self == Self::Stdin && io::stdin().is_terminal() {
            return Err(Error::new(format_args!(
                "stdin: expected {what}, found a terminal; {remedy} (--help tells more)"
            )));
        }
        self.open_text()
    }

    /// Opens it, terminal or not.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_text(&self) -> Result<Input> {
        let file = match self {
            Self::Stdin => stdio::stdin().context("stdin")?,
            Self::File(path) => Patient::new(File::open(path).in_file(&**path)?),
        };
        Ok(Input {
            path: self.path().map(Path::to_path_buf),
            reader: BufReader::with_capacity(1 << 16, file),
        })
    }
}

/// An open input. Buffered; a read returns what has arrived and does not wait for more.
#[derive(Debug)]
pub struct Input {
    path: Option<PathBuf>,
    reader: BufReader<Patient>,
}

impl Input {
    /// The file; none for stdin. For `Context::in_file`.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn file(&self) -> &File {
        self.reader.get_ref().file()
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buf)
    }
}

impl io::BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}
