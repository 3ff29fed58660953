//! Brackets, weights and `BREAK`: from a prompt to pieces of text.
//!
//! - `(text)` multiplies the weight by 1.1, `[text]` divides it by 1.1, `(text:1.3)` multiplies it by the number. They
//!   nest. What is open at the end holds to the end. `[text:1.3]` has no number, its colon is text. A closing bracket
//!   that closes nothing is text.
//! - `\(`, `\)`, `\[`, `\]` and `\\` are the characters themselves.
//! - `BREAK` as a word of its own ends a chunk, inside brackets and outside.

/// What `(` multiplies by and `[` divides by.
const STEP: f64 = 1.1;

/// The word that ends a chunk.
const BREAK: &str = "BREAK";

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text, never empty, with one weight.
    Text {
        /// What is tokenized by itself.
        text: String,
        /// 1 outside of brackets.
        weight: f32,
    },
    /// The end of a chunk.
    Break,
}

/// Takes a prompt apart.
pub fn pieces(prompt: &str) -> Vec<Piece> {
    let scan = Scan::of(prompt);
    let (mut pieces, mut weights) = (Vec::new(), vec![1.0]);
    for mark in scan.marks {
        match mark {
            Mark::Open(bracket) => {
                let outside: f64 = weights.last().copied().unwrap_or(1.0);
                weights.push(outside * scan.factors[bracket]);
            }
            Mark::Close => {
                weights.pop();
            }
            Mark::Text(text) => {
                let weight = weights.last().copied().unwrap_or(1.0) as f32;
                for (n, text) in split_at_breaks(&text).into_iter().enumerate() {
                    if n > 0 {
                        pieces.push(Piece::Break);
                    }
                    if !text.is_empty() {
                        let text = text.to_owned();
                        pieces.push(Piece::Text { text, weight });
                    }
                }
            }
        }
    }
    pieces
}

/// Text and the brackets around it, in their order.
enum Mark {
    Text(String),
    /// The bracket with this number.
    Open(usize),
    /// The bracket that was opened last.
    Close,
}

/// A prompt's marks. A bracket's factor is known where the bracket closes, and so stands beside them.
#[derive(Default)]
struct Scan {
    marks: Vec<Mark>,
    /// By the bracket's number.
    factors: Vec<f64>,
    /// Which brackets are open: number and character.
    open: Vec<(usize, char)>,
    text: String,
}

impl Scan {
    fn of(prompt: &str) -> Self {
        let mut scan = Self::default();
        let mut rest = prompt;
        while let Some(c) = rest.chars().next() {
            let used = scan.take(c, rest);
            rest = &rest[used..];
        }
        scan.end_text();
        scan
    }

    /// Takes what `rest` begins with, `c` or more. Gives its length in bytes.
    fn take(&mut self, c: char, rest: &str) -> usize {
        let inside = self.open.last().map(|&(_, bracket)| bracket);
        match (c, inside) {
            ('\\', _) if rest[1..].starts_with(['(', ')', '[', ']', '\\']) => {
                self.text.push_str(&rest[1..2]);
                return 2;
            }
            ('(' | '[', _) => self.open(c),
            (')', Some('(')) | (']', Some('[')) => self.close(None),
            (':', Some('(')) => {
                if let Some((number, length)) = weight_and_bracket(rest) {
                    self.close(Some(number));
                    return length;
                }
                self.text.push(c);
            }
            _ => self.text.push(c),
        }
        c.len_utf8()
    }

    fn open(&mut self, bracket: char) {
        self.end_text();
        let number = self.factors.len();
        let factor = if bracket == '(' { STEP } else { 1.0 / STEP };
        self.factors.push(factor);
        self.open.push((number, bracket));
        self.marks.push(Mark::Open(number));
    }

    /// Closes the bracket that was opened last, and gives it another factor if the prompt has one.
    fn close(&mut self, factor: Option<f64>) {
        self.end_text();
        if let Some((number, _)) = self.open.pop() {
            if let Some(factor) = factor {
                self.factors[number] = factor;
            }
            self.marks.push(Mark::Close);
        }
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.marks.push(Mark::Text(std::mem::take(&mut self.text)));
        }
    }
}

