//! Where a tool writes: stdout, or a file that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::NamedTempFile;

use crate::error::mark_stdout;
use crate::stdio::{self, Patient};
use crate::{Context, Error, Input, Result, interrupt, path, temporary};

const BUFFER: usize = 1 << 16;

/// `-o FILE`.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputArgs {
    /// File to write, - for stdout; without it, stdout
    ///
    /// A file is written beside its place and renamed when all is done, so that it is never
    /// seen in part. Without this flag, nothing binary is written to a terminal; -o - insists.
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

impl OutputArgs {
    /// Opens the output for binary data; `what` names it in the error ("latents frames").
    ///
    /// # Errors
    /// stdout is a terminal and was not insisted on; the file's folder is missing or closed to
    /// us; the file is a folder or read-only.
    pub fn open(&self, what: &str) -> Result<Output> {
        match &self.output {
            None => Output::stdout_unless_terminal(what),
            Some(path) if path.as_os_str() == "-" => Output::stdout(),
            Some(path) => Output::file(path),
        }
    }
}

/// An open output. Buffered; [`Write::flush`] passes everything on. Without
/// [`Output::finish`], a file is not put in place.
#[derive(Debug)]
pub struct Output(Sink);

#[derive(Debug)]
enum Sink {
    Stdout(BufWriter<Patient>),
    /// A device or pipe with a name: written in place, as a rename would put a file there.
    Special(BufWriter<Patient>, PathBuf),
    Beside(Beside),
}

struct Beside {
    writer: BufWriter<NamedTempFile>,
    target: PathBuf,
    // After the writer, so that the file is gone before it is forgotten.
    _guard: interrupt::Guard,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Beside").field(&self.target).finish()
    }
}

impl Output {
    /// stdout, whatever it is.
    ///
    /// # Errors
    /// The system gives no second handle on it.
    pub fn stdout() -> Result<Self> {
        let file = stdio::stdout().context("stdout")?;
        Ok(Self(Sink::Stdout(BufWriter::with_capacity(BUFFER, file))))
    }

    /// stdout for binary data, `what`.
    ///
    /// # Errors
    /// stdout is a terminal.
    pub fn stdout_unless_terminal(what: &str) -> Result<Self> {
        if io::stdout().is_terminal() {
            return Err(Error::new(format_args!(
                "stdout: expected a pipe or file for {what}, found a terminal; pipe it on with \
                 `|`, write a file with -o FILE, or insist with -o -"
            )));
        }
        Self::stdout()
    }

    /// A file, written beside `path` and renamed to it by [`Output::finish`]. A symbolic link
    /// keeps pointing: what it points to is replaced. A file that is replaced hands on its
    /// permissions. A device or named pipe is written in place.
    ///
    /// # Errors
    /// The folder is missing or closed to us; `path` is a folder or a read-only file.
    pub fn file(path: &Path) -> Result<Self> {
        Self::open_file(path).map_err(|e| e.in_file(path))
    }

    /// A file of a folder that others may write to as well: whatever stands under its name is replaced as such. No
    /// link is followed, and nothing is written into a pipe or device.
    ///
    /// # Errors
    /// The folder is missing or closed to us. A folder of that name is told of by [`Output::finish`].
    pub fn own_file(path: &Path) -> Result<Self> {
        Self::beside(path.to_path_buf(), None).map_err(|e| e.in_file(path))
    }

    fn open_file(path: &Path) -> Result<Self> {
        let existing = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        let mut target = path.to_path_buf();
        match &existing {
            Some(metadata) if metadata.is_dir() => {
                return Err(Error::new("expected a file to write, found a folder"));
            }
            Some(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(path)?;
                let writer = BufWriter::with_capacity(BUFFER, Patient::new(file));
                return Ok(Self(Sink::Special(writer, path.to_path_buf())));
            }
            Some(metadata) if metadata.permissions().readonly() => {
                return Err(Error::new("expected a file to replace, found it read-only"));
            }
            Some(_) => target = fs::canonicalize(path)?,
            None => {}
        }
        Self::beside(target, existing.map(|metadata| metadata.permissions()))
    }

