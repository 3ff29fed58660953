//! stdin and stdout as plain files, past std's own buffers: those cut output at newlines and
//! could hold back what a frame's flush promised.

use std::fs::File;
use std::io::{self, Read, Write};

use turbo_process::{Stream, was_closed};

/// A file that is waited for.
///
/// Whoever shares an open pipe or terminal with this process may have made it non-blocking (Node.js and ssh do), and
/// that holds for all who share it. A read or write that would have to wait is then an error of the system; here it
/// waits.
#[derive(Debug)]
pub(crate) struct Patient(File);

impl Patient {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Read for Patient {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        patiently(&self.0, Wait::ToRead, || (&self.0).read(buf))
    }
}

impl Write for Patient {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        patiently(&self.0, Wait::ToWrite, || (&self.0).write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Wait {
    ToRead,
    ToWrite,
}

#[cfg(unix)]
use std::os::fd::AsFd as Waitable;
#[cfg(windows)]
use std::os::windows::io::AsHandle as Waitable;

/// Tries until the system does not say any more that it would have to wait.
fn patiently<T>(
    file: &impl Waitable,
    what: Wait,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(file, what)?,
            outcome => return outcome,
        }
    }
}

#[cfg(unix)]
fn wait(file: &impl Waitable, what: Wait) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let flags = match what {
        Wait::ToRead => PollFlags::IN,
        Wait::ToWrite => PollFlags::OUT,
    };
    match poll(&mut [PollFd::new(file, flags)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// There is nothing non-blocking to inherit.
#[cfg(windows)]
fn wait(_: &impl Waitable, _: Wait) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Says something on stderr.
///
/// # Errors
/// stderr cannot be written.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match patiently(&io::stderr(), Wait::ToWrite, || io::stderr().write(rest)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(crate) fn stdin() -> io::Result<Patient> {
    duplicate(&io::stdin())
}

/// # Errors
/// The process was started without it: what is written would be lost.
pub(crate) fn stdout() -> io::Result<Patient> {
    if was_closed(Stream::Stdout) {
        return Err(io::Error::other(
            "expected it open, found it closed; to throw the output away, write > /dev/null",
        ));
    }
    duplicate(&io::stdout())
}

#[cfg(unix)]
fn duplicate(stream: &impl Waitable) -> io::Result<Patient> {
    Ok(Patient(File::from(stream.as_fd().try_clone_to_owned()?)))
}

#[cfg(windows)]
fn duplicate(stream: &impl Waitable) -> io::Result<Patient> {
    Ok(Patient(File::from(
        stream.as_handle().try_clone_to_owned()?,
    )))
}
