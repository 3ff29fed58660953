//! A body that must not come too slowly.

use std::io::{Error, ErrorKind, Read, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Bytes a second below which a connection counts as dropped: a thousandth of a slow line.
pub(crate) const LEAST_RATE: u64 = 1000;

/// Reads on until the rate stays below [`LEAST_RATE`] for `over`; silence alone is the connection's own limit, and a
/// server that sends a byte a second is never silent. Time that the caller takes does not count.
pub(crate) struct LeastRate<R> {
    inner: R,
    over: Duration,
    patience: Patience,
    waited: Duration,
    bytes: u64,
}

impl<R: Read> LeastRate<R> {
    pub(crate) fn new(inner: R, over: Duration, patience: Patience) -> Self {
        Self {
            inner,
            over,
            patience,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }
}

impl<R: Read> Read for LeastRate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let start = Instant::now();
        self.patience.begin(start + self.over);
        let n = self.inner.read(buffer);
        self.patience.end();
        let n = n?;
        self.waited += start.elapsed();
        self.bytes += n as u64;
        if n > 0 && self.waited >= self.over {
            let least = self.waited.as_secs_f64() * LEAST_RATE as f64;
            if (self.bytes as f64) < least {
                let (bytes, seconds) = (self.bytes, self.waited.as_secs());
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!("only {bytes} bytes in {seconds} s, fewer than {LEAST_RATE} a second"),
                ));
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(n)
    }
}

/// Until when a read of a body may go on without giving anything. What a server sends beside the body, such as lines
/// behind its last chunk, keeps a connection busy and is no content; a read would wait for its end for ever.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<Mutex<Option<Instant>>>);

impl Patience {
    fn begin(&self, until: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// No body is being read.
    pub(crate) fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_at_end(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() >= until)
    }
}

impl<In: Transport> Connector<In> for Patience {
    type Out = Bounded<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|inner| Bounded {
            inner,
            patience: self.clone(),
        }))
    }
}

/// A connection that is read no longer than that.
#[derive(Debug)]
pub(crate) struct Bounded<In> {
    inner: In,
    patience: Patience,
}

impl<In: Transport> Transport for Bounded<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(
        &mut self,
        amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        if self.patience.is_at_end() {
            let text = "much was sent, and nothing of the content";
            return Err(Error::new(ErrorKind::TimedOut, text).into());
        }
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives so many bytes a read, each after a pause.
    struct Slow(usize, Duration, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            std::thread::sleep(self.1);
            let n = self.0.min(self.2).min(buffer.len());
            self.2 -= n;
            buffer[..n].fill(7);
            Ok(n)
        }
    }

    #[test]
    fn a_trickle_ends_and_a_stream_does_not() {
        // Long enough for a machine that has much else to do.
        let over = Duration::from_millis(500);
        let all = |bytes, pause, total| {
            let slow = Slow(bytes, Duration::from_millis(pause), total);
            let mut body = LeastRate::new(slow, over, Patience::default());
            let (mut chunk, mut read) = ([0; 1000], 0);
            loop {
                match body.read(&mut chunk) {
                    Ok(0) => return Ok(read),
                    Ok(n) => read += n,
                    Err(e) => return Err(e.to_string()),
                }
            }
        };
        assert_eq!(all(1000, 10, 60_000), Ok(60_000));
        assert_eq!(all(30, 0, 10_000), Ok(10_000));
        assert_eq!(all(1, 10, 3), Ok(3)); // slow, but over soon
        let error = all(1, 10, 100).unwrap_err();
        assert!(error.contains("fewer than 1000 a second"), "{error}");
    }
}
