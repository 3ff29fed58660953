//! What the tools with a model share: where networks run, the model that stays open from record to record, and the
//! order in which frames are read, announced, computed and written.

#![forbid(unsafe_code)]

mod ahead;
mod autoencoder;
mod beside;
mod emit;
mod loras;
mod model_args;
mod slot;
mod source;
mod stage;

pub use ahead::Ahead;
pub use autoencoder::{Vae, VaeChoice};
pub use beside::Beside;
pub use emit::{Body, Computed, Emitter};
pub use loras::{LoraArgs, Loras};
pub use model_args::{DEFAULT_MODEL, MODEL_VARIABLE, ModelArgs};
pub use slot::{Networks, Slot, locate};
pub use source::{Fault, Frames, Place, Source, StreamArgs};
pub use stage::{Out, Planned, Stage, To, run};
