//! Which format a picture is in.

use std::fmt;

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, also as frames of Motion JPEG.
    Jpeg,
    /// WebP.
    WebP,
    /// PPM (`P6`) and PGM (`P5`).
    Pnm,
    /// Bare pixels, 8 bits each of red, green and blue (`rgb24` in ffmpeg), row by row.
    Raw {
        /// Pixels to a row.
        width: usize,
        /// Rows.
        height: usize,
    },
}

impl Format {
    /// The format that begins with these two bytes.
    pub(crate) fn of(start: [u8; 2]) -> Option<Self> {
        match &start {
            b"\x89P" => Some(Self::Png),
            b"\xff\xd8" => Some(Self::Jpeg),
            b"RI" => Some(Self::WebP),
            b"P5" | b"P6" => Some(Self::Pnm),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Png => f.write_str("PNG"),
            Self::Jpeg => f.write_str("JPEG"),
            Self::WebP => f.write_str("WebP"),
            Self::Pnm => f.write_str("PPM or PGM"),
            Self::Raw { width, height } => write!(f, "raw {width}x{height}"),
        }
    }
}

/// What bytes that are no picture look like, in words. `start` is the first sixteen, or all there are.
pub(crate) fn describe(start: &[u8]) -> String {
    let known: &[(&[u8], usize, &str)] = &[
        (
            b"GIF8",
            0,
            "a GIF file, which may be animated (turn it into PNG first)",
        ),
        (b"BM", 0, "a BMP file (turn it into PNG first)"),
        (b"II*\0", 0, "a TIFF file (turn it into PNG first)"),
        (b"MM\0*", 0, "a TIFF file (turn it into PNG first)"),
        (
            b"ftyp",
            4,
            "a HEIC, AVIF or video file (turn it into PNG first)",
        ),
        (b"%PDF", 0, "a PDF file (turn it into PNG first)"),
        (b"P1", 0, "a PBM file (only P5 and P6 are read)"),
        (b"P2", 0, "a PGM file as text (only P5 and P6 are read)"),
        (b"P3", 0, "a PPM file as text (only P5 and P6 are read)"),
        (b"P4", 0, "a PBM file (only P5 and P6 are read)"),
        (b"P7", 0, "a PAM file (only P5 and P6 are read)"),
        (
            b"{\"",
            8,
            "a stream of frames (a stream is named by --join)",
        ),
    ];
    for (mark, at, words) in known {
        if start.get(*at..).is_some_and(|rest| rest.starts_with(mark)) {
            return (*words).to_owned();
        }
    }
    let text = start.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    if text.len() >= 2 && !text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        format!("text, {text:?}")
    } else {
        let hex: Vec<String> = start
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("the bytes {}", hex.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_is_named() {
        for (start, found) in [
            (&b"GIF89a\0\0"[..], "a GIF file"),
            (b"\0\0\0 ftypheic", "a HEIC"),
            (b"\x90\0\0\0\0\0\0\0{\"__", "a stream of frames"),
            (b"hello, world", "text, \"hello, world\""),
            (b"\0\x01\x02", "the bytes 00 01 02"),
            (b"\xfe", "the bytes fe"),
        ] {
            let words = describe(start);
            assert!(words.starts_with(found), "{words}");
        }
    }
}
