//! Columns, and numbers in them.

use std::fmt::Write;

/// Cells up to so many characters get a column as wide as they need. A longer one stands out of its column: else one
/// long key would make each of many lines as long.
const WIDEST: usize = 40;

/// Rows with their columns one under the other, the last as long as it is.
pub(crate) fn lines(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            let counts = rows.iter().map(|r| r[c].chars().count());
            counts.max().unwrap_or(0).min(WIDEST)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "  {cell:<width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A number to five significant digits.
pub(crate) fn number(x: f64) -> String {
    if !x.is_finite() {
        return x.to_string();
    }
    let magnitude = x.abs();
    if magnitude != 0.0 && !(1e-4..1e7).contains(&magnitude) {
        return format!("{x:.4e}");
    }
    // Digits before the point; below 1, less than none by the zeros behind it.
    let before = if magnitude == 0.0 {
        0
    } else {
        magnitude.log10().floor() as i32
    };
    let text = format!("{x:.*}", usize::try_from(4 - before).unwrap_or(0));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_makes_no_other_line_longer() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let long = "k".repeat(1000);
        let mut text = String::new();
        lines(
            &mut text,
            &[row([&long, "a"]), row(["key", "b"]), row(["", "c"])],
        );
        let expected = [
            format!("  {long}  a"),
            format!("  key{}  b", " ".repeat(37)),
            format!("  {}  c", " ".repeat(40)),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn numbers_are_short() {
        for (x, text) in [
            (0.0, "0"),
            (255.0, "255"),
            (127.345_678, "127.35"),
            (-0.5, "-0.5"),
            (1_234_567.8, "1234568"),
            (1e7, "1.0000e7"),
            (0.000_012_345_6, "1.2346e-5"),
            (-1e300, "-1.0000e300"),
            (0.005_401_24, "0.0054012"),
            (-0.5, "-0.5"),
            (9.999_999, "10"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(x), text);
        }
    }
}
