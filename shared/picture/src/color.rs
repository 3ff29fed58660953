//! Colours by name or number.

use std::fmt;
use std::str::FromStr;

/// An opaque colour: `#rrggbb`, `#rgb`, or one of the sixteen names that HTML began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

/// <https://www.w3.org/TR/css-color-4/#typedef-named-color>
const NAMES: [(&str, u32); 17] = [
    ("white", 0x00ff_ffff),
    ("black", 0),
    ("gray", 0x0080_8080),
    ("grey", 0x0080_8080),
    ("silver", 0x00c0_c0c0),
    ("red", 0x00ff_0000),
    ("maroon", 0x0080_0000),
    ("yellow", 0x00ff_ff00),
    ("olive", 0x0080_8000),
    ("lime", 0x0000_ff00),
    ("green", 0x0000_8000),
    ("aqua", 0x0000_ffff),
    ("teal", 0x0000_8080),
    ("blue", 0x0000_00ff),
    ("navy", 0x0000_0080),
    ("fuchsia", 0x00ff_00ff),
    ("purple", 0x0080_0080),
];

impl Color {
    /// What transparent pictures lie on where nobody says otherwise.
    pub const WHITE: Self = Self([255; 3]);
}

impl FromStr for Color {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let named = NAMES.iter().find(|(name, _)| *name == lower);
        let number = match (named, lower.strip_prefix('#')) {
            (Some((_, number)), _) => Some(*number),
            (None, Some(digits)) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                let number = u32::from_str_radix(digits, 16).ok();
                match digits.len() {
                    6 => number,
                    // Each digit twice.
                    3 => number.map(|n| ((n & 0xf00) << 8 | (n & 0xf0) << 4 | n & 0xf) * 0x11),
                    _ => None,
                }
            }
            _ => None,
        };
        let [_, r, g, b] = number
            .ok_or("expected a colour such as #ffcc00 or white")?
            .to_be_bytes();
        Ok(Self([r, g, b]))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_as_css_reads_them() {
        for (text, color) in [
            ("#ffcc00", [255, 204, 0]),
            ("#FC0", [255, 204, 0]),
            ("#123", [0x11, 0x22, 0x33]),
            ("White", [255; 3]),
            ("navy", [0, 0, 128]),
        ] {
            assert_eq!(text.parse(), Ok(Color(color)), "{text}");
        }
        assert_eq!(Color([255, 204, 0]).to_string(), "#ffcc00");
        for bad in [
            "", "#", "#12", "#12345", "#1234567", "ffcc00", "#ggg", "#+12", "whitish",
        ] {
            assert!(bad.parse::<Color>().is_err(), "{bad}");
        }
    }
}
