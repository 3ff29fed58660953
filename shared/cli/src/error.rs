//! The error of a tool: what, where, why, and the exit status it ends in.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

/// Result of a tool's parts.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a tool reports: `file: frame 3: what: cause`.
///
/// `?` makes one of any error. It is no [`std::error::Error`] itself (as that would forbid the
/// blanket conversion); it ends in [`crate::main`], which prints it and picks the exit status.
#[derive(Debug)]
pub struct Error {
    file: Option<String>,
    frame: Option<u64>,
    /// Innermost first.
    context: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// Stands behind all else.
    advice: Option<String>,
    usage: bool,
}

impl Error {
    /// An error with this text: lower case, no full stop, `what: expected X, found Y; do Z`.
    pub fn new(text: impl fmt::Display) -> Self {
        Self {
            file: None,
            frame: None,
            context: vec![text.to_string()],
            source: None,
            advice: None,
            usage: false,
        }
    }

    /// An error in how the tool was called: exit status 2, and a pointer to `--help`.
    pub fn usage(text: impl fmt::Display) -> Self {
        Self {
            usage: true,
            ..Self::new(text)
        }
    }

    /// Says what was being done: `context: ...`.
    #[must_use]
    pub fn context(mut self, text: impl fmt::Display) -> Self {
        self.context.push(text.to_string());
        self
    }

    /// Says which frame (from 0) it was, unless that is known.
    #[must_use]
    pub fn in_frame(mut self, frame: u64) -> Self {
        self.frame.get_or_insert(frame);
        self
    }

    /// Says which input file it was, if it was one ([`crate::Input::path`] gives none for stdin)
    /// and unless that is known.
    #[must_use]
    pub fn in_file<'a>(mut self, path: impl Into<Option<&'a Path>>) -> Self {
        if let Some(path) = path.into() {
            self.file.get_or_insert_with(|| path.display().to_string());
        }
        self
    }

    /// The frame (from 0) that the error is about, where it was told with [`Error::in_frame`].
    pub fn frame(&self) -> Option<u64> {
        self.frame
    }

    /// The underlying errors, nearest first.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let first = self
            .source
            .as_deref()
            .map(|e| e as &(dyn StdError + 'static));
        std::iter::successors(first, |&error| error.source())
    }

    /// Whether the reader of our stdout went away. Such an error ends the tool silently, and no
    /// `--on-error skip` may swallow it.
    pub fn is_reader_gone(&self) -> bool {
        self.chain().any(is_reader_gone)
    }

    /// The exit status this error ends in: 1, 2 or 141.
    pub fn exit_status(&self) -> u8 {
        if self.is_reader_gone() {
            141
        } else if self.usage {
            2
        } else {
            1
        }
    }

    /// Says behind all else what to do.
    #[must_use]
    pub(crate) fn advice(mut self, text: impl fmt::Display) -> Self {
        self.advice = Some(text.to_string());
        self
    }

    pub(crate) fn is_usage(&self) -> bool {
        self.usage
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            file: None,
            frame: None,
            context: Vec::new(),
            source: Some(Box::new(error)),
            advice: None,
            usage: false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.context.iter().rev().cloned().collect();
        for cause in self.chain() {
            let text = cause.to_string();
            // Many errors print their cause themselves: do not say it twice.
            if !parts.last().is_some_and(|last| last.ends_with(&text)) {
                parts.push(text);
            }
        }
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
            parts.retain(|part| part != file);
        }
        let text = parts.join(": ");
        // A frame reader's errors begin with the frame already.
        if let Some(frame) = self.frame
            && !text.starts_with("frame ")
        {
            write!(f, "frame {frame}: ")?;
        }
        f.write_str(&text)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// Adds to an error, on its way up, what was being done.
pub trait Context<T> {
    /// `text: ...`
    ///
    /// # Errors
    /// The error it was called on, with the text in front.
    fn context(self, text: impl fmt::Display) -> Result<T>;

    /// `frame N: ...`, N from 0.
    ///
    /// # Errors
    /// The error it was called on, with the frame told.
    fn in_frame(self, frame: u64) -> Result<T>;

    /// `path: ...`, if there is a path.
    ///
    /// # Errors
    /// The error it was called on, with the file told.
    fn in_file<'a>(self, path: impl Into<Option<&'a Path>>) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, text: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(text))
    }

    fn in_frame(self, frame: u64) -> Result<T> {
        self.map_err(|e| e.into().in_frame(frame))
    }

    fn in_file<'a>(self, path: impl Into<Option<&'a Path>>) -> Result<T> {
        self.map_err(|e| e.into().in_file(path))
    }
}

/// Marks the one broken pipe that is no failure: that of our own stdout.
///
/// It has itself as a source, so that it is still met by whoever walks the chain past an
/// `io::Error`, which passes on its content's source and not its content.
#[derive(Debug)]
struct ReaderGone(Option<Box<ReaderGone>>);

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of stdout went away")
    }
}

impl StdError for ReaderGone {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// Marks an error of a write to stdout, where it is a broken pipe.
pub(crate) fn mark_stdout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        let marker = ReaderGone(Some(Box::new(ReaderGone(None))));
        io::Error::new(io::ErrorKind::BrokenPipe, marker)
    } else {
        error
    }
}

fn is_reader_gone(error: &(dyn StdError + 'static)) -> bool {
    error.is::<ReaderGone>()
        || error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .is_some_and(|inner| is_reader_gone(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot write")
        }
    }
    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    /// As `#[error(transparent)]` does it: the `io::Error` is not in the chain.
    #[derive(Debug)]
    struct Transparent(io::Error);
    impl fmt::Display for Transparent {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }
    impl StdError for Transparent {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.0.source()
        }
    }

    fn broken_pipe() -> io::Error {
        io::Error::from(io::ErrorKind::BrokenPipe)
    }

    #[test]
    fn text_has_file_frame_context_and_causes_in_order() {
        let error = Error::from(Outer(io::Error::other("disk full")))
            .context("writing")
            .in_frame(3)
            .in_frame(9)
            .in_file(Path::new("a.st"));
        assert_eq!(
            error.to_string(),
            "a.st: frame 3: writing: cannot write: disk full"
        );
        assert_eq!(error.exit_status(), 1);
    }

    #[test]
    fn a_cause_or_frame_is_not_told_twice() {
        let error = Error::from(Transparent(io::Error::other("frame 2: short"))).in_frame(2);
        assert_eq!(error.to_string(), "frame 2: short");
    }

    #[test]
    fn a_file_is_told_once() {
        let error = Error::from(broken_pipe())
            .context("a.st")
            .context("writing")
            .in_file(Path::new("a.st"));
        assert_eq!(error.to_string(), "a.st: writing: broken pipe");
    }

    #[test]
    fn only_a_marked_broken_pipe_is_a_gone_reader() {
        assert_eq!(Error::from(broken_pipe()).exit_status(), 1);
        assert_eq!(Error::from(mark_stdout(broken_pipe())).exit_status(), 141);
        let wrapped = Outer(io::Error::other(mark_stdout(broken_pipe())));
        assert_eq!(Error::from(wrapped).exit_status(), 141);
        let transparent = Transparent(mark_stdout(broken_pipe()));
        assert_eq!(Error::from(transparent).exit_status(), 141);
        let other = mark_stdout(io::Error::other("x"));
        assert_eq!(Error::from(other).exit_status(), 1);
    }

    #[test]
    fn usage_is_status_2() {
        assert_eq!(Error::usage("x").context("y").exit_status(), 2);
    }
}
