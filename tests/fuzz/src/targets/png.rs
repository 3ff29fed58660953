//! PNG text: two bytes are width and height, the rest is metadata, a line a key and its value.

use std::io::Cursor;

use turbo_wire::Metadata;

/// Writes a picture, and reads it with an ordinary reader.
pub(super) fn run(input: &[u8]) {
    let Some((sides, rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    let [width, height] = sides.map(|side| u32::from(side % 8) + 1);
    let text = String::from_utf8_lossy(rest);
    let metadata: Metadata = text
        .split('\n')
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let count = (width * height * 3) as usize;
    let pixels: Vec<u8> = rest
        .iter()
        .copied()
        .chain(std::iter::repeat(7))
        .take(count)
        .collect();
    let row = u64::from(sides[0]);
    let (bytes, text) = to_png::fuzz::png(&metadata, row, (width, height), &pixels);

    let mut reader = png::Decoder::new(Cursor::new(&bytes))
        .read_info()
        .expect("a PNG");
    let mut seen = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut seen).expect("a PNG");
    reader.finish().expect("whole");
    assert_eq!((info.width, info.height), (width, height));
    assert_eq!(seen, pixels);
    let info = reader.info();
    for (keyword, text) in text {
        // PNG text cannot hold NUL.
        let text = text.replace('\0', "\u{fffd}");
        let latin = &info.uncompressed_latin1_text;
        let utf8 = &info.utf8_text;
        let found = if text.is_ascii() {
            latin
                .iter()
                .find(|chunk| chunk.keyword == keyword)
                .map(|chunk| chunk.text.clone())
        } else {
            let chunk = utf8.iter().find(|chunk| chunk.keyword == keyword);
            chunk.map(|chunk| chunk.get_text().expect("UTF-8"))
        };
        assert_eq!(found, Some(text));
        assert!(latin.iter().all(|chunk| chunk.text.is_ascii()));
    }
}
