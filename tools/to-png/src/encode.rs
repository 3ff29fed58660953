//! Pixels to PNG bytes.

use png::{BitDepth, ColorType, Compression, Encoder};
use turbo_cli::{Context, Result};

/// A PNG of 8-bit RGB `pixels` (rows from the top, `3 * width * height` bytes), with a text chunk
/// for each keyword and text. The same input gives the same bytes.
///
/// A text is a tEXt chunk where Latin-1 holds it and an iTXt chunk (UTF-8) otherwise, as Pillow
/// does and readers of `parameters` expect.
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
        if text.chars().all(|c| u32::from(c) <= 0xff) {
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
