//! Which weights become int8, and which layers keep float activations though their weights are int8.

use crate::Part;

/// Layers whose weights stay as they are: few numbers that much depends on. Names of layers, or the ends of names.
const EXACT_UNET: [&str; 6] = [
    // MixDQ (ECCV 2024, arXiv 2405.17873) measured on SDXL Turbo, layer by layer, that int8 harms these most.
    "conv_in",
    "conv_out",
    "down_blocks.0.resnets.0.conv2",
    "up_blocks.2.resnets.2.conv_shortcut",
    // Embeddings of time and size go into one position: no time is won.
    "time_emb_proj",
    "embedding.linear_1",
];

/// See [`EXACT_UNET`].
const EXACT: [&str; 8] = [
    "embedding.linear_2",
    "token_embedding",
    "position_embedding",
    "text_projection",
    "encoder.conv_in",
    "encoder.conv_out",
    "decoder.conv_in",
    "decoder.conv_out",
];

/// Where `MixDQ` found the inputs to be the most uneven: outputs of feed-forwards.
const UNEVEN: [&str; 5] = [
    "down_blocks.2.attentions.1.transformer_blocks.5.ff.net.2",
    "down_blocks.2.attentions.1.transformer_blocks.6.ff.net.2",
    "down_blocks.2.attentions.1.transformer_blocks.7.ff.net.2",
    "down_blocks.2.attentions.1.transformer_blocks.8.ff.net.2",
    "up_blocks.0.attentions.0.transformer_blocks.0.ff.net.2",
];

/// The layer of a weight of these axes, if the weight is to become int8: a matrix or a convolution that is none of the few
/// layers that stay exact, of a part's or, as in a single-file checkpoint, any name.
pub fn int8_layer<'a>(part: Part, name: &'a str, shape: &[usize]) -> Option<&'a str> {
    let layer = name.strip_suffix(".weight")?;
    // quant_conv and post_quant_conv, which are as small.
    let small = layer.ends_with("quant_conv");
    let unet = part == Part::Unet && ends_with_any(layer, &EXACT_UNET);
    (shape.len() >= 2 && !small && !unet && !ends_with_any(layer, &EXACT)).then_some(layer)
}

/// Whether a layer of a `UNet` keeps float activations beside weights of int8. The prompt's first token is some sixty times
/// as large as the others, and its small channels count: what reads the prompt keeps it as it is.
pub fn keeps_float_activations(layer: &str) -> bool {
    layer.ends_with(".attn2.to_k") || layer.ends_with(".attn2.to_v") || UNEVEN.contains(&layer)
}

fn ends_with_any(layer: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| {
        let rest = layer.strip_suffix(end);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '_']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_and_convolutions_become_int8_but_for_some() {
        let layer = |name| int8_layer(Part::Unet, name, &[4, 4]);
        assert_eq!(
            layer("mid_block.resnets.0.conv1.weight"),
            Some("mid_block.resnets.0.conv1")
        );
        for name in [
            "conv_in.weight",
            "down_blocks.0.resnets.0.conv2.weight",
            "mid_block.resnets.0.time_emb_proj.weight",
            "time_embedding.linear_1.weight",
            "add_embedding.linear_2.weight",
            "conv_in.bias",
        ] {
            assert_eq!(layer(name), None, "{name}");
        }
        assert!(layer("down_blocks.1.resnets.0.conv2.weight").is_some());
        let norm = "down_blocks.1.resnets.0.norm1.weight";
        assert_eq!(int8_layer(Part::Unet, norm, &[4]), None);
        let token = "text_model.embeddings.token_embedding.weight";
        assert_eq!(int8_layer(Part::TextEncoder, token, &[9, 4]), None);
        let conv = "decoder.up_blocks.0.resnets.2.conv_shortcut.weight";
        assert!(int8_layer(Part::Vae, conv, &[4, 4, 1, 1]).is_some());
        assert_eq!(
            int8_layer(Part::Vae, "post_quant_conv.weight", &[4, 4, 1, 1]),
            None
        );
        assert_eq!(
            int8_layer(Part::Vae, "decoder.conv_in.weight", &[4, 4, 3, 3]),
            None
        );
    }

    #[test]
    fn what_reads_the_prompt_keeps_floats() {
        let block = "down_blocks.2.attentions.1.transformer_blocks.5";
        for (layer, keeps) in [
            ("attn1.to_k", false),
            ("attn2.to_q", false),
            ("attn2.to_k", true),
            ("attn2.to_v", true),
            ("ff.net.0.proj", false),
            ("ff.net.2", true),
        ] {
            assert_eq!(
                keeps_float_activations(&format!("{block}.{layer}")),
                keeps,
                "{layer}"
            );
        }
    }
}
