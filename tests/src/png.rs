//! Pictures, as an ordinary reader of PNG sees them.

use std::collections::BTreeMap;
use std::io::Cursor;

/// A picture in RGB, 8 bits each.
#[derive(Clone, Debug)]
pub struct Picture {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// Row by row from the top left.
    pub pixels: Vec<u8>,
    /// Text by keyword.
    pub text: BTreeMap<String, String>,
}

/// Pictures back to back.
///
/// # Panics
/// If it is anything else.
pub fn pictures(mut bytes: &[u8]) -> Vec<Picture> {
    let mut pictures = Vec::new();
    while !bytes.is_empty() {
        let (one, rest) = bytes.split_at(length(bytes));
        pictures.push(decode(one));
        bytes = rest;
    }
    pictures
}

/// Length of the first PNG: its signature and chunks, each of which tells its length, up to IEND.
fn length(bytes: &[u8]) -> usize {
    let mut at = 8;
    loop {
        let chunk = bytes.get(at..at + 8).expect("a PNG ends with IEND");
        let body = u32::from_be_bytes(*chunk.first_chunk().expect("four bytes")) as usize;
        at += 12 + body;
        if &chunk[4..] == b"IEND" {
            return at;
        }
    }
}

fn decode(bytes: &[u8]) -> Picture {
    let mut reader = png::Decoder::new(Cursor::new(bytes))
        .read_info()
        .expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size that fits")];
    let info = reader.next_frame(&mut pixels).expect("a PNG");
    assert_eq!(
        (info.color_type, info.bit_depth),
        (png::ColorType::Rgb, png::BitDepth::Eight)
    );
    let latin = &reader.info().uncompressed_latin1_text;
    let mut text: BTreeMap<_, _> = latin
        .iter()
        .map(|chunk| (chunk.keyword.clone(), chunk.text.clone()))
        .collect();
    for chunk in &reader.info().utf8_text {
        text.insert(chunk.keyword.clone(), chunk.get_text().expect("UTF-8"));
    }
    Picture {
        width: info.width as usize,
        height: info.height as usize,
        pixels,
        text,
    }
}

/// The share of pixels of which some channel is off by more than one step of 255.
///
/// # Panics
/// If the sizes differ.
pub fn share_off_by_more_than_one(ours: &[u8], expected: &[u8]) -> f64 {
    assert_eq!(ours.len(), expected.len());
    let off = |(a, b): (&[u8], &[u8])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 1);
    let count = ours
        .chunks(3)
        .zip(expected.chunks(3))
        .filter(|pair| off(*pair))
        .count();
    count as f64 / (ours.len() / 3) as f64
}
