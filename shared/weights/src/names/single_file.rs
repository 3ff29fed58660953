//! A whole checkpoint in one file, under the names of the original (LDM) code.
//!
//! The mapping is that of diffusers' `loaders/single_file_utils.py` (specification, section 1.7). No width, depth or
//! number of levels is taken for granted: all follow from the names that are there.

use super::{self as names, identify};
use crate::tensors::{TensorFile, Weight, is_ignored};
use crate::{Error, Part, Result};
use std::collections::HashMap;
use std::path::Path;

const UNET: &str = "model.diffusion_model.";
const TEXT_1: &str = "conditioner.embedders.0.transformer.";
const TEXT_2: &str = "conditioner.embedders.1.model.";
const VAE: [&str; 2] = ["first_stage_model.", "vae."];

/// Opens a file and checks that it is such a checkpoint, and that nothing in it belongs to no part.
pub(crate) fn open(path: &Path) -> Result<(TensorFile, Marks)> {
    let mut file = TensorFile::open(path)?;
    let not = |reason: &str| Error::NotSingleFile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    if let Some(other) = identify::identify(&file) {
        return Err(not(&format!("it is {other}")));
    }
    if !file.has_prefix(UNET) {
        let one = [
            "down_blocks.",
            "text_model.",
            "decoder.",
            "encoder.",
            "0.",
            "1.",
        ];
        return Err(if one.iter().any(|prefix| file.has_prefix(prefix)) {
            not(
                "it holds one component; give the whole checkpoint's folder (or, for an autoencoder, use `--vae`)",
            )
        } else {
            not(&format!(
                "it has no `{UNET}*` tensors; expected SDXL's single-file layout"
            ))
        });
    }
    if !file.has_prefix(TEXT_2) {
        return Err(if file.has_prefix("cond_stage_model.") {
            not("its text encoder is that of Stable Diffusion 1 or 2")
        } else {
            not(&format!(
                "it has no `{TEXT_2}*` tensors, so it lacks SDXL's text encoders"
            ))
        });
    }
    let marks = marks(&file).map_err(|reason| not(&reason))?;
    file.weights.retain(|weight| !is_left_behind(weight.name()));
    file.foreign.retain(|(name, _)| !is_left_behind(name));
    let names = file
        .weights
        .iter()
        .map(Weight::name)
        .chain(file.foreign.iter().map(|(name, _)| name.as_str()));
    let known = |name: &str| is_ignored(name) || prefixes().any(|prefix| name.starts_with(prefix));
    let mut stray: Vec<String> = names
        .filter(|name| !known(name))
        .map(str::to_owned)
        .collect();
    if !stray.is_empty() {
        let count = stray.len();
        stray.sort();
        stray.truncate(5);
        return Err(Error::LeftOver {
            path: path.to_owned(),
            names: stray,
            count,
        });
    }
    Ok((file, marks))
}

/// Whether a tensor is what training and merging tools leave: the state of an optimiser or a trainer, losses, the half
/// of OpenCLIP that looks at pictures, and marks, which are read before ([`marks`]).
fn is_left_behind(name: &str) -> bool {
    const PREFIXES: [&str; 12] = [
        "optimizer",
        "lr_scheduler",
        "callbacks.",
        "loops.",
        "ema_",
        "model_ema.",
        "first_stage_model.loss.",
        "vae.loss.",
        "first_stage_model.model_ema.",
        "conditioner.embedders.1.model.visual.",
        "denoiser.",
        "loss_fn.",
    ];
    const NAMES: [&str; 12] = [
        "epoch",
        "global_step",
        "iteration",
        "step",
        "logvar",
        "scale_factor",
        "v_pred",
        "ztsnr",
        "edm_mean",
        "edm_std",
        "edm_vpred.sigma_max",
        "edm_vpred.sigma_min",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || NAMES.contains(&name)
        || name.ends_with(".attn_mask")
        || name.ends_with(".num_batches_tracked")
}

/// What a file says of its prediction, by tensors without numbers that merging tools add, or in its metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    /// It predicts v rather than the noise.
    pub(crate) v_prediction: bool,
    /// It was trained down to a signal of nothing, with a schedule rescaled for it.
    pub(crate) zero_terminal_snr: bool,
}

/// Reads the marks: those of ComfyUI (`comfy/supported_models.py`, `SDXL.model_type`) and of the model specification.
fn marks(file: &TensorFile) -> std::result::Result<Marks, String> {
    let has = |name: &str| file.contains(name);
    for edm in [
        "edm_mean",
        "edm_std",
        "edm_vpred.sigma_max",
        "edm_vpred.sigma_min",
    ] {
        if has(edm) {
            return Err(format!(
                "it has `{edm}`: EDM's formulation (as Playground 2.5 has it) is not supported"
            ));
        }
    }
    let says = |key: &str| file.metadata.get(key).map(String::as_str);
    let by_metadata = matches!(
        says("modelspec.prediction_type"),
        Some("v" | "v_prediction")
    ) || matches!(says("modelspec.predict_key"), Some("v" | "v_prediction"));
    Ok(Marks {
        v_prediction: has("v_pred") || by_metadata,
        zero_terminal_snr: has("ztsnr"),
    })
}

