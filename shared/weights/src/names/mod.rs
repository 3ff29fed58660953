//! One name for each weight, whichever program saved it.

pub(crate) mod identify;
pub(crate) mod int8;
mod ldm_vae;
pub(crate) mod lora;
pub(crate) mod single_file;

use crate::Part;
use crate::tensors::{TensorFile, Weight};

/// Renames the tensors of a part to what today's diffusers and transformers call them.
pub(crate) fn canonical(part: Part, file: &mut TensorFile) {
    match part {
        Part::TextEncoder | Part::TextEncoder2 => file.weights.iter_mut().for_each(text_encoder),
        Part::Unet => {}
        Part::Vae => vae(file),
    }
}

/// Transformers 5 saves a `CLIPTextModel` without the prefix that the published checkpoints have.
fn text_encoder(weight: &mut Weight) {
    let name = weight.name();
    if ["embeddings.", "encoder.", "final_layer_norm."]
        .iter()
        .any(|top| name.starts_with(top))
    {
        *weight = weight.renamed(&format!("text_model.{name}"));
    }
}

/// Every naming of an autoencoder's weights: diffusers' new and old one, LDM's and TAESD's.
fn vae(file: &mut TensorFile) {
    if is_sequential(file) {
        taesd(file);
    } else if ldm_vae::is_ldm(file) {
        ldm_vae::rename(file);
    } else {
        file.weights.iter_mut().for_each(attention);
    }
    file.weights.sort_by(|a, b| a.name().cmp(b.name()));
}

/// Older diffusers called the attention weights otherwise, and some files hold them as 1x1 convolutions.
fn attention(weight: &mut Weight) {
    const OLD: [(&str, &str); 4] = [
        ("query", "to_q"),
        ("key", "to_k"),
        ("value", "to_v"),
        ("proj_attn", "to_out.0"),
    ];
    let Some((block, rest)) = weight.name().split_once(".attentions.") else {
        return;
    };
    let Some((index, inner)) = rest.split_once('.') else {
        return;
    };
    let Some((layer, kind)) = inner.rsplit_once('.') else {
        return;
    };
    let layer = OLD
        .iter()
        .find(|(old, _)| *old == layer)
        .map_or(layer, |(_, new)| new);
    let name = format!("{block}.attentions.{index}.{layer}.{kind}");
    *weight = weight.squeezed().renamed(&name);
}

/// Whether all tensors are named by their place in a `Sequential`, as TAESD's own files have it.
pub(crate) fn is_sequential(file: &TensorFile) -> bool {
    let numbered = |w: &Weight| {
        w.name()
            .split('.')
            .next()
            .is_some_and(|n| n.parse::<u16>().is_ok())
    };
    !file.weights.is_empty() && file.weights.iter().all(numbered)
}

/// TAESD's own files: a `Sequential` each for encoder and decoder. The decoder's entry 0 is its clamp, which
/// diffusers' `DecoderTiny` does outside of its layers, so its entries count one lower there.
fn taesd(file: &mut TensorFile) {
    let decoder = file.weights.iter().all(|w| !w.name().starts_with("0."));
    for weight in &mut file.weights {
        let Some((index, rest)) = weight.name().split_once('.') else {
            continue;
        };
        let Ok(index) = index.parse::<u16>() else {
            continue;
        };
        let name = match index.checked_sub(1) {
            Some(index) if decoder => format!("decoder.layers.{index}.{rest}"),
            _ => format!("encoder.layers.{index}.{rest}"),
        };
        *weight = weight.renamed(&name);
    }
}
