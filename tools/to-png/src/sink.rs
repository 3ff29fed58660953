//! Where pictures go: stdout, one file, or files by pattern.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use turbo_cli::{
    Context, Error, Input, Names, Output, Pattern, Result, refuse_same_file, remove_leftovers,
};

pub(crate) enum Sink {
    Stdout(Output),
    /// One file for one picture.
    File {
        path: PathBuf,
        taken: bool,
    },
    Files(Names),
}

/// Where one picture goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    File(PathBuf),
}

impl Target {
    /// Whether it is a file that is there.
    pub(crate) fn exists(&self) -> bool {
        match self {
            Self::Stdout => false,
            Self::File(path) => fs::metadata(path).is_ok_and(|metadata| metadata.is_file()),
        }
    }
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
        // A run that has nothing left to write still clears what a killed one left behind.
        remove_leftovers(match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        });
        // A name that is not Unicode is taken as it is.
        let Some(text) = path.to_str() else {
            return Ok(Self::file(path));
        };
        let pattern = Pattern::parse(text, "--output")?;
        if pattern.is_plain() {
            return Ok(Self::file(Path::new(&pattern.name(0, None)?)));
        }
        Ok(Self::Files(Names::new(pattern)))
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
            Self::File { .. } | Self::Files(_) => Ok(()),
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

    /// Where the next picture goes. `counted` says that its number is this tool's own count.
    ///
    /// # Errors
    /// The pattern needs an id and there is none; another picture of this run has the name.
    pub(crate) fn target(
        &mut self,
        number: u64,
        counted: bool,
        id: Option<&str>,
    ) -> Result<Target> {
        match self {
            Self::Stdout(_) => Ok(Target::Stdout),
            Self::File { path, .. } => Ok(Target::File(path.clone())),
            Self::Files(names) => names.next(number, counted, id).map(Target::File),
        }
    }

    /// Writes a whole picture.
    ///
    /// # Errors
    /// stdout or the file cannot be written.
    pub(crate) fn write(&mut self, target: &Target, png: &[u8]) -> Result<()> {
        match (self, target) {
            (Self::Stdout(output), _) => {
                output.write_all(png).context("stdout")?;
                output.flush().context("stdout")
            }
            (_, Target::File(path)) => {
                let mut output = Output::file(path)?;
                output.write_all(png).context(path.display())?;
                output.finish()
            }
            // Only a sink that is stdout has this target.
            (_, Target::Stdout) => Ok(()),
        }
    }

    /// Passes on what is left.
    ///
    /// # Errors
    /// stdout cannot be written.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Stdout(output) => output.finish(),
            Self::File { .. } | Self::Files(_) => Ok(()),
        }
    }
}
