//! What only unsafe code finds out about the process: streams that were closed when it started, signals that its parent
//! ignored, memory that ends.
//!
//! Each file answers one question, by a safe function; see README.md.

mod memory;
mod signals;
mod streams;

pub use memory::{Allocator, on_exhaustion};
pub use signals::is_ignored;
pub use streams::{Stream, was_closed};
