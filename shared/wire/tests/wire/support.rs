//! Frames, made without the crate under test where that matters, and awkward inputs.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

use turbo_wire::{Dtype, Error, Frame, FrameReader, FrameWriter, Header, Kind, Limits, Metadata};
use turbo_wire::{TensorSpec, names};

/// A frame of a header's text and a body, as they are.
pub(crate) fn raw(json: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The header text of a correct `latents` frame with a body of 16 bytes.
pub(crate) fn latents_json() -> &'static str {
    r#"{"latents":{"dtype":"F32","shape":[1,4,1,1],"data_offsets":[0,16]}}"#
}

pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Reads all frames.
pub(crate) fn read_all(input: impl Read) -> Result<Vec<Frame>, Error> {
    let mut reader = FrameReader::new(input, Limits::default());
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

pub(crate) fn write_all(frames: &[Frame]) -> Vec<u8> {
    let mut writer = FrameWriter::new(Vec::new());
    for frame in frames {
        writer.write_frame(frame).expect("a Vec takes everything");
    }
    writer.into_inner()
}

/// Lower-case hexadecimal, two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// Gives its bytes in pieces of the given sizes, round and round, and says `Interrupted` before
/// each.
pub(crate) struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: VecDeque<usize>,
    interrupt: bool,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(bytes: &'a [u8], sizes: impl Into<VecDeque<usize>>) -> Self {
        Self {
            bytes,
            sizes: sizes.into(),
            interrupt: true,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.interrupt, false) {
            return Err(ErrorKind::Interrupted.into());
        }
        self.interrupt = true;
        self.sizes.rotate_left(1);
        let count = self.sizes[0].min(buffer.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.bytes = rest;
        Ok(count)
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// A text with quotes, control characters and characters of two to four bytes.
    pub(crate) fn text(&mut self) -> String {
        const LETTERS: [char; 14] = [
            'a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\0', '\u{7f}', 'ß', '狐', '🦊', '\u{2028}',
        ];
        (0..self.below(12))
            .map(|_| LETTERS[self.below(LETTERS.len())])
            .collect()
    }

    /// A correct frame of any kind.
    pub(crate) fn frame(&mut self) -> Frame {
        const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];
        let float = FLOATS[self.below(3)];
        let [b, h, w, d] = [(); 4].map(|()| 1 + self.below(5));
        let kind = Kind::ALL[self.below(3)];
        let mut specs = match kind {
            Kind::Latents => vec![TensorSpec::new(names::LATENTS, float, &[b, 4, h, w])],
            Kind::Image => vec![TensorSpec::new(names::IMAGE, Dtype::U8, &[b, h, w, 3])],
            Kind::TextEmbeddings => vec![
                TensorSpec::new(names::PROMPT_EMBEDS, float, &[b, h, d]),
                TensorSpec::new(names::POOLED_PROMPT_EMBEDS, FLOATS[self.below(3)], &[b, w]),
            ],
        };
        if kind == Kind::TextEmbeddings && self.below(2) == 0 {
            for (name, like) in [
                (names::NEGATIVE_PROMPT_EMBEDS, 0),
                (names::NEGATIVE_POOLED_PROMPT_EMBEDS, 1),
            ] {
                let shape = specs[like].shape.clone();
                specs.push(TensorSpec::new(name, FLOATS[self.below(3)], &shape));
            }
        }
        for index in 0..self.below(3) {
            const OTHERS: [Dtype; 4] = [Dtype::U8, Dtype::I64, Dtype::BOOL, Dtype::F64];
            let name = format!("{index}{}", self.text());
            // Scalars and empty tensors too.
            let shape: Vec<usize> = (0..self.below(4)).map(|_| self.below(4)).collect();
            specs.push(TensorSpec::new(&name, OTHERS[self.below(4)], &shape));
        }
        let metadata: Metadata = (0..self.below(6))
            .map(|index| (format!("{index}{}", self.text()), self.text()))
            .collect();
        let header = Header::new(kind, specs, metadata).expect("a correct header");
        let bodies: Vec<(String, Vec<u8>)> = header
            .tensors()
            .iter()
            .map(|spec| {
                (
                    spec.name.clone(),
                    self.bytes(spec.byte_len().expect("small")),
                )
            })
            .collect();
        let bodies: Vec<(&str, &[u8])> = bodies
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        Frame::new(header, &bodies).expect("a correct frame")
    }
}
