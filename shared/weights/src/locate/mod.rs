//! Where a checkpoint lies, which files it has, and what its configs say.

mod autoencoder;
mod derive;
mod foreign;
mod hub;
mod id;
mod lora;
mod model;
mod tokenizer;
mod tree;
mod variant;

pub use autoencoder::{Autoencoder, TAESDXL_FILES, VaeClass, open_vae};
pub use hub::{HubFolders, expand_home};
pub use id::ModelId;
pub use lora::{Lora, LoraPair, LoraSpec};
pub use model::{LocateOptions, Model, locate_vae};
pub use tokenizer::TokenizerFiles;
pub use tree::{EmbeddedFiles, SourceFile};
pub use variant::Variant;
