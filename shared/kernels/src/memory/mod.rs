//! Memory of values, used again instead of given back: nothing is allocated in the steady state of a network.

mod cast;
mod disjoint;
mod pages;
mod pool;
mod prefetch;
mod scratch;

pub(crate) use cast::as_floats_mut;
pub(crate) use disjoint::Disjoint;
pub use pool::{Buffer, Pool};
pub(crate) use prefetch::{Near, prefetch};
pub(crate) use scratch::{Scratch, with_scratch};
