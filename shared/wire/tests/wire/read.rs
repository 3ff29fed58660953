//! The reader's manners beside the format: states, skipping, places, waiting.

use std::io::{self, Read};

use turbo_wire::{Error, Frame, FrameReader, Kind, Limits};

use crate::support::{Pieces, Random, latents_json, raw, write_all};

#[test]
fn headers_come_before_bodies() {
    let mut random = Random(1);
    let frames: Vec<Frame> = (0..6).map(|_| random.frame()).collect();
    let stream = write_all(&frames);
    let mut reader = FrameReader::new(stream.as_slice(), Limits::default());
    for (index, frame) in frames.iter().enumerate() {
        let header = reader.next_header().expect("reads").expect("not the end");
        assert_eq!(header, frame.header);
        assert_eq!(reader.index(), index as u64);
        assert_eq!(&reader.read_body().expect("reads"), frame);
        assert_eq!(reader.index(), index as u64);
    }
    assert!(reader.next_header().expect("reads").is_none());
    assert!(
        reader
            .next_header()
            .expect("the end stays the end")
            .is_none()
    );
    assert_eq!(reader.offset(), stream.len() as u64);
}

#[test]
fn a_body_that_nobody_reads_is_skipped() {
    let mut random = Random(2);
    let frames: Vec<Frame> = (0..6).map(|_| random.frame()).collect();
    let stream = write_all(&frames);
    let mut reader = FrameReader::new(Pieces::new(&stream, [5, 1, 70]), Limits::default());
    for (index, frame) in frames.iter().enumerate() {
        let header = reader.next_header().expect("reads").expect("not the end");
        assert_eq!(header, frame.header);
        assert_eq!(reader.index(), index as u64);
        if index % 3 == 2 {
            assert_eq!(&reader.read_body().expect("reads"), frame);
        }
    }
    assert!(reader.next_header().expect("reads").is_none());

    let cut = &write_all(&frames[..1])[..=frames[0].header.encoded().len()];
    let mut reader = FrameReader::new(cut, Limits::default());
    reader.next_header().expect("reads");
    let error = reader.next_header().expect_err("the body is cut");
    assert!(
        matches!(
            error.rule(),
            Error::Truncated {
                part: "body",
                found: 1,
                ..
            }
        ),
        "{error}"
    );
}

/// A reader takes no byte more than it needs: a consumer that asks for a header gets it though the
/// body is not there yet.
#[test]
fn nothing_is_read_ahead() {
    let (input, mut output) = io::pipe().expect("a pipe");
    let frame = raw(latents_json(), &[7; 16]);
    let header = frame.len() - 16;
    io::Write::write_all(&mut output, &frame[..header]).expect("writes");

    let mut reader = FrameReader::new(input, Limits::default());
    // Would wait for ever if it wanted a byte of the body.
    let seen = reader.next_header().expect("reads").expect("a header");
    assert_eq!(seen.kind(), Kind::Latents);
    io::Write::write_all(&mut output, &frame[header..]).expect("writes");
    let body = reader.read_body().expect("reads");
    assert_eq!(body.bytes("latents"), Some([7; 16].as_slice()));
    drop(output);
    assert!(reader.next_frame().expect("reads").is_none());
}

/// Gives its bytes, then fails.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::other("the disk is on fire"));
        }
        self.0.read(buffer)
    }
}

#[test]
fn an_input_that_fails_is_told_from_one_that_ends() {
    let stream = [raw(latents_json(), &[0; 16]), raw(latents_json(), &[0; 16])].concat();
    for cut in 0..=stream.len() {
        let mut reader = FrameReader::new(Failing(&stream[..cut]), Limits::default());
        let error = loop {
            match reader.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("byte {cut}: a failure was taken for the end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.byte(), Some(cut as u64));
        assert!(matches!(error.rule(), Error::Read(_)), "{error}");
        assert_eq!(
            error.io().map(ToString::to_string),
            Some("the disk is on fire".into())
        );
    }
}

#[test]
fn an_error_spends_the_reader() {
    let stream = [raw("[]", &[]), raw(latents_json(), &[0; 16])].concat();
    let mut reader = FrameReader::new(stream.as_slice(), Limits::default());
    assert!(matches!(
        reader.next_frame().expect_err("no object").rule(),
        Error::HeaderStart { found: b'[', .. }
    ));
    // Least of all does it end as if all were well.
    for _ in 0..2 {
        let error = reader.next_frame().expect_err("spent");
        assert!(matches!(error.rule(), Error::Order(_)), "{error}");
        assert!(reader.read_body().is_err());
    }
}

#[test]
fn a_body_needs_a_header() {
    let stream = raw(latents_json(), &[0; 16]);
    let mut reader = FrameReader::new(stream.as_slice(), Limits::default());
    let error = reader.read_body().expect_err("no header yet");
    assert!(matches!(error.rule(), Error::Order(_)), "{error}");
}

#[test]
fn another_kind_is_refused_before_its_body() {
    // The body is missing; the kind is what is reported.
    let stream = raw(latents_json(), &[]);
    let mut reader = FrameReader::new(stream.as_slice(), Limits::default()).expect(Kind::Image);
    let error = reader.next_frame().err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some(
            "frame 0, byte 8: expected kind \"image\", found \"latents\" \
             (is decode-latents missing from the pipe?)"
        )
    );
    let mut reader = FrameReader::new(stream.as_slice(), Limits::default()).expect(Kind::Latents);
    assert!(reader.next_header().is_ok());
}
