//! File names by pattern: what `to-png -o` writes, and what `encode-text --skip-existing` looks for.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::PathBuf;

use crate::escape::is_harmful;
use crate::{Error, Result};

/// A file name with places for a picture's number and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The number, padded with zeros to so many digits.
    Number(usize),
    Id,
}

impl Pattern {
    /// Reads `%d`, `%0Nd`, `%%` and `{id}`; all else stands for itself. `flag` names the flag in errors.
    ///
    /// # Errors
    /// Any other `%`.
    pub fn parse(text: &str, flag: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (piece, length) = if let Some(after) = rest.strip_prefix("%%") {
                (None, rest.len() - after.len())
            } else if rest.starts_with("{id}") {
                (Some(Piece::Id), 4)
            } else if c == '%' {
                let (digits, length) = number(rest).ok_or_else(|| unknown(flag, text, rest))?;
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

    /// Whether all pictures get the same name.
    pub fn is_plain(&self) -> bool {
        !self.has_id() && !self.has_number()
    }

    fn has_id(&self) -> bool {
        self.0.contains(&Piece::Id)
    }

    fn has_number(&self) -> bool {
        self.0.iter().any(|p| matches!(p, Piece::Number(_)))
    }

    /// The name for picture `number` (from 1) with this id. Of the id, whatever a file name should not have becomes
    /// `_`: see [`Names`].
    ///
    /// # Errors
    /// The pattern asks for an id and there is none, or an empty one.
    pub fn name(&self, number: u64, id: Option<&str>) -> Result<String> {
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
                             files with %04d in its place, or give each record an \"id\" \
                             (encode-text --jsonl)",
                        )
                    })?;
                    name.push_str(&safe(id));
                }
            }
        }
        Ok(name)
    }
}

/// The names that one run gives: no two pictures get the same.
#[derive(Clone, Debug)]
pub struct Names {
    pattern: Pattern,
    /// Grows with the names given, where these do not differ by themselves.
    given: HashSet<String>,
    /// The highest number that was counted, of which no name is kept.
    counted: u64,
}

impl Names {
    /// No name has been given yet.
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            given: HashSet::new(),
            counted: 0,
        }
    }

    /// Whether there are ids in the names.
    pub fn have_ids(&self) -> bool {
        self.pattern.has_id()
    }

    /// The name that a picture would get.
    ///
    /// # Errors
    /// Those of [`Pattern::name`].
    pub fn look(&self, number: u64, id: Option<&str>) -> Result<String> {
        self.pattern.name(number, id)
    }

    /// The next picture's file. `counted` says that the number is higher than all counted ones before; a number that
    /// comes from elsewhere may be any.
    ///
    /// # Errors
    /// Those of [`Pattern::name`]; the name has been given already.
    pub fn next(&mut self, number: u64, counted: bool, id: Option<&str>) -> Result<PathBuf> {
        let name = self.look(number, id)?;
        let by_number = self.pattern.has_number() && !self.pattern.has_id();
        let taken = if by_number && counted {
            self.counted = number;
            self.given.contains(&name)
        } else {
            by_number && number <= self.counted || !self.given.insert(name.clone())
        };
        if taken {
            return Err(Error::new(format_args!(
                "{name}: expected a new name for each picture, found it taken by an earlier one; \
                 give the records ids of their own, or add %04d to the pattern"
            )));
        }
        Ok(PathBuf::from(name))
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

fn unknown(flag: &str, pattern: &str, rest: &str) -> Error {
    let found: String = rest.chars().take(4).collect();
    Error::usage(format_args!(
        "{flag} {pattern}: expected %d, %0Nd (N from 1 to 20) or %% for a percent sign, found \
         \"{found}\""
    ))
}

/// Names that Windows keeps for devices, whatever ending they have.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// An id as part of a file name: no separators, no control characters nor marks that reorder or
/// hide text, nothing that Windows refuses, no dots in front (no `..`, no hidden file). Each such
/// character becomes `_`; a name that Windows keeps for a device gets one in front.
fn safe(id: &str) -> String {
    let dots = id.len() - id.trim_start_matches('.').len();
    let name: String = id
        .char_indices()
        .map(|(at, c)| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            c if at < dots || is_harmful(c) => '_',
            c => c,
        })
        .collect();
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_lowercase();
    let port = |kind| {
        let number: Option<&str> = stem.strip_prefix(kind);
        number
            .is_some_and(|n| matches!(n.as_bytes(), [b'0'..=b'9']) || ["¹", "²", "³"].contains(&n))
    };
    if DEVICES.contains(&&stem[..]) || port("com") || port("lpt") {
        format!("_{name}")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, "--output").unwrap()
    }

    fn name(text: &str, number: u64, id: Option<&str>) -> String {
        pattern(text).name(number, id).unwrap()
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
        assert_eq!(name("{id}", 1, Some("x\u{202e}gnp.exe")), "x_gnp.exe");
        assert_eq!(name("{id}", 1, Some("fo\u{200b}x")), "fo_x");
        assert_eq!(name("{id}", 1, Some("狐 %d {id}")), "狐 %d {id}");
        assert_eq!(name("{id}-%d", 3, Some("a")), "a-3");
    }

    #[test]
    fn names_of_devices_are_kept_for_them() {
        for id in ["con", "NUL", "Com1", "lpt9", "aux.x", "COM²", "prn "] {
            assert_eq!(name("{id}.png", 1, Some(id)), format!("_{id}.png"));
        }
        for id in ["icon", "console", "com", "com10", "lpt", "null", "x.con"] {
            assert_eq!(name("{id}.png", 1, Some(id)), format!("{id}.png"));
        }
    }

    #[test]
    fn other_braces_are_plain_and_other_percents_are_refused() {
        assert!(pattern("{x}100%%.png").is_plain());
        assert_eq!(name("{x}100%%.png", 1, None), "{x}100%.png");
        for bad in [
            "100%.png", "%s", "%4d", "%0d", "%00d", "%099d", "%-4d", "%", "%+04d",
        ] {
            let error = Pattern::parse(bad, "--output").unwrap_err();
            assert_eq!(error.exit_status(), 2, "{bad}");
        }
    }

    #[test]
    fn a_missing_id_is_an_error_that_says_what_to_do() {
        for id in [None, Some("")] {
            let text = pattern("{id}.png").name(1, id).unwrap_err().to_string();
            assert!(text.contains("%04d") && text.contains("--jsonl"), "{text}");
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names = Names::new(pattern("{id}.png"));
        assert!(names.next(1, true, Some("a/b")).is_ok());
        let text = names.next(2, true, Some("a_b")).unwrap_err().to_string();
        assert!(text.starts_with("a_b.png: expected a new name"), "{text}");

        let mut names = Names::new(pattern("%d.png"));
        assert!(names.next(1, false, None).is_ok());
        assert!(names.next(1, false, None).is_err());
        // Counted numbers cost no memory, and are known all the same.
        assert!(names.next(2, true, None).is_ok());
        assert_eq!(names.given.len(), 1);
        assert!(names.next(2, false, None).is_err());
        assert!(names.next(9, false, None).is_ok());
        assert!(names.next(9, true, None).is_err());

        let mut names = Names::new(pattern("a.png"));
        assert!(names.next(1, true, None).is_ok());
        assert!(names.next(2, true, None).is_err());
    }
}
