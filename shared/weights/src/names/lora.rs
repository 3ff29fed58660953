//! The names of LoRA files, in every dialect in which they are published.
//!
//! - PEFT: `unet.down_blocks.1.attentions.0.proj_in.lora_A.weight`, also behind `base_model.model.` and with an
//!   adapter's name before `.weight`;
//! - older diffusers: `...attn1.processor.to_q_lora.down.weight`, `...to_q.lora.down.weight`,
//!   `...q_proj.lora_linear_layer.down.weight`;
//! - kohya: `lora_unet_`, `lora_te1_`, `lora_te2_` over names whose points are underscores, of diffusers' blocks or of
//!   the single-file layout's, with `.lora_down.weight`, `.lora_up.weight` and `.alpha`; ComfyUI's `diffusion_model.`.
//!
//! LoHa and LoKr are left out. LoHa's product of two matrices of rank r, number by number, is a LoRA of rank r squared;
//! of the ranks in use, 8 to 32, that makes 64 to 1024, up to the weight's own size. The rank of LoKr's Kronecker product
//! is that of both factors multiplied, which is mostly full. Added where weights are read, as a LoRA is, neither would
//! cost about its own size.
//!
//! All come down to the layer's name in diffusers with underscores for points, which is the one spelling that no
//! dialect leaves open. diffusers: `loaders/lora_conversion_utils.py`.

use super::single_file;
use crate::Part;

/// What a tensor of a LoRA file is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `[rank, inputs]`, or a convolution `[rank, inputs, height, width]`.
    Down,
    /// `[outputs, rank]`, or a convolution `[outputs, rank, 1, 1]`.
    Up,
    /// A number; the product is multiplied by it over the rank.
    Alpha,
}

/// The tensor's part, its layer ([`flat`]) and role; none if the name is of no dialect.
pub(crate) fn read(key: &str) -> Option<(Part, String, Role)> {
    let (layer, role) = split(key)?;
    let layer = layer.strip_prefix("base_model.model.").unwrap_or(layer);
    let (part, layer) = part(layer)?;
    let layer = layer.replace(".processor.", ".");
    let mut layer = flat(&layer);
    // Older diffusers leave out the index of the one layer that has a neighbour without weights.
    if layer.ends_with("_to_out") {
        layer.push_str("_0");
    }
    let layer = match part {
        Part::Unet => single_file::flat_unet(&layer).unwrap_or(layer),
        _ if layer.starts_with("text_model_") || layer == "text_projection" => layer,
        _ => format!("text_model_{layer}"),
    };
    Some((part, layer, role))
}

/// A layer's name with underscores for points.
pub(crate) fn flat(layer: &str) -> String {
    layer.replace('.', "_")
}

fn split(key: &str) -> Option<(&str, Role)> {
    const ENDS: [(&str, Role); 9] = [
        (".lora_down.weight", Role::Down),
        (".lora_up.weight", Role::Up),
        (".lora_linear_layer.down.weight", Role::Down),
        (".lora_linear_layer.up.weight", Role::Up),
        (".lora.down.weight", Role::Down),
        (".lora.up.weight", Role::Up),
        ("_lora.down.weight", Role::Down),
        ("_lora.up.weight", Role::Up),
        (".alpha", Role::Alpha),
    ];
    for (end, role) in ENDS {
        if let Some(layer) = key.strip_suffix(end) {
            return Some((layer, role));
        }
    }
    // PEFT: `.lora_A.weight` or `.lora_A.NAME.weight`.
    for (middle, role) in [(".lora_A.", Role::Down), (".lora_B.", Role::Up)] {
        if let Some((layer, rest)) = key.split_once(middle)
            && (rest == "weight"
                || rest
                    .strip_suffix(".weight")
                    .is_some_and(|name| !name.contains('.')))
        {
            return Some((layer, role));
        }
    }
    None
}

