//! An entry's file: one frame with the tensors of one text, and what they are checked by.

use super::digest;
use crate::embeddings::Embeddings;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;
use turbo_cli::{Error, Output, Result, open_regular};
use turbo_wire::{Frame, FrameReader, FrameWriter, Kind, Limits, Metadata, names};

/// Metadata: the key that the entry is the answer to.
const KEY: &str = "cache.key";
/// Metadata: SHA-256 of all the rest.
const SUM: &str = "cache.sha256";
/// Metadata: a JSON list of how many bytes of each text found no place.
const CUT_OFF: &str = "cache.cut_off";

/// Bytes that an entry may have: a hundred times SDXL's 650 kB for 77 tokens. No more is kept, and no more is read of what
/// somebody else put there.
const LARGEST: u64 = 64 << 20;

/// Writes an entry, which appears whole or not at all. One that is too large is not kept.
pub(crate) fn write(path: &Path, key: &str, embeddings: &Embeddings) -> Result<()> {
    let cut_off = serde_json::to_string(&embeddings.cut_off)?;
    let body = [
        (names::PROMPT_EMBEDS, &embeddings.prompt_embeds[..]),
        (
            names::POOLED_PROMPT_EMBEDS,
            &embeddings.pooled_prompt_embeds,
        ),
    ];
    let metadata = |sum: String| {
        let pairs = [
            (KEY, key.to_owned()),
            (SUM, sum),
            (CUT_OFF, cut_off.clone()),
        ];
        Metadata::from(pairs.map(|(key, value)| (key.to_owned(), value)))
    };
    let header = |sum| embeddings.shape.header(false, metadata(sum));
    let frame = Frame::new(header(String::new())?, &body)?;
    let sum = checksum(key, &cut_off, &frame);
    let frame = Frame::new(header(sum)?, &body)?;
    if frame.header.encoded().len() + frame.body().len() > LARGEST as usize {
        return Ok(());
    }
    let mut writer = FrameWriter::new(Output::own_file(path)?);
    writer.write_frame(&frame)?;
    writer.into_inner().finish()
}

/// Reads an entry; none if there is none.
///
/// # Errors
/// The file is not what was written for this key.
pub(crate) fn read(path: &Path, key: &str) -> Result<Option<Embeddings>> {
    let damaged = |what: &str| Error::new(format_args!("{what} is not what was written"));
    let file = match open_regular(File::options().read(true), path) {
        // There is none, or another process made room.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let limits = Limits {
        frame_bytes: LARGEST,
        ..Limits::default()
    };
    let mut reader = FrameReader::new(BufReader::new(file), limits).expect(Kind::TextEmbeddings);
    let frame = reader
        .next_frame()?
        .ok_or_else(|| damaged("an empty file"))?;
    if reader.next_header()?.is_some() {
        return Err(damaged("what follows the frame"));
    }
    let get = |key| frame.header.get(key).unwrap_or_default();
    if get(KEY) != key {
        return Err(damaged("its key"));
    }
    if get(SUM) != checksum(key, get(CUT_OFF), &frame) {
        return Err(damaged("its content"));
    }
    let cut_off = serde_json::from_str(get(CUT_OFF))?;
    Embeddings::of_frame(&frame, cut_off)
        .map(Some)
        .ok_or_else(|| damaged("its shape"))
}

fn checksum(key: &str, cut_off: &str, frame: &Frame) -> String {
    let shapes: Vec<String> = frame
        .header
        .tensors()
        .iter()
        .map(|tensor| format!("{} {:?}", tensor.name, tensor.shape))
        .collect();
    let shapes = shapes.join(", ");
    digest::of_parts([
        key.as_bytes(),
        cut_off.as_bytes(),
        shapes.as_bytes(),
        frame.body(),
    ])
}
