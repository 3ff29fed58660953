//! Pixels to PNG bytes.

use png::{BitDepth, ColorType, Compression, Encoder};
use turbo_cli::{Context, Result};

/// A PNG of 8-bit RGB `pixels` (rows from the top, `3 * width * height` bytes), with a text chunk
/// for each keyword and text. The same input gives the same bytes.
///
/// A text is a tEXt chunk where it is ASCII and an iTXt chunk (UTF-8) otherwise. tEXt is Latin-1 by the PNG
/// specification, but there are readers that take it for UTF-8.
pub(crate) fn png(
    width: u32,
    height: u32,
    pixels: &[u8],
    text: &[(&str, String)],
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    for (keyword, text) in text {
        let keyword = (*keyword).to_owned();
        // PNG text cannot hold NUL: its fields end in one.
        let text = text.replace('\0', "\u{fffd}");
        if text.is_ascii() {
            encoder.add_text_chunk(keyword, text)
        } else {
            encoder.add_itxt_chunk(keyword, text)
        }
        .context("png text")?;
    }
    let mut writer = encoder.write_header().context("png")?;
    writer.write_image_data(pixels).context("png")?;
    writer.finish().context("png")?;
    Ok(bytes)
}
