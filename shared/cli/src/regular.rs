//! Files in a folder that others may write to as well: nothing but a regular file under its own name counts.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a regular file. A symbolic link is not followed, a pipe is not waited for, a device is not touched.
///
/// # Errors
/// There is none, or something else stands there.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(flags.bits() as i32);
    }
    #[cfg(not(unix))]
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(other());
    }
    let file = match options.open(path) {
        #[cfg(unix)]
        // What NOFOLLOW makes of a link, NONBLOCK of a pipe without a reader, and the system of a socket.
        Err(error) if is_other(&error) => return Err(other()),
        file => file?,
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(other())
    }
}

#[cfg(unix)]
fn is_other(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let other = [Errno::LOOP, Errno::MLINK, Errno::NXIO, Errno::ISDIR];
    other
        .iter()
        .any(|other| error.raw_os_error() == Some(other.raw_os_error()))
}

fn other() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "expected a regular file, found a link, pipe, device or folder",
    )
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        symlink("file", path("link")).unwrap();
        symlink("none", path("dangling")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(path("pipe"))
            .status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for options in [File::options().read(true), File::options().append(true)] {
            assert!(open(options, &path("file")).is_ok());
            for name in ["folder", "link", "dangling", "zero", "pipe", "socket"] {
                let error = open(options, &path(name)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            }
            let error = open(options, &path("none")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert!(open(options, Path::new("/dev/null")).is_err());
        }
    }
}
