//! Reading a stream, frame after frame.

use std::io::{ErrorKind, Read};

use crate::{Error, Frame, Header, Kind, Limits, Result};

/// Bytes of the first piece that is reserved for a body. Whatever a header announces, a reader holds at
/// most this and twice what it has received.
const FIRST_RESERVE: usize = 64 << 10;

/// Reads frame after frame.
///
/// Every error says the index of its frame and the byte of the stream. After an error the reader
/// is spent: where the next frame begins is not known any more.
///
/// The reader asks its input for just the bytes of the frame at hand, so that it never waits for
/// a frame that is not wanted yet. The 8 bytes of length are read by themselves; give it a
/// [`BufReader`](std::io::BufReader) where many small frames come from a file.
#[derive(Debug)]
pub struct FrameReader<R: Read> {
    reader: R,
    limits: Limits,
    expected: Option<Kind>,
    /// Bytes received.
    offset: u64,
    /// Frames whose body has been read or skipped.
    finished: u64,
    /// Index of the current frame.
    index: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between frames.
    Between,
    /// The header has been given out, the body has not been read.
    Body(Header),
    /// The input has ended between frames.
    End,
    /// An error has been given out.
    Spent,
}

impl<R: Read> FrameReader<R> {
    /// Reads frames of any kind.
    pub fn new(reader: R, limits: Limits) -> Self {
        Self {
            reader,
            limits,
            expected: None,
            offset: 0,
            finished: 0,
            index: 0,
            state: State::Between,
        }
    }

    /// Makes a frame of another kind an error, before its body is read.
    #[must_use]
    pub fn expect(mut self, kind: Kind) -> Self {
        self.expected = Some(kind);
        self
    }

    /// Reads the next frame's header. `None` is the end of the stream.
    ///
    /// The body is still to come: read it by [`read_body`](Self::read_body). A body that is not
    /// read is skipped by the next call.
    ///
    /// # Errors
    /// Any [`Error`] about reading, in an [`Error::At`].
    pub fn next_header(&mut self) -> Result<Option<Header>> {
        if let State::Body(header) = &self.state {
            let length = header.body_len();
            self.run(|reader| reader.skip(length))?;
        }
        match self.state {
            State::End => return Ok(None),
            State::Spent => return self.run(|_| Err(SPENT)),
            State::Between | State::Body(_) => {}
        }
        self.index = self.finished;
        let header = self.run(Self::header)?;
        self.state = match &header {
            Some(header) => State::Body(header.clone()),
            None => State::End,
        };
        Ok(header)
    }

    /// Reads the body that belongs to the header given last.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Read`], or [`Error::Order`] where no header was given, in an
    /// [`Error::At`].
    pub fn read_body(&mut self) -> Result<Frame> {
        self.run(
            |reader| match std::mem::replace(&mut reader.state, State::Spent) {
                State::Body(header) => {
                    let mut body = Vec::new();
                    let length = header.body_len();
                    reader.receive(&mut body, length, &Part::new("body", 0, length))?;
                    reader.state = State::Between;
                    reader.finished += 1;
                    Ok(Frame::from_parts(header, body))
                }
                State::Spent => Err(SPENT),
                State::Between | State::End => Err(Error::Order(
                    "read_body was called without a header from next_header",
                )),
            },
        )
    }