/// The number of `:1.3)` and the length of all of it, white space around the number included.
fn weight_and_bracket(rest: &str) -> Option<(f64, usize)> {
    let number = rest.strip_prefix(':')?.trim_start();
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let after = unsigned[end..].trim_start().strip_prefix(')')?;
    let number = &number[..number.len() - unsigned[end..].len()];
    Some((number.parse().ok()?, rest.len() - after.len()))
}

/// Splits text at each `BREAK` that is a word of its own.
fn split_at_breaks(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, word) in text.match_indices(BREAK) {
        let end = at + word.len();
        let joined = text[..at].ends_with(is_word) || text[end..].starts_with(is_word);
        if !joined {
            parts.push(&text[from..at]);
            from = end;
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(prompt: &str) -> Vec<(String, f32)> {
        let pieces = pieces(prompt).into_iter().map(|piece| match piece {
            Piece::Text { text, weight } => (text, (weight * 1000.0).round() / 1000.0),
            Piece::Break => (BREAK.to_owned(), 0.0),
        });
        pieces.collect()
    }

    fn expect(prompt: &str, expected: &[(&str, f32)]) {
        let expected: Vec<_> = expected.iter().map(|&(t, w)| (t.to_owned(), w)).collect();
        assert_eq!(found(prompt), expected, "{prompt:?}");
    }

    #[test]
    fn brackets_multiply_and_nest() {
        expect("", &[]);
        expect("()[]", &[]);
        expect("a red fox", &[("a red fox", 1.0)]);
        expect(
            "a (red:1.4) [old] ((fox))",
            &[
                ("a ", 1.0),
                ("red", 1.4),
                (" ", 1.0),
                ("old", 0.909),
                (" ", 1.0),
                ("fox", 1.21),
            ],
        );
        expect("(a (b:1.5) c:0.8)", &[("a ", 0.8), ("b", 1.2), (" c", 0.8)]);
        expect("([a])", &[("a", 1.0)]);
        expect(
            "(a:-0.5)(b:+2)(c: .5 )(d:3.)",
            &[("a", -0.5), ("b", 2.0), ("c", 0.5), ("d", 3.0)],
        );
    }

    #[test]
    fn what_is_open_holds_to_the_end_and_strays_are_text() {
        expect("a (b [c", &[("a ", 1.0), ("b ", 1.1), ("c", 1.0)]);
        expect("a) ] b:2)", &[("a) ] b:2)", 1.0)]);
        expect("(a ] b)", &[("a ] b", 1.1)]);
        expect("[a ) b]", &[("a ) b", 0.909)]);
        expect("[a:2.0]", &[("a:2.0", 0.909)]);
        expect("[a:2.0)]", &[("a:2.0)", 0.909)]);
    }

    #[test]
    fn what_is_no_number_is_text() {
        for text in ["a:1.2.3", "a:.", "a:", "a:b", "a:1e3", "a:--1", "a:1 2"] {
            expect(&format!("({text})"), &[(text, 1.1)]);
        }
    }

    #[test]
    fn a_backslash_frees_a_bracket_from_its_meaning() {
        expect(r"\(a\) \[b\] \\", &[(r"(a) [b] \", 1.0)]);
        expect(r"(a \(b\):2)", &[("a (b)", 2.0)]);
        expect(r"\a \", &[(r"\a \", 1.0)]);
        expect(r"(a\:2)", &[(r"a\", 2.0)]);
    }

    #[test]
    fn break_is_a_word_of_its_own() {
        expect("a BREAK b", &[("a ", 1.0), (BREAK, 0.0), (" b", 1.0)]);
        expect("(a BREAK b:2)", &[("a ", 2.0), (BREAK, 0.0), (" b", 2.0)]);
        expect("BREAK BREAK", &[(BREAK, 0.0), (" ", 1.0), (BREAK, 0.0)]);
        expect("a,BREAK.", &[("a,", 1.0), (BREAK, 0.0), (".", 1.0)]);
        for text in [
            "BREAKS",
            "_BREAK",
            "éBREAK",
            "break",
            "BREAKBREAK",
            "BREAK1",
        ] {
            expect(text, &[(text, 1.0)]);
        }
    }

    #[test]
    fn a_million_brackets_take_no_time() {
        let prompt = "(a".repeat(500_000);
        let pieces = pieces(&prompt);
        assert_eq!(pieces.len(), 500_000);
        let Some(Piece::Text { weight, .. }) = pieces.last() else {
            panic!("expected text at the end")
        };
        assert!(weight.is_infinite());
    }
}
