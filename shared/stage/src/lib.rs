//! What the tools with a model share: where networks run, the model that stays open from record to record, and the
//! order in which frames are read, announced, computed and written.

#![forbid(unsafe_code)]

mod emit;
mod networks;
mod stage;

pub use emit::{Body, Computed, Emitter};
pub use networks::{Networks, Slot, locate};
pub use stage::{Out, Planned, Stage, StreamArgs, run};
