//! Lines of text, one at a time.

use std::io::{BufRead, Read};
use turbo_cli::Error;
use turbo_stage::Fault;

/// The longest line: 1,000 times what the encoders read, and well below the cap on a frame's header, in which the
/// prompt travels.
pub(crate) const MAX_BYTES: usize = 256 << 10;

/// U+FEFF in UTF-8: no part of the text behind it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The error of a prompt or line of more than [`MAX_BYTES`].
pub(crate) fn too_long(what: &str) -> Error {
    Error::new(format_args!(
        "{what}: expected at most {MAX_BYTES} bytes, found more"
    ))
}

/// Lines, less the blank ones. Memory does not grow beyond the longest line that is allowed.
pub(crate) struct Lines<R> {
    input: R,
    /// Stands before a line's number in errors.
    place: &'static str,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Nothing has been read yet. `place` stands before the number of a line in errors, such as `stdin: `.
    pub(crate) fn new(input: R, place: &'static str) -> Self {
        Self {
            input,
            place,
            number: 0,
        }
    }

    /// Where the line is that was given last.
    pub(crate) fn place(&self) -> String {
        format!("{}line {}", self.place, self.number)
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// [`Fault::Item`] for a line that is too long or no UTF-8 text, [`Fault::Run`] where the input fails or is UTF-16.
    pub(crate) fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            let mut line = Vec::new();
            let limit = MAX_BYTES as u64 + 1;
            if self
                .input
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut line)
                .map_err(ended)?
                == 0
            {
                return Ok(None);
            }
            self.number += 1;
            let what = self.place();
            if self.number == 1
                && (line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]))
            {
                return Err(Fault::Run(Error::new(format_args!(
                    "{what}: expected UTF-8, found the mark of UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`"
                ))));
            }
            if line.len() > MAX_BYTES && line.last() != Some(&b'\n') {
                self.input.skip_until(b'\n').map_err(ended)?;
                return Err(Fault::Item(too_long(&what)));
            }
            if let Some(byte) = line.iter().position(|&byte| byte == 0) {
                return Err(Fault::Item(Error::new(format_args!(
                    "{what}: expected text, found a NUL byte at {byte}; convert UTF-16 with `iconv -f UTF-16 -t \
                     UTF-8`, and a list that NUL separates with `tr '\\0' '\\n'`"
                ))));
            }
            // Some editors and shells put one at the begin of a file; files may be joined.
            if line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
            match String::from_utf8(line) {
                Err(error) => {
                    let byte = error.utf8_error().valid_up_to();
                    return Err(Fault::Item(Error::new(format_args!(
                        "{what}: expected UTF-8, found other bytes at {byte}"
                    ))));
                }
                Ok(line) if line.trim().is_empty() => {}
                Ok(mut line) => {
                    // As `BufRead::lines` does.
                    if line.ends_with('\n') {
                        line.pop();
                        if line.ends_with('\r') {
                            line.pop();
                        }
                    }
                    return Ok(Some(line));
                }
            }
        }
    }
}

fn ended(error: std::io::Error) -> Fault {
    Fault::Run(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<std::result::Result<String, String>> {
        let mut lines = Lines::new(input, "stdin: ");
        std::iter::from_fn(|| match lines.next() {
            Ok(line) => line.map(Ok),
            Err(Fault::Item(error)) => Some(Err(error.to_string())),
            Err(Fault::Run(error)) => panic!("{error}"),
        })
        .collect()
    }

    #[test]
    fn lines_without_their_ends_and_without_blank_ones() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            all(b"a\n\n  \t\r\n b c \r\nlast"),
            [ok("a"), ok(" b c "), ok("last")]
        );
        assert_eq!(all(b""), []);
        assert_eq!(all("é\r\r\n".as_bytes()), [ok("é\r")]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_line() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            all(b"\xef\xbb\xbfa\r\nb\n\xef\xbb\xbfc\n\xef\xbb\xbf\n"),
            [ok("a"), ok("b"), ok("c")]
        );
        // Within a line it is the text's own.
        assert_eq!(all("a\u{feff}".as_bytes()), [ok("a\u{feff}")]);
    }

    #[test]
    fn other_encodings_are_told_by_name() {
        let utf16: Vec<u8> = "\u{feff}ab\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for bytes in [&utf16[..], b"\xfe\xff\0a"] {
            let Err(Fault::Run(error)) = Lines::new(bytes, "stdin: ").next() else {
                panic!("it is not UTF-8")
            };
            let error = error.to_string();
            assert!(
                error.contains("line 1: expected UTF-8, found the mark of UTF-16"),
                "{error}"
            );
        }
        let without = &all(&utf16[2..])[0];
        assert!(
            without.as_ref().unwrap_err().contains("NUL byte at 1"),
            "{without:?}"
        );
        let listed = all(b"a\0b\0\nc");
        assert!(
            listed[0].as_ref().unwrap_err().contains(r"tr '\0' '\n'"),
            "{listed:?}"
        );
        assert_eq!(listed[1], Ok("c".to_owned()));
    }

    #[test]
    fn a_bad_line_does_not_spoil_the_next() {
        let mut input = b"\xff\nb\n".to_vec();
        input.resize(5 + MAX_BYTES + 10, b'x');
        input.extend(b"\nc\n");
        let lines = all(&input);
        assert_eq!(
            lines[0],
            Err("stdin: line 1: expected UTF-8, found other bytes at 0".to_owned())
        );
        assert_eq!(lines[1], Ok("b".to_owned()));
        assert_eq!(
            lines[2],
            Err("stdin: line 3: expected at most 262144 bytes, found more".to_owned())
        );
        assert_eq!(lines[3], Ok("c".to_owned()));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn the_longest_line_is_read() {
        let mut input = vec![b'x'; MAX_BYTES];
        input.extend(b"\ny");
        assert_eq!(
            all(&input)
                .into_iter()
                .map(|line| line.unwrap().len())
                .collect::<Vec<_>>(),
            [MAX_BYTES, 1]
        );
    }
}
