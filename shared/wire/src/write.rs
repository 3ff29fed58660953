//! Writing a stream, frame after frame.

use std::io::Write;

use crate::frame::arrange;
use crate::{Error, Frame, Header, Result};

/// Writes frame after frame, and nothing between them.
///
/// A frame's header is written, and flushed, as soon as it is known; the next program in the pipe
/// opens its model by it while this one computes the body. Every error says the index of its frame
/// and the byte of the stream.
#[derive(Debug)]
pub struct FrameWriter<W: Write> {
    writer: W,
    /// Bytes that were written for certain.
    offset: u64,
    /// Frames that were written whole.
    finished: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Between,
    /// The header is out, the body is not.
    Body(Header),
    /// A write failed: how much of it is out is not known.
    Spent,
}

impl<W: Write> FrameWriter<W> {
    /// Writes to `writer` as it is. Each header is one write, each tensor's body another, so
    /// buffering gains nothing.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            offset: 0,
            finished: 0,
            state: State::Between,
        }
    }

    /// Writes a header, and flushes.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Order`] if the frame before lacks its body. In an [`Error::At`].
    pub fn write_header(&mut self, header: &Header) -> Result<()> {
        self.run(|writer| {
            match writer.state {
                State::Between => {}
                State::Body(_) => {
                    return Err(Error::Order(
                        "write_header was called before the body of the frame before it was written",
                    ));
                }
                State::Spent => return Err(SPENT),
            }
            writer.write(&[header.encoded()])?;
            writer.state = State::Body(header.clone());
            Ok(())
        })
    }

    /// Writes the bodies that belong to the header written last, and flushes. The tensors may be
    /// given in any order. Nothing is written unless all are there and of the right size.
    ///
    /// # Errors
    /// [`Error::BodyMissing`], [`Error::BodyExtra`], [`Error::BodySize`], [`Error::Write`];
    /// [`Error::Order`] if no header was written. In an [`Error::At`].
    pub fn write_body(&mut self, tensors: &[(&str, &[u8])]) -> Result<()> {
        self.run(|writer| {
            let parts = match &writer.state {
                State::Body(header) => arrange(header, tensors)?,
                State::Between => {
                    return Err(Error::Order(
                        "write_body was called without a header from write_header",
                    ));
                }
                State::Spent => return Err(SPENT),
            };
            writer.finish(&parts)
        })
    }

    /// Writes a whole frame. One that was read is written byte for byte as it was.
    ///
    /// # Errors
    /// As [`write_header`](Self::write_header).
    pub fn write_frame(&mut self, frame: &Frame) -> Result<()> {
        self.write_header(&frame.header)?;
        self.run(|writer| writer.finish(&[frame.body()]))
    }

    /// Index of the frame that is being written, or will be next, from 0.
    pub fn index(&self) -> u64 {
        self.finished
    }

    /// The output, as it is.
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.writer
    }

    /// Runs one step, and gives a failure its place.
    fn run<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        step(self).map_err(|error| error.at(self.finished, self.offset))
    }

    fn finish(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.write(parts)?;
        self.state = State::Between;
        self.finished += 1;
        Ok(())
    }

    /// Writes the parts, and flushes.
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        // Stands until all is well.
        let state = std::mem::replace(&mut self.state, State::Spent);
        for part in parts {
            self.writer.write_all(part).map_err(Error::Write)?;
            self.offset += part.len() as u64;
        }
        self.writer.flush().map_err(Error::Write)?;
        self.state = state;
        Ok(())
    }
}

const SPENT: Error = Error::Order("the stream cannot be written on after a failed write");