fn prefixes() -> impl Iterator<Item = &'static str> {
    [UNET, TEXT_1, TEXT_2].into_iter().chain(VAE)
}

/// Whether the file has an autoencoder under LDM's prefixes.
pub(crate) fn has_vae(file: &TensorFile) -> bool {
    VAE.iter().any(|prefix| file.has_prefix(prefix))
}

/// The tensors of one part, under diffusers' names.
pub(crate) fn part(file: &TensorFile, part: Part) -> Result<TensorFile> {
    let prefixes: &[&str] = match part {
        Part::TextEncoder => &[TEXT_1],
        Part::TextEncoder2 => &[TEXT_2],
        Part::Unet => &[UNET],
        Part::Vae => &VAE,
    };
    let strip = |name: &str| {
        prefixes
            .iter()
            .find_map(|p| name.strip_prefix(p))
            .map(str::to_owned)
    };
    let weights = file
        .weights
        .iter()
        .filter_map(|w| Some(w.renamed(&strip(w.name())?)));
    let foreign = file
        .foreign
        .iter()
        .filter_map(|(name, dtype)| Some((strip(name)?, dtype.clone())));
    let mut own = TensorFile {
        path: file.path.clone(),
        weights: weights.collect(),
        foreign: foreign.collect(),
        metadata: HashMap::new(),
    };
    if own.weights.is_empty() {
        let fix = match part {
            Part::Vae => "; give another one with --vae",
            _ => "",
        };
        let reason = format!(
            "it has no `{}*` tensors, so it lacks the {}{fix}",
            prefixes[0],
            part.folder()
        );
        return Err(Error::NotSingleFile {
            path: file.path.clone(),
            reason,
        });
    }
    match part {
        Part::TextEncoder | Part::Vae => names::canonical(part, &mut own),
        Part::TextEncoder2 => own.weights = own.weights.iter().flat_map(open_clip).collect(),
        Part::Unet => {
            let per_level = per_level(&own);
            own.weights = own
                .weights
                .iter()
                .map(|w| w.renamed(&unet(w.name(), per_level)))
                .collect();
        }
    }
    own.weights.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(own)
}

/// Entries of `input_blocks` per resolution: the first one to downsample is the last of its level.
fn per_level(file: &TensorFile) -> usize {
    let index = |w: &Weight| {
        w.name()
            .strip_prefix("input_blocks.")?
            .strip_suffix(".0.op.weight")?
            .parse()
            .ok()
    };
    file.weights
        .iter()
        .filter_map(index)
        .min()
        .unwrap_or(3)
        .max(1)
}

/// A name that is not known stays as it is, and is left over in the end.
fn unet(name: &str, per_level: usize) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok();
    let known = match parts[..] {
        ["time_embed", layer @ ("0" | "2"), kind] => {
            Some(format!("time_embedding.linear_{}.{kind}", half(layer)))
        }
        ["label_emb", "0", layer @ ("0" | "2"), kind] => {
            Some(format!("add_embedding.linear_{}.{kind}", half(layer)))
        }
        ["input_blocks", "0", "0", kind] => Some(format!("conv_in.{kind}")),
        ["out", "0", kind] => Some(format!("conv_norm_out.{kind}")),
        ["out", "2", kind] => Some(format!("conv_out.{kind}")),
        ["middle_block", "0", ref rest @ ..] => {
            Some(format!("mid_block.resnets.0.{}", resnet(rest)))
        }
        ["middle_block", "1", ref rest @ ..] => {
            Some(format!("mid_block.attentions.0.{}", rest.join(".")))
        }
        ["middle_block", "2", ref rest @ ..] => {
            Some(format!("mid_block.resnets.1.{}", resnet(rest)))
        }
        ["input_blocks", i, module, ref rest @ ..] => {
            number(i).and_then(|i| i.checked_sub(1)).and_then(|i| {
                let (block, layer) = (i / per_level, i % per_level);
                match (module, rest) {
                    ("0", ["op", kind]) => {
                        Some(format!("down_blocks.{block}.downsamplers.0.conv.{kind}"))
                    }
                    ("0", rest) => Some(format!(
                        "down_blocks.{block}.resnets.{layer}.{}",
                        resnet(rest)
                    )),
                    ("1", rest) => Some(format!(
                        "down_blocks.{block}.attentions.{layer}.{}",
                        rest.join(".")
                    )),
                    _ => None,
                }
            })
        }
        ["output_blocks", i, module, ref rest @ ..] => number(i).and_then(|i| {
            let (block, layer) = (i / per_level, i % per_level);
            match (module, rest) {
                ("0", rest) => Some(format!(
                    "up_blocks.{block}.resnets.{layer}.{}",
                    resnet(rest)
                )),
                ("1" | "2", ["conv", kind]) => {
                    Some(format!("up_blocks.{block}.upsamplers.0.conv.{kind}"))
                }
                ("1", rest) => Some(format!(
                    "up_blocks.{block}.attentions.{layer}.{}",
                    rest.join(".")
                )),
                _ => None,
            }
        }),
        _ => None,
    };
    known.unwrap_or_else(|| name.to_owned())
}

