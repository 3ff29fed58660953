//! What every kernel needs.

use crate::isa::Isa;
use crate::memory::Pool;

/// What every kernel needs: the instruction set and the memory.
#[derive(Clone, Debug)]
pub struct Context {
    /// Which kernels run.
    pub isa: Isa,
    /// Where values come from.
    pub pool: Pool,
}

impl Context {
    /// Kernels for `isa`, with memory of their own.
    pub fn new(isa: Isa) -> Self {
        Self {
            isa,
            pool: Pool::default(),
        }
    }
}
