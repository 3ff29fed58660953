//! PPM and PGM as bytes: <https://netpbm.sourceforge.net/doc/ppm.html>.

use crate::{Error, Format, Limits, Result, Rgb};

/// Longest header, comments included.
const MAX_HEADER: usize = 1 << 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Three channels, or one.
    color: bool,
    pub(crate) width: u64,
    pub(crate) height: u64,
    /// The value of white, 1 to 65535.
    max: u32,
}

impl Header {
    /// Bytes of the pixels: of a checked size.
    pub(crate) fn bytes(&self) -> u64 {
        let channels = if self.color { 3 } else { 1 };
        let each = if self.max > 255 { 2 } else { 1 };
        self.width * self.height * channels * each
    }
}

/// Reads a header byte by byte.
pub(crate) struct Parser {
    read: usize,
    color: bool,
    numbers: [u64; 3],
    /// Numbers that are complete.
    count: usize,
    /// Digits of the next.
    digits: usize,
    comment: bool,
}

/// What was expected, and what was found.
type Refusal = (&'static str, String);

impl Parser {
    pub(crate) fn new() -> Self {
        Self {
            read: 0,
            color: false,
            numbers: [0; 3],
            count: 0,
            digits: 0,
            comment: false,
        }
    }

    /// Takes a byte. Gives the header after its last, which is the one white space behind the value of white.
    pub(crate) fn next(&mut self, byte: u8) -> Result<Option<Header>, Refusal> {
        self.read += 1;
        if self.read > MAX_HEADER {
            return Err(("a header", format!("none within {MAX_HEADER} bytes")));
        }
        match self.read {
            // `P`, which was looked at.
            1 => return Ok(None),
            2 => {
                self.color = byte == b'6';
                return Ok(None);
            }
            _ => {}
        }
        if self.comment {
            self.comment = !matches!(byte, b'\n' | b'\r');
            return Ok(None);
        }
        match byte {
            b'0'..=b'9' => {
                let number = &mut self.numbers[self.count];
                *number = (*number * 10 + u64::from(byte - b'0')).min(u64::from(u32::MAX));
                self.digits += 1;
                Ok(None)
            }
            b'#' => {
                self.comment = true;
                Ok(None)
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c if self.digits > 0 => {
                self.digits = 0;
                self.count += 1;
                if self.count == 3 {
                    self.header().map(Some)
                } else {
                    Ok(None)
                }
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Ok(None),
            other => Err((
                "width, height and the value of white as numbers",
                format!("{:?}", char::from(other)),
            )),
        }
    }

    fn header(&self) -> Result<Header, Refusal> {
        let [width, height, max] = self.numbers;
        if width == 0 || height == 0 {
            return Err((
                "a width and a height of at least 1",
                format!("{width} x {height}"),
            ));
        }
        match u32::try_from(max) {
            Ok(max @ 1..=65_535) => Ok(Header {
                color: self.color,
                width,
                height,
                max,
            }),
            _ => Err(("a value of white of 1 to 65535", max.to_string())),
        }
    }
}

/// Decodes a whole picture. Values are scaled to 255 for white and rounded, ties to even, as Pillow does.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgb> {
    let broken = |text: String| Error::Decode {
        format: Format::Pnm,
        text,
    };
    let mut parser = Parser::new();
    let mut header = None;
    let mut read = 0;
    while let (None, Some(&byte)) = (header, bytes.get(read)) {
        read += 1;
        header = parser
            .next(byte)
            .map_err(|(expected, found)| broken(format!("expected {expected}, found {found}")))?;
    }
    let header = header.ok_or_else(|| broken("the header is cut".to_owned()))?;
    limits.check(header.width, header.height)?;
    let raster = &bytes[read..];
    if raster.len() as u64 != header.bytes() {
        let (expected, found) = (header.bytes(), raster.len());
        return Err(broken(format!(
            "expected {expected} bytes of pixels, found {found}"
        )));
    }
    let max = f64::from(header.max);
    let scale = |value: u32| {
        let byte = (f64::from(value) / max * 255.0).round_ties_even();
        byte.min(255.0) as u8
    };
    let values: Vec<u8> = match header.max {
        255 => raster.to_vec(),
        ..255 => {
            let table: Vec<u8> = (0..=255).map(scale).collect();
            let value = |&value: &u8| table[usize::from(value)];
            raster.iter().map(value).collect()
        }
        256.. => {
            let (pairs, _) = raster.as_chunks::<2>();
            let value = |pair: &[u8; 2]| scale(u32::from(u16::from_be_bytes(*pair)));
            pairs.iter().map(value).collect()
        }
    };
    let pixels = if header.color {
        values
    } else {
        values.iter().flat_map(|&grey| [grey; 3]).collect()
    };
    Rgb::new(header.width as usize, header.height as usize, pixels)
}
