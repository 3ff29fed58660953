//! Untrusted text on its way to a terminal.

use std::borrow::Cow;

/// `text` with everything escaped that could steer a terminal or forge a line: control
/// characters (newline and tab too), line separators, and marks that reorder or hide what
/// follows them. Other Unicode stays as it is.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Like [`escape`], but lines stay lines: for texts of our own that quote the user.
pub(crate) fn escape_lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

pub(crate) fn is_harmful(c: char) -> bool {
    // Bidirectional controls as listed by Unicode (UAX #9), line and paragraph separator, and
    // the byte order mark.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steering_characters_are_escaped_and_others_kept() {
        assert_eq!(escape("a\x1b[31m\nb"), r"a\u{1b}[31m\nb");
        assert_eq!(escape("x\u{202e}gnp.exe"), r"x\u{202e}gnp.exe");
        assert_eq!(escape("\u{9b}0m"), r"\u{9b}0m");
        let plain = "Füchse 狐 👩\u{200d}🎨";
        assert!(matches!(escape(plain), Cow::Borrowed(s) if s == plain));
        assert_eq!(escape_lines("a\x07\nb"), "a\\u{7}\nb");
    }
}
