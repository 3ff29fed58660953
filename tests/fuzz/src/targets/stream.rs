//! The reader of frames.

use std::cell::Cell;
use std::io::{self, Read};

use safetensors::SafeTensors;
use turbo_wire::{Error, Frame, FrameReader, FrameWriter, Limits};

/// Bytes that a reader may allocate in all for each byte that came, and beside. An array of zeros in the metadata takes
/// a value of 32 bytes for two of text, and vectors grow by doubling. Beside: the first piece is reserved before it
/// comes, once for the header and once for the body.
const PER_BYTE: usize = 160;
const BESIDE: usize = 300 << 10;

/// Reads, checks, writes.
pub(super) fn run(input: &[u8]) {
    let before = allocated();
    let (frames, error, offset) = read_all(input);
    let allocated = allocated() - before;
    let allowed = PER_BYTE * input.len() + BESIDE * (frames.len() + 1);
    assert!(
        allocated <= allowed,
        "{allocated} bytes allocated for {}",
        input.len()
    );
    assert!(offset <= input.len() as u64);
    if let Some(error) = &error {
        assert_eq!(error.frame(), Some(frames.len() as u64), "{error}");
        assert!(error.byte().is_some_and(|byte| byte <= offset), "{error}");
        let text = error.to_string();
        assert!(
            text.len() < 8000 && !text.contains(|c: char| c.is_control()),
            "{text:?}"
        );
    } else {
        assert_eq!(offset, input.len() as u64);
    }

    // The reference reader agrees, and what was read is written as it was.
    let mut begin = 0;
    let mut written = Vec::new();
    let mut writer = FrameWriter::new(&mut written);
    for frame in &frames {
        let end = begin + frame.header.encoded().len() + frame.body().len();
        let file =
            SafeTensors::deserialize(&input[begin..end]).expect("the safetensors crate takes it");
        assert_eq!(file.len(), frame.header.tensors().len());
        for (spec, bytes) in frame.tensors() {
            let view = file.tensor(&spec.name).expect("the same tensors");
            assert_eq!((view.dtype(), view.shape()), (spec.dtype, &spec.shape[..]));
            assert_eq!(view.data(), bytes);
        }
        writer.write_frame(frame).expect("a Vec takes everything");
        begin = end;
    }
    assert!(written == input[..begin]);

    // In other pieces it is the same.
    let size = 1 + input.len() % 7;
    let pieces = Pieces {
        input: Cell::new(input),
        size,
    };
    let (again, error_again, _) = read_all(pieces);
    assert!(again == frames);
    assert_eq!(
        error_again.map(|error| error.to_string()),
        error.map(|error| error.to_string())
    );
}

fn read_all(input: impl Read) -> (Vec<Frame>, Option<Error>, u64) {
    let mut reader = FrameReader::new(input, Limits::default());
    let mut frames = Vec::new();
    let error = loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    (frames, error, reader.offset())
}

/// Bytes that this program has allocated so far; nothing where the runner does not count.
pub(super) fn allocated() -> usize {
    stats_alloc::INSTRUMENTED_SYSTEM.stats().bytes_allocated
}

/// An input that comes in small pieces.
struct Pieces<'a> {
    input: Cell<&'a [u8]>,
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut input = self.input.get();
        let size = self.size.min(buffer.len());
        let count = input.read(&mut buffer[..size])?;
        self.input.set(input);
        Ok(count)
    }
}
