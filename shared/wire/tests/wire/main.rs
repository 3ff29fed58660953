//! Tests of the stream format.

mod errors;
mod hostile;
mod protocol;
mod python;
mod read;
mod roundtrip;
mod support;
mod vectors;
mod write;
