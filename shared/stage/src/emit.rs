//! Writing a frame: header before or after the work.

use std::io::Write;
use std::time::{Duration, Instant};
use turbo_cli::{Console, Context, Error, FrameReport, OnError, Result};
use turbo_wire::{Frame, FrameWriter, Header, keys};

/// Names and little-endian bytes of a frame's tensors.
pub type Body = Vec<(&'static str, Vec<u8>)>;

/// A frame's body, and what to tell about it.
#[derive(Debug, Default)]
pub struct Computed {
    /// The tensors.
    pub body: Body,
    /// A frame whose tensors go on as they are, as far as the header has them and the body has not.
    pub passed: Option<Frame>,
    /// Time of each step, where there are steps.
    pub steps: Option<Vec<Duration>>,
}

/// Writes frames in the order that `--on-error` asks for: [`Emitter::announce`], then [`Emitter::complete`].
///
/// A header is written and flushed before its body is computed, so that the next tool opens its model meanwhile. With
/// `skip` it waits for its body, as a record that fails must leave nothing behind.
pub struct Emitter<'a, W: Write> {
    writer: FrameWriter<W>,
    on_error: OnError,
    console: &'a Console,
}

impl<'a, W: Write> Emitter<'a, W> {
    /// Writes to `output`.
    pub fn new(output: W, on_error: OnError, console: &'a Console) -> Self {
        Self {
            writer: FrameWriter::new(output),
            on_error,
            console,
        }
    }

    /// Where frames go.
    pub fn output(&self) -> &W {
        self.writer.get_ref()
    }

    /// Where frames went.
    pub fn into_output(self) -> W {
        self.writer.into_inner()
    }

    /// Tells the next tool of a frame whose body is to come.
    ///
    /// # Errors
    /// The output fails.
    pub fn announce(&mut self, header: &Header) -> Result<()> {
        match self.on_error {
            OnError::Stop => Ok(self.writer.write_header(header)?),
            OnError::Skip => Ok(()),
        }
    }

    /// Computes the body of the frame that was announced last, writes it, and reports that it is out. `record` counts
    /// from 0; `open` is the time that opening the model took.
    ///
    /// # Errors
    /// The output fails; a file of weights has changed; with `--on-error stop`, those of `compute`. With `skip` those
    /// are reported.
    pub fn complete(
        &mut self,
        record: u64,
        open: Duration,
        header: &Header,
        compute: impl FnOnce() -> Result<Computed>,
    ) -> Result<()> {
        let start = Instant::now();
        let computed = compute();
        let took = start.elapsed();
        // Numbers of no checkpoint, or an error that they led to. There is no next record either.
        turbo_weights::check_unchanged().in_frame(record)?;
        let computed = match computed {
            Ok(computed) => computed,
            Err(error) => return self.fail(error),
        };
        if self.on_error == OnError::Skip {
            self.writer.write_header(header)?;
        }
        self.writer.write_body(&whole_body(header, &computed))?;
        self.console.frame_done(&FrameReport {
            frame: record,
            id: header.get(keys::ID),
            open,
            compute: took,
            steps: computed.steps.as_deref(),
        });
        Ok(())
    }

    /// Reports a record that failed before it was announced, or gives the error back: see [`Console::stop_or_skip`].
    ///
    /// # Errors
    /// The error itself, with `--on-error stop`.
    pub fn fail(&self, error: Error) -> Result<()> {
        self.console.stop_or_skip(error, self.on_error)
    }
}

/// The tensors that were computed, and those that are passed on.
fn whole_body<'a>(header: &'a Header, computed: &'a Computed) -> Vec<(&'a str, &'a [u8])> {
    let new = computed.body.iter();
    let mut body: Vec<_> = new.map(|(name, bytes)| (*name, &bytes[..])).collect();
    if let Some(frame) = &computed.passed {
        let old = header.tensors().iter().filter_map(|tensor| {
            let name = tensor.name.as_str();
            let is_new = computed.body.iter().any(|(new, _)| *new == name);
            if is_new {
                None
            } else {
                Some((name, frame.bytes(name)?))
            }
        });
        body.extend(old);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use turbo_cli::ReportArgs;
    use turbo_wire::{FrameReader, Limits, Metadata, f32_bytes};

    fn computed(value: f32) -> Computed {
        Computed {
            body: vec![("latents", f32_bytes(&[value; 4]))],
            ..Computed::default()
        }
    }

    #[test]
    fn a_header_is_out_before_the_work_unless_the_record_may_be_skipped() {
        let console = Console::new("t", &ReportArgs::default());
        let header = Header::latents(1, 1, 1, Metadata::new()).unwrap();
        for (on_error, out) in [(OnError::Stop, true), (OnError::Skip, false)] {
            let mut bytes = Vec::new();
            Emitter::new(&mut bytes, on_error, &console)
                .announce(&header)
                .unwrap();
            assert_eq!(!bytes.is_empty(), out);
        }
    }

    #[test]
    fn a_skipped_record_leaves_nothing_behind() {
        let console = Console::new("t", &ReportArgs::default());
        let header = Header::latents(1, 1, 1, Metadata::new()).unwrap();
        let mut bytes = Vec::new();
        let mut emitter = Emitter::new(&mut bytes, OnError::Skip, &console);
        for record in 0..3 {
            emitter.announce(&header).unwrap();
            let compute = || {
                if record == 1 {
                    Err(Error::new("bad"))
                } else {
                    Ok(computed(record as f32))
                }
            };
            emitter
                .complete(record, Duration::ZERO, &header, compute)
                .unwrap();
        }
        assert!(console.has_failed());
        let mut reader = FrameReader::new(&bytes[..], Limits::default());
        let mut values = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            values.push(frame.to_f32("latents").unwrap()[0]);
        }
        assert_eq!(values, [0.0, 2.0]);
    }
}