    /// A file beside `target` that is to take its place, and its permissions if it has any.
    fn beside(target: PathBuf, permissions: Option<fs::Permissions>) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        // The permissions of any new file, less the umask, instead of a private one's.
        #[cfg(unix)]
        if permissions.is_none() {
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            let name = folder.display();
            return Err(Error::new(match path::home_hint(folder) {
                Some(hint) => format!("expected the folder {name}, found none; {hint}"),
                None => format!(
                    "expected the folder {name}, found none; create it with `mkdir -p {}`",
                    path::quote(folder)
                ),
            }));
        }
        let (file, guard) = temporary::create(&mut builder, folder).context("writing beside it")?;
        if let Some(permissions) = permissions {
            file.as_file().set_permissions(permissions)?;
        }
        Ok(Self(Sink::Beside(Beside {
            writer: BufWriter::with_capacity(BUFFER, file),
            target,
            _guard: guard,
        })))
    }

    /// Passes on what is buffered and puts the file in its place.
    ///
    /// # Errors
    /// The device is full, the reader is gone, the rename fails.
    pub fn finish(mut self) -> Result<()> {
        let name = match &self.0 {
            Sink::Stdout(_) => "stdout".to_owned(),
            Sink::Special(_, path) => path.display().to_string(),
            Sink::Beside(beside) => beside.target.display().to_string(),
        };
        self.flush().context(&name)?;
        if let Sink::Beside(beside) = self.0 {
            let file = beside
                .writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .context(&name)?;
            file.persist(&beside.target)
                .map_err(|e| e.error)
                .context(&name)?;
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Sink::Stdout(writer) => writer.write(buf).map_err(mark_stdout),
            Sink::Special(writer, _) => writer.write(buf),
            Sink::Beside(beside) => beside.writer.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Sink::Stdout(writer) => writer.flush().map_err(mark_stdout),
            Sink::Special(writer, _) => writer.flush(),
            Sink::Beside(beside) => beside.writer.flush(),
        }
    }
}

/// Refuses to append a file to itself (`tool FILE >> FILE`), which would never end. A file that
/// is replaced with `-o` may be read meanwhile.
///
/// # Errors
/// Both are the same regular file.
pub fn refuse_same_file(input: &Input, output: &Output) -> Result<()> {
    output.appended()?.refuse(input)
}

/// The regular file that an output appends to, if it does, for those who open inputs elsewhere than where they write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Appended(Option<FileId>);

impl Output {
    /// The file that is appended to, if there is one.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn appended(&self) -> Result<Appended> {
        Ok(Appended(match &self.0 {
            Sink::Stdout(writer) | Sink::Special(writer, _) => file_id(writer.get_ref().file())?,
            Sink::Beside(_) => None,
        }))
    }
}

impl Appended {
    /// As [`refuse_same_file`].
    ///
    /// # Errors
    /// The input is this file.
    pub fn refuse(&self, input: &Input) -> Result<()> {
        if self.0.is_some() && self.0 == file_id(input.file())? {
            let error = Error::new("expected input and output to differ, found the same file");
            return Err(error.in_file(input.path()));
        }
        Ok(())
    }
}

/// Device and number of a regular file.
type FileId = (u64, u64);

#[cfg(unix)]
fn file_id(file: &File) -> io::Result<Option<FileId>> {
    use std::os::unix::fs::MetadataExt;
    let found = file.metadata()?;
    Ok(found.is_file().then(|| (found.dev(), found.ino())))
}

/// Windows does not let a file be appended to while it is read, unless asked to.
#[cfg(not(unix))]
fn file_id(_: &File) -> io::Result<Option<FileId>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();

        let mut output = Output::file(&path).unwrap();
        output.write_all(b"new").unwrap();
        output.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(output);
        assert_eq!(names(folder.path()), ["a"]);

        let mut output = Output::file(&path).unwrap();
        output.write_all(b"new").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_permissions_and_devices_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        let mut output = Output::file(&link).unwrap();
        output.write_all(b"new").unwrap();
        output.finish().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);

        let mut output = Output::file(Path::new("/dev/null")).unwrap();
        output.write_all(b"x").unwrap();
        output.finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        Output::file(&ours).unwrap().finish().unwrap();
        fs::write(&plain, "").unwrap();
        let mode = |p| fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(plain));
    }

    #[test]
    fn what_cannot_be_written_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let text = Output::file(folder.path()).unwrap_err().to_string();
        assert!(text.ends_with("found a folder"), "{text}");
        let text = Output::file(&folder.path().join("none/a"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("mkdir -p"), "{text}");
        let path = folder.path().join("a");
        fs::write(&path, "").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        let text = Output::file(&path).unwrap_err().to_string();
        assert!(text.ends_with("read-only"), "{text}");
    }
}
