//! Metadata keys with a meaning, and how their values are written.
//!
//! Every value is a string (safetensors allows nothing else). Numbers are written in decimal as
//! JSON would write them, sizes as `HEIGHTxWIDTH` in pixels; [`settings`](crate::settings) says what each may be. A key
//! that is not listed here travels on untouched.

use std::collections::BTreeMap;

/// What travels with a frame beside its tensors, sorted by key so that equal headers are equal
/// bytes. This module lists the keys with a meaning.
pub type Metadata = BTreeMap<String, String>;

/// `"pt"`: what `transformers` and `diffusers` ask of a safetensors file before they load it.
/// Set by [`Header::new`](crate::Header::new).
pub const FORMAT: &str = "format";
/// Version of the protocol, [`VERSION`](crate::VERSION). Set by
/// [`Header::new`](crate::Header::new).
pub const VERSION: &str = "version";
/// What the frame holds: a [`Kind`](crate::Kind)'s name. Set by
/// [`Header::new`](crate::Header::new); a frame without it is known by its tensors' names.
pub const KIND: &str = "kind";
/// Name and version of the tool that wrote the frame, such as `denoise 0.1.0`.
pub const PRODUCER: &str = "producer";

/// The record's own name, for people and for file names.
pub const ID: &str = "id";
/// Which record of its run a frame was made of, from 0, where records before it may be missing from the stream.
/// `denoise --seed` counts by it.
pub const RECORD_INDEX: &str = "record_index";
/// Which picture of its run the frame's first one is, from 0, where others before it may be missing. `to-png` numbers
/// files by it.
pub const PICTURE_INDEX: &str = "picture_index";
/// The prompt, as the user wrote it.
pub const PROMPT: &str = "prompt";
/// The prompt for the second text encoder, where it is not the first's.
pub const PROMPT_2: &str = "prompt_2";
/// The negative prompt. Absent is not the same as empty: diffusers encodes an empty one, and
/// takes zeros for an absent one.
pub const NEGATIVE_PROMPT: &str = "negative_prompt";
/// The negative prompt for the second text encoder, where it is not the first's.
pub const NEGATIVE_PROMPT_2: &str = "negative_prompt_2";
/// How many of the text encoders' last layers are left out, beside the one SDXL always leaves.
pub const CLIP_SKIP: &str = "clip_skip";
/// How brackets in the prompts weigh.
pub const WEIGHTED: &str = "weighted";
/// Textual inversions.
pub const EMBEDDING: &str = "embedding";
/// LoRA files.
pub const LORA: &str = "lora";

/// Path of the picture to start from.
pub const IMAGE: &str = "image";
/// Path of the mask that says which part of it is drawn anew.
pub const MASK: &str = "mask";

/// Seed of the noise of the frame's row 0, 0 to 2^64 - 1; row b has seed + b, modulo 2^64.
pub const SEED: &str = "seed";
/// How many pictures to draw of a prompt, at least 1, with seeds that count on from its own. For `denoise`, which
/// leaves it out of what it writes: each of its frames is one of them.
pub const IMAGES: &str = "images";
/// Which of several pictures of a prompt a frame is, from 0. From 1 on, the frame's id ends in it.
pub const IMAGE_INDEX: &str = "image_index";
/// Number of denoising steps, at least 1.
pub const STEPS: &str = "steps";
/// A published recipe, whose settings stand where neither record nor flags say otherwise.
pub const RECIPE: &str = "recipe";
/// The class of scheduler, as diffusers calls it.
pub const SCHEDULER: &str = "scheduler";
/// Keys set over the checkpoint's `scheduler_config.json`, as a JSON object.
pub const SCHEDULER_SET: &str = "scheduler_set";
/// The timesteps to run at, instead of a number of steps.
pub const TIMESTEPS: &str = "timesteps";
/// The sigmas to run at, with the one after the last step, instead of a number of steps.
pub const SIGMAS: &str = "sigmas";
/// How much noise the steps of some schedulers add, 0 to 1.
pub const ETA: &str = "eta";
/// In a trace: after which step the frame was taken, from 0.
pub const STEP: &str = "step";
/// In a trace: what the network was told at this step, 0 to 999, perhaps with a fraction.
pub const TIMESTEP: &str = "timestep";
/// In a trace: standard deviation of the noise in the sample before this step.
pub const SIGMA: &str = "sigma";
/// Width of the picture in pixels.
pub const WIDTH: &str = "width";
/// Height of the picture in pixels.
pub const HEIGHT: &str = "height";
/// Classifier-free guidance; at or below 1 there is none.
pub const GUIDANCE_SCALE: &str = "guidance_scale";
/// How far the result of guidance is brought back to the contrast that it has without, 0 to 1.
pub const GUIDANCE_RESCALE: &str = "guidance_rescale";
/// Share of the training, counted from pure noise, at which a run starts on latents that are noisy already.
pub const DENOISING_START: &str = "denoising_start";
/// Share of the training, counted from pure noise, at which a run ends, so that noise is left for another.
pub const DENOISING_END: &str = "denoising_end";
/// Share of the schedule that runs when latents are given to start from, above 0 and up to 1.
pub const STRENGTH: &str = "strength";
/// SDXL micro-conditioning: size of the picture before cropping, `HEIGHTxWIDTH`.
pub const ORIGINAL_SIZE: &str = "original_size";
/// SDXL micro-conditioning: size aimed at, `HEIGHTxWIDTH`.
pub const TARGET_SIZE: &str = "target_size";
/// SDXL micro-conditioning: corner of the crop, `TOPxLEFT`.
pub const CROPS_TOP_LEFT: &str = "crops_top_left";

/// The checkpoint, as the user named it: a hub id, a path, or `demo`.
pub const MODEL: &str = "model";
/// The decoder, where it is not the checkpoint's own.
pub const VAE: &str = "vae";
