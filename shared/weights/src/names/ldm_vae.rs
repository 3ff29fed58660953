//! The autoencoder's weights under the names of the original (LDM) code.
//!
//! The mapping is that of diffusers' `loaders/single_file_utils.py`, `convert_ldm_vae_checkpoint`.

use crate::tensors::{TensorFile, Weight};

/// Whether the names are LDM's rather than diffusers'.
pub(crate) fn is_ldm(file: &TensorFile) -> bool {
    ["decoder.mid.", "encoder.mid."]
        .iter()
        .any(|prefix| file.has_prefix(prefix))
}

/// Renames everything it knows; what it does not know keeps its name, and is left over in the end.
pub(crate) fn rename(file: &mut TensorFile) {
    let levels = levels(&file.weights);
    for weight in &mut file.weights {
        let name = diffusers_name(weight.name(), levels);
        let matrix = name.contains(".attentions.");
        *weight = if matrix {
            weight.squeezed()
        } else {
            weight.clone()
        }
        .renamed(&name);
    }
}

/// How many resolutions the decoder has; LDM counts them from the finest, diffusers from the coarsest.
fn levels(weights: &[Weight]) -> usize {
    let level = |w: &Weight| level(w.name().strip_prefix("decoder.up.")?.split('.').next()?);
    weights
        .iter()
        .filter_map(level)
        .max()
        .map_or(0, |last| last + 1)
}

fn level(text: &str) -> Option<usize> {
    text.parse::<u16>().ok().map(usize::from)
}

fn diffusers_name(name: &str, levels: usize) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        [half, "norm_out", kind] => format!("{half}.conv_norm_out.{kind}"),
        [half, "mid", "block_1", ref rest @ ..] => {
            format!("{half}.mid_block.resnets.0.{}", resnet(rest))
        }
        [half, "mid", "block_2", ref rest @ ..] => {
            format!("{half}.mid_block.resnets.1.{}", resnet(rest))
        }
        [half, "mid", "attn_1", layer, kind] => {
            let layer = match layer {
                "norm" => "group_norm",
                "q" => "to_q",
                "k" => "to_k",
                "v" => "to_v",
                "proj_out" => "to_out.0",
                other => other,
            };
            format!("{half}.mid_block.attentions.0.{layer}.{kind}")
        }
        ["encoder", "down", level, "block", block, ref rest @ ..] => {
            format!(
                "encoder.down_blocks.{level}.resnets.{block}.{}",
                resnet(rest)
            )
        }
        ["encoder", "down", level, "downsample", "conv", kind] => {
            format!("encoder.down_blocks.{level}.downsamplers.0.conv.{kind}")
        }
        ["decoder", "up", level_text, ref rest @ ..] => {
            let Some(level) = level(level_text) else {
                return name.to_owned();
            };
            let level = levels - 1 - level;
            match *rest {
                ["block", block, ref rest @ ..] => {
                    format!("decoder.up_blocks.{level}.resnets.{block}.{}", resnet(rest))
                }
                ["upsample", "conv", kind] => {
                    format!("decoder.up_blocks.{level}.upsamplers.0.conv.{kind}")
                }
                _ => name.to_owned(),
            }
        }
        _ => name.to_owned(),
    }
}

fn resnet(rest: &[&str]) -> String {
    rest.join(".").replace("nin_shortcut", "conv_shortcut")
}