/// diffusers' name of a layer of the UNet with underscores for points, from the single-file layout's likewise; none if
/// it is not of that layout. SDXL has three entries per resolution, with fewer blocks too.
pub(crate) fn flat_unet(flat: &str) -> Option<String> {
    const TOPS: [&str; 6] = [
        "input_blocks",
        "middle_block",
        "output_blocks",
        "time_embed",
        "label_emb",
        "out",
    ];
    let inside = |top: &&str| flat.strip_prefix(top)?.strip_prefix('_');
    let (top, rest) = TOPS.iter().find_map(|top| Some((top, inside(top)?)))?;
    // Numbers follow, then a module's name, which ends in a number of its own in residual blocks only.
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |word: &&&str| word.bytes().all(|b| b.is_ascii_digit());
    let numbers = words.iter().take_while(is_number).count();
    let module = words[numbers..].join("_");
    let module = ["in_layers", "emb_layers", "out_layers"]
        .iter()
        .find_map(|name| {
            Some(format!(
                "{name}.{}",
                module.strip_prefix(name)?.strip_prefix('_')?
            ))
        })
        .unwrap_or(module);
    let mut parts = vec![*top];
    parts.extend(&words[..numbers]);
    parts.extend(Some(&module[..]).filter(|module| !module.is_empty()));
    let name = format!("{}.weight", parts.join("."));
    let known = unet(&name, 3);
    (known != name).then(|| known.trim_end_matches(".weight").replace('.', "_"))
}

/// Entries 0 and 2 of a `Sequential` (1 is its activation) are layers 1 and 2.
fn half(entry: &str) -> u8 {
    if entry == "0" { 1 } else { 2 }
}

fn resnet(rest: &[&str]) -> String {
    let (layer, kind) = match rest {
        ["in_layers", "0", kind] => ("norm1", kind),
        ["in_layers", "2", kind] => ("conv1", kind),
        ["emb_layers", "1", kind] => ("time_emb_proj", kind),
        ["out_layers", "0", kind] => ("norm2", kind),
        ["out_layers", "3", kind] => ("conv2", kind),
        ["skip_connection", kind] => ("conv_shortcut", kind),
        other => return other.join("."),
    };
    format!("{layer}.{kind}")
}

/// `OpenCLIP`'s names. Queries, keys and values are stacked there, and the projection is stored input by output.
fn open_clip(weight: &Weight) -> Vec<Weight> {
    let parts: Vec<&str> = weight.name().split('.').collect();
    let one = |name: String| vec![weight.renamed(&name)];
    let stacked = |layer: &str, kind: &str| {
        let third = weight.shape()[0] / 3;
        let name = |x| format!("text_model.encoder.layers.{layer}.self_attn.{x}_proj.{kind}");
        let rows = |(i, x)| weight.rows(i * third, (i + 1) * third).renamed(&name(x));
        ["q", "k", "v"].into_iter().enumerate().map(rows).collect()
    };
    match parts[..] {
        ["positional_embedding"] => one("text_model.embeddings.position_embedding.weight".into()),
        ["token_embedding", "weight"] => one("text_model.embeddings.token_embedding.weight".into()),
        ["ln_final", kind] => one(format!("text_model.final_layer_norm.{kind}")),
        // A linear layer, as some converters keep it, is not transposed.
        ["text_projection", "weight"] => one("text_projection.weight".into()),
        ["text_projection"] if weight.shape().len() == 2 => {
            vec![weight.transposed().renamed("text_projection.weight")]
        }
        ["transformer", "resblocks", layer, "attn", "in_proj_weight"] if divisible(weight) => {
            stacked(layer, "weight")
        }
        ["transformer", "resblocks", layer, "attn", "in_proj_bias"] if divisible(weight) => {
            stacked(layer, "bias")
        }
        ["transformer", "resblocks", layer, ref rest @ ..] => {
            let (inner, kind) = match rest {
                ["ln_1", kind] => ("layer_norm1", kind),
                ["ln_2", kind] => ("layer_norm2", kind),
                ["mlp", "c_fc", kind] => ("mlp.fc1", kind),
                ["mlp", "c_proj", kind] => ("mlp.fc2", kind),
                ["attn", "out_proj", kind] => ("self_attn.out_proj", kind),
                _ => return one(weight.name().to_owned()),
            };
            one(format!("text_model.encoder.layers.{layer}.{inner}.{kind}"))
        }
        _ => one(weight.name().to_owned()),
    }
}

fn divisible(weight: &Weight) -> bool {
    weight.shape().first().is_some_and(|rows| rows % 3 == 0)
}