    /// Reads the next frame. `None` is the end of the stream.
    ///
    /// # Errors
    /// Any [`Error`] about reading, in an [`Error::At`].
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        match self.next_header()? {
            Some(_) => self.read_body().map(Some),
            None => Ok(None),
        }
    }

    /// Index of the current frame, from 0: the one whose header was read last, or tried last.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The input, wherever it stands.
    pub fn into_inner(self) -> R {
        self.reader
    }

    /// Runs one step. A failure gets its place, and spends the reader.
    fn run<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        step(self).map_err(|error| {
            self.state = State::Spent;
            match error {
                Error::At { .. } => error,
                error => error.at(self.index, self.offset),
            }
        })
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let begin = self.offset;
        let mut encoded = Vec::new();
        match self.receive(&mut encoded, 8, &Part::new("length", 0, 8)) {
            Err(Error::Truncated { found: 0, .. }) => return Ok(None),
            received => received?,
        }
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&encoded);
        let length = u64::from_le_bytes(prefix);
        if length > self.limits.header_bytes {
            return Err(Error::HeaderTooLarge {
                found: length,
                limit: self.limits.header_bytes,
                looks_like: looks_like(prefix),
            }
            .at(self.index, begin));
        }
        if length < 2 {
            return Err(Error::HeaderTooSmall { found: length }.at(self.index, begin));
        }

        // The first byte by itself: a foreign input is refused before up to a megabyte of it is
        // waited for.
        let part = Part::new("header", 8, length);
        self.receive(&mut encoded, 1, &part)?;
        if encoded[8] != b'{' {
            return Err(Error::HeaderStart {
                found: encoded[8],
                looks_like: looks_like(prefix),
            }
            .at(self.index, begin + 8));
        }
        self.receive(&mut encoded, length - 1, &part)?;
        Header::parse(encoded, &self.limits, self.expected)
            .map(Some)
            .map_err(|error| error.at(self.index, begin + 8))
    }

    /// Appends `count` bytes of input to `buffer`. Memory is reserved piece by piece, and no piece
    /// is larger than what has come before it.
    fn receive(&mut self, buffer: &mut Vec<u8>, count: u64, part: &Part) -> Result<()> {
        let mut missing = count;
        while missing > 0 {
            let piece = missing.min(buffer.len().max(FIRST_RESERVE) as u64);
            buffer.reserve_exact(piece as usize);
            // read_to_end on a Take: tries again after ErrorKind::Interrupted, and stays within
            // the capacity just reserved.
            let before = buffer.len();
            let outcome = self.reader.by_ref().take(piece).read_to_end(buffer);
            let received = (buffer.len() - before) as u64;
            self.offset += received;
            missing -= received;
            outcome.map_err(Error::Read)?;
            if received < piece {
                return Err(part.truncated(buffer.len() as u64 - part.start));
            }
        }
        Ok(())
    }

    /// Reads past a body without keeping it.
    fn skip(&mut self, length: u64) -> Result<()> {
        let mut scratch = [0; 16 << 10];
        let mut missing = length;
        while missing > 0 {
            let piece = missing.min(scratch.len() as u64) as usize;
            let received = match self.reader.read(&mut scratch[..piece]) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            if received == 0 {
                return Err(Part::new("body", 0, length).truncated(length - missing));
            }
            self.offset += received as u64;
            missing -= received as u64;
        }
        self.state = State::Between;
        self.finished += 1;
        Ok(())
    }
}

/// A part of a frame, for the error of an input that ends inside it.
struct Part {
    name: &'static str,
    /// Where the part begins in the buffer it is received into.
    start: u64,
    length: u64,
}

impl Part {
    fn new(name: &'static str, start: u64, length: u64) -> Self {
        Self {
            name,
            start,
            length,
        }
    }

    fn truncated(&self, found: u64) -> Error {
        Error::Truncated {
            part: self.name,
            expected: self.length,
            found,
        }
    }
}

const SPENT: Error = Error::Order("the stream cannot be read on after an error");

/// What the first 8 bytes of a foreign input are known from.
fn looks_like(bytes: [u8; 8]) -> Option<&'static str> {
    let text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("a PNG picture"),
        [0xff, 0xd8, 0xff, ..] => Some("a JPEG picture"),
        [b'R', b'I', b'F', b'F', ..] => Some("a WebP picture or another RIFF file"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("a NumPy array (.npy)"),
        // Protocols 2 to 5; what comes next is a frame, an empty container, or the call of a class.
        [
            0x80,
            2..=5,
            0x95 | b'}' | b']' | b')' | b'c' | 0x8a | b'X' | 0x8c,
            ..,
        ] => Some("a Python pickle"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP, .npz or pickled PyTorch file"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file"),
        [0x1f, 0x8b, ..] => Some("a gzip file"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("a zstd file"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("an xz file"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some("a bzip2 file"),
        [b'v', b'e', b'r', b's', b'i', b'o', b'n', b' '] => {
            Some("a Git LFS pointer; `git lfs pull` fetches what it stands for")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16 text"),
        [0xef, 0xbb, 0xbf, rest @ ..] if rest.iter().all(text) => Some("text"),
        _ if bytes.iter().all(text) => {
            let html = [&b"<!doc"[..], b"<html", b"<head", b"<?xml"];
            let bytes = bytes.map(|byte| byte.to_ascii_lowercase());
            let is_html = html.iter().any(|begin| bytes.starts_with(begin));
            Some(if is_html { "a web page (HTML)" } else { "text" })
        }
        _ => None,
    }
}
