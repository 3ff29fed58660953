//! PNG files within escape sequences: kitty's and iTerm2's protocols.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most bytes of base64 that kitty takes in one sequence.
const CHUNK: usize = 4096;

/// <https://sw.kovidgoyal.net/kitty/graphics-protocol/>: transmit and show (`a=T`) a PNG (`f=100`) in pieces, of which
/// all but the last have `m=1`. With `q=2` the terminal does not answer, which would be read as typed.
pub(crate) fn kitty(png: &[u8]) -> String {
    let data = STANDARD.encode(png);
    let mut text = String::new();
    let mut control = "a=T,f=100,q=2,";
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(CHUNK));
        let more = u8::from(!after.is_empty());
        let _ = write!(text, "\x1b_G{control}m={more};{piece}\x1b\\");
        (control, rest) = ("", after);
    }
    text.push('\n');
    text
}

/// <https://iterm2.com/documentation-images.html>: a file shown in place.
pub(crate) fn iterm2(png: &[u8]) -> String {
    let (size, data) = (png.len(), STANDARD.encode(png));
    format!("\x1b]1337;File=inline=1;size={size};preserveAspectRatio=1:{data}\x07\n")
}
