//! Values and operands: how numbers lie in memory.
//!
//! Everything is channel by channel, positions (tokens or pixels) side by side, so that every vector instruction
//! works on sixteen positions and every reduction over channels is a plain sum of vectors.

mod padded;
mod panels;
mod planes;
mod quanta;
mod source;
mod window;

pub(crate) use padded::Padded;
pub use panels::Panels;
pub(crate) use panels::{Layout, Numbers, PanelMut, panel_range};
pub(crate) use planes::View;
pub use planes::{Planes, concat, join};
pub(crate) use quanta::{Largest, Quanta, QuantaBuffer};
pub(crate) use source::Region;
pub use source::{GroupNorm, Source};
pub use window::Window;
