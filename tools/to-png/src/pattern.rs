//! File names by pattern.

use std::fmt::Write;

use turbo_cli::{Error, Result};

/// A file name with places for a picture's number and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The number, padded with zeros to so many digits.
    Number(usize),
    Id,
}

impl Pattern {
    /// Reads `%d`, `%0Nd`, `%%` and `{id}`; all else stands for itself.
    ///
    /// # Errors
    /// Any other `%`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (piece, length) = if let Some(after) = rest.strip_prefix("%%") {
                (None, rest.len() - after.len())
            } else if rest.starts_with("{id}") {
                (Some(Piece::Id), 4)
            } else if c == '%' {
                let (digits, length) = number(rest).ok_or_else(|| unknown(text, rest))?;
                (Some(Piece::Number(digits)), length)
            } else {
                (None, c.len_utf8())
            };
            match piece {
                None => plain.push(c),
                Some(piece) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                }
            }
            rest = &rest[length..];
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// Whether pictures get names of their own at all.
    pub(crate) fn is_plain(&self) -> bool {
        !self.has_id() && !self.0.iter().any(|p| matches!(p, Piece::Number(_)))
    }

    /// Whether names depend on ids, so that two may be the same.
    pub(crate) fn has_id(&self) -> bool {
        self.0.contains(&Piece::Id)
    }

    /// The name for picture `number` with this id.
    ///
    /// # Errors
    /// The pattern asks for an id and there is none, or an empty one.
    pub(crate) fn name(&self, number: u64, id: Option<&str>) -> Result<String> {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Number(digits) => {
                    let digits = *digits;
                    let _ = write!(name, "{number:0digits$}");
                }
                Piece::Id => {
                    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| {
                        Error::new(
                            "id: expected one in the metadata for {id}, found none; number the \
                             files with %04d in its place",
                        )
                    })?;
                    name.push_str(&safe(id));
                }
            }
        }
        Ok(name)
    }
}

/// Digits to pad to, and the length of the directive `text` begins with: `%d`, `%0Nd`.
fn number(text: &str) -> Option<(usize, usize)> {
    let body = text.strip_prefix('%')?;
    let (digits, _) = body.split_once('d')?;
    if digits.is_empty() {
        return Some((0, 2));
    }
    let width = digits.strip_prefix('0')?;
    let all_digits = !width.is_empty() && width.bytes().all(|b| b.is_ascii_digit());
    // 20 digits hold any number.
    let width: usize = all_digits.then(|| width.parse().ok())??;
    (1..=20)
        .contains(&width)
        .then_some((width, digits.len() + 2))
}

fn unknown(pattern: &str, rest: &str) -> Error {
    let found: String = rest.chars().take(4).collect();
    Error::usage(format_args!(
        "--output {pattern}: expected %d, %0Nd (N from 1 to 20) or %% for a percent sign, found \
         \"{found}\""
    ))
}

/// An id as part of a file name: no separators, no control characters, nothing that Windows
/// refuses, no dots in front (no `..`, no hidden file). Each such character becomes `_`.
fn safe(id: &str) -> String {
    let dots = id.len() - id.trim_start_matches('.').len();
    id.char_indices()
        .map(|(at, c)| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            c if at < dots || c.is_control() => '_',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pattern: &str, number: u64, id: Option<&str>) -> String {
        Pattern::parse(pattern).unwrap().name(number, id).unwrap()
    }

    #[test]
    fn numbers_as_printf_writes_them() {
        assert_eq!(name("out-%04d.png", 7, None), "out-0007.png");
        assert_eq!(name("%d", 12, None), "12");
        assert_eq!(name("%02d%%.png", 123, None), "123%.png");
        assert_eq!(name("ü%01dü", 5, None), "ü5ü");
    }

    #[test]
    fn ids_become_safe() {
        assert_eq!(name("a/{id}.png", 1, Some("fox")), "a/fox.png");
        assert_eq!(name("{id}", 1, Some("../../etc/x")), "___.._etc_x");
        assert_eq!(name("{id}", 1, Some(".hidden.x")), "_hidden.x");
        assert_eq!(name("{id}", 1, Some("a\0\n\x1bb\\c")), "a___b_c");
        assert_eq!(name("{id}", 1, Some("狐 %d {id}")), "狐 %d {id}");
        assert_eq!(name("{id}-%d", 3, Some("a")), "a-3");
    }

    #[test]
    fn other_braces_are_plain_and_other_percents_are_refused() {
        assert!(Pattern::parse("{x}100%%.png").unwrap().is_plain());
        assert_eq!(name("{x}100%%.png", 1, None), "{x}100%.png");
        for bad in [
            "100%.png", "%s", "%4d", "%0d", "%00d", "%099d", "%-4d", "%", "%+04d",
        ] {
            let error = Pattern::parse(bad).unwrap_err();
            assert_eq!(error.exit_status(), 2, "{bad}");
        }
    }

    #[test]
    fn a_missing_id_is_an_error() {
        let pattern = Pattern::parse("{id}.png").unwrap();
        for id in [None, Some("")] {
            let text = pattern.name(1, id).unwrap_err().to_string();
            assert!(text.contains("%04d"), "{text}");
        }
    }
}
