//! Untrusted text on its way to a terminal.

use std::borrow::Cow;
use std::fmt::Write;

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

/// JSON text with the same characters escaped as JSON does it. They can stand inside strings only, so that a reader of
/// the JSON sees no difference.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_harmful) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if is_harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a character steers a terminal, forges a line, reorders text or is not seen. Joiners, which are not seen
/// either, are part of words and pictures, and so are variation selectors.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        // Bidirectional controls as listed by Unicode (UAX #9), line and paragraph separator.
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        // Invisible: those of Unicode's Default_Ignorable_Code_Point that are assigned, but for joiners (U+34F, U+200C,
        // U+200D) and variation selectors; and the fillers and marks of interlinear annotation.
        || matches!(c, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e00ff}')
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

    #[test]
    fn what_is_not_seen_is_escaped_unless_it_joins() {
        assert_eq!(escape("a\u{200b}b\u{ad}"), r"a\u{200b}b\u{ad}");
        assert_eq!(escape("x\u{e0041}"), r"x\u{e0041}");
        for joined in [
            "می\u{200c}خواهم",
            "❤\u{fe0f}",
            "क\u{94d}\u{200d}ष",
            "e\u{301}",
        ] {
            assert!(matches!(escape(joined), Cow::Borrowed(s) if s == joined));
        }
    }

    /// Expected values by Python's `json.dumps`, whose escapes these are.
    #[test]
    fn json_stays_the_same_json() {
        let text = "a\u{7f}\u{9b}\u{202e}\u{e0041}狐\n";
        let json = serde_json::to_string(text).unwrap();
        let escaped = escape_json(&json);
        assert_eq!(escaped, r#""a\u007f\u009b\u202e\udb40\udc41狐\n""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        assert!(matches!(escape_json("{}"), Cow::Borrowed("{}")));
    }
}
