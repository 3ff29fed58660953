//! torch's noise on a CPU, bit for bit.

mod generator;
mod normal;

pub use generator::Generator;
