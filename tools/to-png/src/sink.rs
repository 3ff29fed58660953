//! Where pictures go: stdout, one file, or files by pattern.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use turbo_cli::{Context, Error, Input, Output, Result, refuse_same_file};

use crate::pattern::Pattern;

pub(crate) enum Sink {
    Stdout(Output),
    /// One file for one picture.
    File {
        path: PathBuf,
        taken: bool,
    },
    Files {
        pattern: Pattern,
        /// Names made from ids in this run. The only thing here that grows with the input: a
        /// name for each file on disk.
        names: HashSet<String>,
    },
}

impl Sink {
    /// The sink for `-o`.
    ///
    /// # Errors
    /// stdout is a terminal and was not asked for; the pattern has an unknown `%`.
    pub(crate) fn open(output: Option<&Path>) -> Result<Self> {
        let Some(path) = output else {
            return Output::stdout_unless_terminal("PNG pictures").map(Self::Stdout);
        };
        if path.as_os_str() == "-" {
            return Output::stdout().map(Self::Stdout);
        }
        // A name that is not Unicode is taken as it is.
        let Some(text) = path.to_str() else {
            return Ok(Self::file(path));
        };
        let pattern = Pattern::parse(text)?;
        if pattern.is_plain() {
            return Ok(Self::file(Path::new(&pattern.name(0, None)?)));
        }
        Ok(Self::Files {
            pattern,
            names: HashSet::new(),
        })
    }

    fn file(path: &Path) -> Self {
        Self::File {
            path: path.to_path_buf(),
            taken: false,
        }
    }

    /// Refuses an input that is the stdout written to.
    ///
    /// # Errors
    /// Just that.
    pub(crate) fn refuse(&self, input: &Input) -> Result<()> {
        match self {
            Self::Stdout(output) => refuse_same_file(input, output),
            Self::File { .. } | Self::Files { .. } => Ok(()),
        }
    }

    /// Asks for room for so many pictures, before any of them is read.
    ///
    /// # Errors
    /// There is one file and this is not its only picture. Told before a picture of a batch is
    /// written; of a longer stream the first picture stays.
    pub(crate) fn make_room(&mut self, pictures: usize) -> Result<()> {
        if let Self::File { path, taken } = self {
            if *taken || pictures > 1 {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let numbered = path.with_file_name(format!("{stem}-%04d.png"));
                return Err(Error::new(format_args!(
                    "--output {}: expected one picture, found more; number the files with -o '{}'",
                    path.display(),
                    numbered.display()
                )));
            }
            *taken = true;
        }
        Ok(())
    }

    /// Writes a whole picture.
    ///
    /// # Errors
    /// stdout or the file cannot be written; the pattern needs an id and there is none; another
    /// picture of this run has the name.
    pub(crate) fn write(&mut self, number: u64, id: Option<&str>, png: &[u8]) -> Result<()> {
        let path = match self {
            Self::Stdout(output) => {
                output.write_all(png).context("stdout")?;
                return output.flush().context("stdout");
            }
            Self::File { path, .. } => path.clone(),
            Self::Files { pattern, names } => {
                let name = pattern.name(number, id)?;
                if pattern.has_id() && !names.insert(name.clone()) {
                    return Err(Error::new(format_args!(
                        "{name}: expected a new name for each picture, found it taken by an \
                         earlier one; give the records ids of their own, or add %04d to the \
                         pattern"
                    )));
                }
                PathBuf::from(name)
            }
        };
        let mut output = Output::file(&path)?;
        output.write_all(png).context(path.display())?;
        output.finish()
    }

    /// Passes on what is left.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Stdout(output) => output.finish(),
            Self::File { .. } | Self::Files { .. } => Ok(()),
        }
    }
}
