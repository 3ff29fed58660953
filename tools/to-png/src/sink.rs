//! Where pictures go: stdout, one file, or files by pattern.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use turbo_cli::{
    Context, Error, Input, Names, Output, Pattern, Result, quote, refuse_same_file,
    remove_leftovers,
};

pub(crate) enum Sink {
    Stdout(Output),
    /// One file for one picture.
    File {
        path: PathBuf,
        taken: bool,
    },
    Files(Files),
}

/// Files by a pattern.
pub(crate) struct Files {
    names: Names,
    /// What was written under names with ids in them. Other names that the file system holds for the same (in another
    /// case, another Unicode form, by a link) lead there too.
    written: HashSet<Identity>,
}

impl Files {
    fn take(&mut self, number: u64, counted: bool, id: Option<&str>) -> Result<Target> {
        let path = self.names.next(number, counted, id)?;
        if identity(&path).is_some_and(|file| self.written.contains(&file)) {
            return Err(Error::new(format_args!(
                "{}: expected a new file for each picture, found that an earlier one of this run has it under another \
                 name, which is the same to this file system; give the records other ids, or add %04d to the pattern",
                path.display()
            )));
        }
        Ok(Target::File(path))
    }

    /// Remembers what stands under a name now.
    fn remember(&mut self, path: &Path) {
        if self.names.have_ids() {
            self.written.extend(identity(path));
        }
    }
}

/// What tells a file from others, whatever its name: device, inode and time of the last change. A file that another run puts
/// in its place may get the inode of one that is gone, but not its time.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);
#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

/// The system tells the name as it was given to the file.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    fs::canonicalize(path).ok()
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
        Ok(Self::Files(Files {
            names: Names::new(pattern),
            written: HashSet::new(),
        }))
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
                    "--output {}: expected one picture, found more; number the files with -o {}",
                    path.display(),
                    quote(&numbered)
                )));
            }
            *taken = true;
        }
        Ok(())
    }

    /// Where a picture would go.
    ///
    /// # Errors
    /// The pattern needs an id and there is none.
    pub(crate) fn look(&self, number: u64, id: Option<&str>) -> Result<Target> {
        match self {
            Self::Stdout(_) => Ok(Target::Stdout),
            Self::File { path, .. } => Ok(Target::File(path.clone())),
            Self::Files(files) => Ok(Target::File(files.names.look(number, id)?.into())),
        }
    }

    /// Where the next picture goes. `counted` says that its number is this tool's own count.
    ///
    /// # Errors
    /// The pattern needs an id and there is none; another picture of this run has the name, or one that is the same to
    /// the file system.
    pub(crate) fn take(&mut self, number: u64, counted: bool, id: Option<&str>) -> Result<Target> {
        match self {
            Self::Files(files) => files.take(number, counted, id),
            Self::Stdout(_) | Self::File { .. } => self.look(number, id),
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
            (sink, Target::File(path)) => {
                let mut output = Output::file(path)?;
                output.write_all(png).context(path.display())?;
                output.finish()?;
                if let Self::Files(files) = sink {
                    files.remember(path);
                }
                Ok(())
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
