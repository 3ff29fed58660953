//! Finds, maps and names the weights of a checkpoint.
//!
//! ```no_run
//! use turbo_weights::{LocateOptions, Lora, LoraPair, LoraSpec, Model, Part};
//!
//! let model = Model::locate("stabilityai/sdxl-turbo", &LocateOptions::default())?;
//! let weights = model.weights(Part::Unet)?;
//! let pages = weights.pages();
//! std::thread::spawn(move || pages.prefetch()); // the disk is read while the network is built
//! let bias = weights.get("conv_in.bias", &[320])?;
//! // ... every other tensor of the network ...
//! weights.finish()?; // nothing may be left over
//! # Ok::<(), turbo_weights::Error>(())
//! ```
//!
//! - [`Model::locate`] takes `demo` (if the program has one built in), a folder in diffusers layout, a single
//!   `.safetensors` checkpoint under LDM's names, or a hub id that is looked up in the Hugging Face cache. Nothing
//!   here opens a socket, and nothing reads pickle.
//! - [`Weights`] are the tensors of one [`Part`], under the names that today's diffusers and transformers use,
//!   whichever program saved them: text encoders always with the prefix `text_model.`; the attention of an
//!   autoencoder as matrices `to_q`, `to_k`, `to_v` and `to_out.0`; TAESDXL as `encoder.layers.N` and
//!   `decoder.layers.N`.
//! - A [`Weight`] is used where it lies, in the mapped file: a checkpoint of 5 GB opens in milliseconds, and processes
//!   share one copy. Two kinds of tensors are copied: a single file's `text_projection`, which is stored transposed, and
//!   those of types that networks do not compute with (8-bit floats are widened to F16, F64 is rounded to F32).
//! - A [`Lora`] is what a LoRA file of any dialect adds to the layers of a part, under diffusers' names.
//! - [`open_vae`] and [`locate_vae`] open an autoencoder by itself; [`open_file`] opens any file, as it is.
//!
//! # Which file of a part
//! `NAME.fp16.safetensors` (see [`Variant`]) is taken before `NAME.safetensors`, each whole or in shards with an index;
//! `NAME` is `model` for text encoders and `diffusion_pytorch_model` for the rest. Where there is neither, the only file
//! of another variant (`NAME.bf16.safetensors`) is taken; if there are several, the error names them.
//!
//! # Configs of single files
//! A single file has neither configs nor tokenizers. Both are taken from the folder beside the file that is called
//! like it. What is not there is derived: widths, depths and block types from the tensors, the rest from what is
//! published for SDXL Turbo. Heads and norm groups leave no trace in tensors, so widths other than SDXL's need a
//! config.
//!
//! # A mapped file must not change
//! A file that is cut while it is mapped ends the process, with the file's name on stderr and status 1; a file that is
//! overwritten in place changes the numbers, and [`check_unchanged`] tells it. Programs that fetch or convert checkpoints
//! write under another name and rename.
#![deny(unsafe_code)]

mod error;
mod locate;
mod names;
mod part;
mod tensors;

pub use error::{Error, InvalidId, Result};
pub use locate::{
    Autoencoder, EmbeddedFiles, HubFolders, LocateOptions, Lora, LoraPair, LoraSpec, Model,
    ModelId, SourceFile, TAESDXL_FILES, TokenizerFiles, VaeClass, Variant, expand_home, locate_vae,
    open_vae,
};
pub use names::int8::{int8_layer, keeps_float_activations};
pub use part::Part;
pub use tensors::{
    Dtype, NotQuantized, Pages, Weight, Weights, check_unchanged, is_pickle, on_cut,
};

use std::path::Path;

/// Maps one `.safetensors` file. Names stay as they are in it.
///
/// # Errors
/// The file is missing, cut, pickled or not safetensors.
pub fn open_file(path: impl AsRef<Path>) -> Result<Weights> {
    Weights::from_file(tensors::TensorFile::open(path.as_ref())?)
}
