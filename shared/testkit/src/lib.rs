//! Made-up checkpoints and expected values for the tests of the other crates. Never part of a tool.
//!
//! - [`tiny`] and [`tiny_checkpoint`]: a checkpoint in the published layout with every part of the architecture at a
//!   few per cent of its width, the same bytes on every machine; [`tiny_single`] and [`tiny_single_file`]: the same
//!   weights in one file under LDM's names; [`tiny_lettered`]: complete, with a vocabulary of letters;
//!   [`fewer_blocks`]: a UNet with fewer blocks than SDXL's.
//! - [`full_checkpoint`]: the same in the published shapes, for benchmarks.
//! - [`golden`]: what diffusers computes from that checkpoint.
//! - [`process`]: tools as processes, joined by pipes; [`manners`]: what every tool owes a shell.
//! - [`ProgressSchema`]: what `--progress json` may say.
//! - [`shared_dir`]: weights and vocabularies that are not in this repository, where they are at hand.
//!
//! Helpers of tests panic, with a message, where anything else would return an error.
#![forbid(unsafe_code)]

mod checkpoint;
mod golden;
mod letters;
pub mod manners;
mod numbers;
mod paths;
pub mod process;
mod progress;

pub use checkpoint::{
    fewer_blocks, full_checkpoint, taesdxl, tiny, tiny_checkpoint, tiny_lettered, tiny_single,
    tiny_single_file, tiny_tensor,
};
pub use golden::{Tensor, golden, golden_cases, relative_error};
pub use letters::letter_tokenizers;
pub use paths::{golden_dir, shared_dir};
pub use progress::ProgressSchema;

use std::path::Path;

/// Writes a safetensors file: name, shape and little-endian bytes of each tensor, in this order, all of type `dtype`
/// (`F16`, `I64`, ...). Nothing is checked, so that tests can write files that are wrong.
///
/// # Panics
/// If the file cannot be written.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    dtype: &str,
    tensors: &[(&str, &[usize], Vec<u8>)],
) {
    let entries: Vec<_> = tensors
        .iter()
        .map(|(name, shape, bytes)| ((*name, *shape), bytes.len()))
        .collect();
    let mut file = safetensors_header(dtype, &entries);
    for (_, _, bytes) in tensors {
        file.extend(bytes);
    }
    let path = path.as_ref();
    std::fs::write(path, file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// A file's beginning: name, shape and size in bytes of each tensor that is to follow.
fn safetensors_header(dtype: &str, tensors: &[((&str, &[usize]), usize)]) -> Vec<u8> {
    let mut entries = vec![r#""__metadata__":{"format":"pt"}"#.to_owned()];
    let mut at = 0;
    for ((name, shape), size) in tensors {
        let (end, shape) = (at + size, serde_json::json!(shape));
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{at},{end}]}}"#
        ));
        at = end;
    }
    let mut header = format!("{{{}}}", entries.join(","));
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file
}
