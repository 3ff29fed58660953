//! Where a picture ends.

use crate::{Error, Format, Limits, Result, pnm};
use std::io::{BufRead, Read};

/// Takes an input in byte for byte, and knows where it is.
#[derive(Debug)]
pub(crate) struct Cursor<R> {
    input: R,
    limits: Limits,
    /// What was looked at and not taken yet; at most a few bytes.
    ahead: Vec<u8>,
    /// Bytes taken.
    position: u64,
    format: Format,
    picture: Vec<u8>,
}

impl<R: BufRead> Cursor<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            ahead: Vec::new(),
            position: 0,
            format: Format::Png,
            picture: Vec::new(),
        }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next `count` bytes, or all that are left if they are fewer, without taking them.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        if let Some(missing) = count.checked_sub(self.ahead.len()) {
            let mut more = self.input.by_ref().take(missing as u64);
            more.read_to_end(&mut self.ahead).map_err(Error::Read)?;
        }
        Ok(&self.ahead)
    }

    pub(crate) fn is_at_end(&mut self) -> Result<bool> {
        Ok(self.peek(1)?.is_empty())
    }

    /// Begins a picture.
    pub(crate) fn begin(&mut self, format: Format) {
        self.format = format;
        self.picture.clear();
    }

    /// The picture's bytes.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.picture)
    }

    /// Takes `count` bytes, and gives them.
    ///
    /// # Errors
    /// The input ends before, or the picture becomes too large.
    pub(crate) fn take(&mut self, count: u64) -> Result<&[u8]> {
        let start = self.picture.len();
        self.limits
            .check_bytes((start as u64).saturating_add(count), self.format)?;
        let known = self
            .ahead
            .len()
            .min(usize::try_from(count).unwrap_or(usize::MAX));
        self.picture.extend(self.ahead.drain(..known));
        let mut rest = self.input.by_ref().take(count - known as u64);
        let read = rest.read_to_end(&mut self.picture).map_err(Error::Read)?;
        self.position += (known + read) as u64;
        if ((known + read) as u64) < count {
            return Err(Error::Cut {
                byte: self.position,
                format: self.format,
            });
        }
        Ok(&self.picture[start..])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn broken(&self, expected: &'static str, found: &[u8]) -> Error {
        Error::Structure {
            byte: self.position - found.len() as u64,
            format: self.format,
            expected,
            found: format!("{:?}", String::from_utf8_lossy(found)),
        }
    }

    /// A signature, and chunks up to `IEND`.
    pub(crate) fn png(&mut self) -> Result<()> {
        const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
        let found = self.array::<8>()?;
        if found != SIGNATURE {
            return Err(self.broken("its signature", &found));
        }
        loop {
            let length = u32::from_be_bytes(self.array()?);
            let kind = self.array::<4>()?;
            if !kind.iter().all(u8::is_ascii_alphabetic) {
                return Err(self.broken("the name of a chunk", &kind));
            }
            // And the checksum.
            self.take(u64::from(length) + 4)?;
            if &kind == b"IEND" {
                return Ok(());
            }
        }
    }

    /// `RIFF`, a length, `WEBP`, and that much.
    pub(crate) fn webp(&mut self) -> Result<()> {
        let found = self.array::<4>()?;
        if &found != b"RIFF" {
            return Err(self.broken("RIFF", &found));
        }
        let length = u64::from(u32::from_le_bytes(self.array()?));
        let found = self.array::<4>()?;
        if &found != b"WEBP" || length < 4 {
            return Err(self.broken("WEBP", &found));
        }
        // Padded to an even number.
        self.take(length.next_multiple_of(2) - 4)?;
        Ok(())
    }

    /// Segments up to the end marker. ITU-T T.81, annex B.
    pub(crate) fn jpeg(&mut self) -> Result<()> {
        const END: u8 = 0xd9;
        const SCAN: u8 = 0xda;
        self.array::<2>()?;
        let mut marker = self.marker()?;
        loop {
            marker = match marker {
                END => return Ok(()),
                // Without a length: TEM and the restart markers.
                0x01 | 0xd0..=0xd7 => self.marker()?,
                _ => {
                    let length = u16::from_be_bytes(self.array()?);
                    self.take(u64::from(length.saturating_sub(2)))?;
                    if marker == SCAN {
                        self.scan()?
                    } else {
                        self.marker()?
                    }
                }
            };
        }
    }

    /// The next marker; what lies before it is passed over, as libjpeg does.
    fn marker(&mut self) -> Result<u8> {
        loop {
            self.until_ff()?;
            let mut marker = 0xff;
            while marker == 0xff {
                [marker] = self.array()?;
            }
            if marker != 0 {
                return Ok(marker);
            }
        }
    }

    /// The marker that ends a scan's data. Restart markers belong to the data.
    fn scan(&mut self) -> Result<u8> {
        loop {
            let marker = self.marker()?;
            if !matches!(marker, 0xd0..=0xd7) {
                return Ok(marker);
            }
        }
    }

    /// Takes all up to a byte of ones, that one included.
    fn until_ff(&mut self) -> Result<()> {
        let known = self.ahead.iter().position(|&byte| byte == 0xff);
        if let Some(at) = known {
            return self.take(at as u64 + 1).map(drop);
        }
        self.take(self.ahead.len() as u64)?;
        let start = self.picture.len() as u64;
        let room = self.limits.bytes.saturating_sub(start).saturating_add(1);
        let mut rest = self.input.by_ref().take(room);
        let read = rest
            .read_until(0xff, &mut self.picture)
            .map_err(Error::Read)?;
        self.position += read as u64;
        self.limits.check_bytes(start + read as u64, self.format)?;
        if self.picture.last() == Some(&0xff) && read > 0 {
            return Ok(());
        }
        Err(Error::Cut {
            byte: self.position,
            format: self.format,
        })
    }

    /// A header of text, and the pixels it speaks of.
    pub(crate) fn pnm(&mut self) -> Result<()> {
        let start = self.position;
        let mut parser = pnm::Parser::new();
        let header = loop {
            let [byte] = self.array()?;
            if let Some(header) =
                parser
                    .next(byte)
                    .map_err(|(expected, found)| Error::Structure {
                        byte: start,
                        format: self.format,
                        expected,
                        found,
                    })?
            {
                break header;
            }
        };
        self.limits.check(header.width, header.height)?;
        self.take(header.bytes())?;
        Ok(())
    }
}