fn part(layer: &str) -> Option<(Part, &str)> {
    const PREFIXES: [(&str, Part); 11] = [
        ("unet.", Part::Unet),
        ("lora_unet_", Part::Unet),
        ("diffusion_model.", Part::Unet),
        ("model.diffusion_model.", Part::Unet),
        ("text_encoder_2.", Part::TextEncoder2),
        ("text_encoder.", Part::TextEncoder),
        ("lora_te2_", Part::TextEncoder2),
        ("lora_te1_", Part::TextEncoder),
        ("te2.", Part::TextEncoder2),
        ("te1.", Part::TextEncoder),
        ("clip_l.transformer.", Part::TextEncoder),
    ];
    for (prefix, part) in PREFIXES {
        if let Some(layer) = layer.strip_prefix(prefix) {
            return Some((part, layer));
        }
    }
    // Of the denoising network alone, as PEFT saves a module by itself.
    [
        "down_blocks.",
        "mid_block.",
        "up_blocks.",
        "conv_in.",
        "time_embedding.",
    ]
    .iter()
    .any(|top| layer.starts_with(top))
    .then_some((Part::Unet, layer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_leads_to_diffusers_layers() {
        let layer = "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0";
        for key in [
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A.weight",
            "base_model.model.unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A.default.weight",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0.lora.down.weight",
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0.lora_down.weight",
            "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_out.0.lora_down.weight",
        ] {
            assert_eq!(
                read(key),
                Some((Part::Unet, layer.to_owned(), Role::Down)),
                "{key}"
            );
        }
        for (key, layer) in [
            ("input_blocks_0_0", "conv_in"),
            (
                "input_blocks_1_0_in_layers_2",
                "down_blocks_0_resnets_0_conv1",
            ),
            ("input_blocks_3_0_op", "down_blocks_0_downsamplers_0_conv"),
            (
                "input_blocks_8_0_emb_layers_1",
                "down_blocks_2_resnets_1_time_emb_proj",
            ),
            ("middle_block_1_proj_in", "mid_block_attentions_0_proj_in"),
            ("middle_block_2_out_layers_3", "mid_block_resnets_1_conv2"),
            ("output_blocks_2_2_conv", "up_blocks_0_upsamplers_0_conv"),
            (
                "output_blocks_8_0_skip_connection",
                "up_blocks_2_resnets_2_conv_shortcut",
            ),
            (
                "output_blocks_3_1_transformer_blocks_1_ff_net_0_proj",
                "up_blocks_1_attentions_0_transformer_blocks_1_ff_net_0_proj",
            ),
            ("time_embed_0", "time_embedding_linear_1"),
            ("label_emb_0_2", "add_embedding_linear_2"),
            ("out_2", "conv_out"),
            (
                "up_blocks_0_upsamplers_0_conv",
                "up_blocks_0_upsamplers_0_conv",
            ),
        ] {
            let key = format!("lora_unet_{key}.alpha");
            assert_eq!(
                read(&key),
                Some((Part::Unet, layer.to_owned(), Role::Alpha)),
                "{key}"
            );
        }
        for (key, part) in [
            (
                "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
                Part::TextEncoder,
            ),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight",
                Part::TextEncoder,
            ),
            (
                "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight",
                Part::TextEncoder2,
            ),
            (
                "text_encoder_2.encoder.layers.0.self_attn.q_proj.lora_B.weight",
                Part::TextEncoder2,
            ),
        ] {
            let layer = "text_model_encoder_layers_0_self_attn_q_proj".to_owned();
            assert_eq!(read(key), Some((part, layer, Role::Up)), "{key}");
        }
    }

    #[test]
    fn other_names_are_none() {
        for key in [
            "lora_unet_input_blocks_4_1_proj_in.dora_scale",
            "lora_unet_input_blocks_4_1_proj_in.hada_w1_a",
            "lora_unet_input_blocks_4_1_proj_in.lokr_w1",
            "lora_unet_input_blocks_4_1_proj_in.diff",
            "lora_unet_input_blocks_4_1_proj_in.lora_mid.weight",
            "unet.down_blocks.1.attentions.0.proj_in.lora_B.bias",
            "unet.down_blocks.1.attentions.0.proj_in.lora_magnitude_vector",
            "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
            "conv_in.weight",
            "",
        ] {
            assert_eq!(read(key), None, "{key}");
        }
    }
}
