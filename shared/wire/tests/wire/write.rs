//! The writer's manners.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Write};
use std::rc::Rc;

use turbo_wire::{Error, FrameWriter, Header, Metadata, f32_bytes};

use crate::support::{Random, read_all, write_all};

/// Remembers what was written, and where it was flushed.
#[derive(Clone, Default)]
struct Recorder(Rc<RefCell<(Vec<u8>, Vec<usize>)>>);

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut record = self.0.borrow_mut();
        let length = record.0.len();
        record.1.push(length);
        Ok(())
    }
}

#[test]
fn the_header_is_out_before_the_body_is_known() {
    let recorder = Recorder::default();
    let mut writer = FrameWriter::new(recorder.clone());
    let header = Header::latents(1, 2, 2, Metadata::new()).expect("correct");
    writer.write_header(&header).expect("writes");
    assert_eq!(recorder.0.borrow().0, header.encoded());
    assert_eq!(recorder.0.borrow().1, [header.encoded().len()]);

    let body = f32_bytes(&[1.0; 16]);
    writer.write_body(&[("latents", &body)]).expect("writes");
    let length = header.encoded().len();
    assert_eq!(recorder.0.borrow().1, [length, length + 64]);
    let frames = read_all(recorder.0.borrow().0.as_slice()).expect("reads");
    assert_eq!(frames[0].to_f32("latents"), Some(vec![1.0; 16]));
}

#[test]
fn bodies_may_be_given_in_any_order() {
    let header = Header::text_embeddings(1, 1, 2, 1, true, Metadata::new()).expect("correct");
    let [a, b, c, d] = [[1.0, 2.0], [3.0, 4.0], [5.0; 2], [6.0; 2]].map(|v| f32_bytes(&v));
    let mut writer = FrameWriter::new(Vec::new());
    writer.write_header(&header).expect("writes");
    writer
        .write_body(&[
            ("prompt_embeds", &a),
            ("negative_prompt_embeds", &b),
            ("pooled_prompt_embeds", &c[..4]),
            ("negative_pooled_prompt_embeds", &d[..4]),
        ])
        .expect("writes");
    let frames = read_all(writer.into_inner().as_slice()).expect("reads");
    let values = |name| frames[0].to_f32(name).expect("is there");
    assert_eq!(values("prompt_embeds"), [1.0, 2.0]);
    assert_eq!(values("negative_prompt_embeds"), [3.0, 4.0]);
    assert_eq!(values("pooled_prompt_embeds"), [5.0]);
    assert_eq!(values("negative_pooled_prompt_embeds"), [6.0]);
}

/// A body that does not fit its header leaves the stream as it was, so it can be given again.
#[test]
fn a_wrong_body_writes_nothing() {
    let header = Header::latents(1, 1, 1, Metadata::new()).expect("correct");
    let mut writer = FrameWriter::new(Vec::new());
    writer.write_header(&header).expect("writes");
    for wrong in [
        &[("latents", [0; 15].as_slice())][..],
        &[("latent", [0; 16].as_slice())],
        &[("latents", [0; 16].as_slice()), ("latents", &[0; 16])],
        &[],
    ] {
        writer.write_body(wrong).expect_err("does not fit");
    }
    writer.write_body(&[("latents", &[9; 16])]).expect("fits");
    let bytes = writer.into_inner();
    assert_eq!(bytes.len(), header.encoded().len() + 16);
    assert_eq!(read_all(bytes.as_slice()).expect("reads").len(), 1);
}

#[test]
fn a_writer_used_out_of_order_says_so() {
    let header = Header::latents(1, 1, 1, Metadata::new()).expect("correct");
    let mut writer = FrameWriter::new(Vec::new());
    let error = writer.write_body(&[]).expect_err("no header yet");
    assert!(matches!(error.rule(), Error::Order(_)), "{error}");
    writer.write_header(&header).expect("writes");
    let error = writer.write_header(&header).expect_err("no body yet");
    assert!(matches!(error.rule(), Error::Order(_)), "{error}");
    assert_eq!(writer.index(), 0);
    writer.write_body(&[("latents", &[0; 16])]).expect("writes");
    assert_eq!(writer.index(), 1);
}

/// Takes so many bytes, then has no reader any more.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_told_from_other_failures() {
    let mut random = Random(5);
    let frames = [random.frame(), random.frame()];
    let length = write_all(&frames).len();
    for room in 0..length {
        let mut writer = FrameWriter::new(Closing(room));
        let error = frames
            .iter()
            .find_map(|frame| writer.write_frame(frame).err())
            .expect("no room for all");
        assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::BrokenPipe));
        assert!(
            error.byte().is_some_and(|byte| byte <= room as u64),
            "{error}"
        );
        // How much of the frame is out is not known, so nothing may follow.
        let error = writer.write_frame(&frames[0]).expect_err("spent");
        assert!(matches!(error.rule(), Error::Order(_)), "{error}");
    }
}

#[test]
fn a_closed_pipe_is_a_broken_pipe() {
    let (input, output) = io::pipe().expect("a pipe");
    drop(input);
    let error = FrameWriter::new(output)
        .write_frame(&Random(1).frame())
        .expect_err("nobody reads");
    assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::BrokenPipe));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_a_failure() {
    let full = std::fs::File::create("/dev/full").expect("Linux has it");
    let error = FrameWriter::new(full)
        .write_frame(&Random(1).frame())
        .expect_err("no room");
    assert_eq!(
        error.io().map(io::Error::kind),
        Some(ErrorKind::StorageFull)
    );
    assert!(
        error
            .to_string()
            .starts_with("frame 0, byte 0: cannot write: "),
        "{error}"
    );
}

/// The chain of sources ends at the input's or output's own error, for callers that do not know
/// this crate.
#[test]
fn the_io_error_is_a_source() {
    let error = FrameWriter::new(Closing(0))
        .write_frame(&Random(1).frame())
        .expect_err("closed");
    let mut source: &dyn std::error::Error = &error;
    while let Some(next) = source.source() {
        source = next;
    }
    let io = source.downcast_ref::<io::Error>().expect("an io::Error");
    assert_eq!(io.kind(), ErrorKind::BrokenPipe);
}
