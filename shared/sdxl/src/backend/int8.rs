//! Which layers keep float activations though their weights are int8.

/// What MixDQ (ECCV 2024, arXiv 2405.17873) measured on SDXL Turbo, layer by layer: the outputs of feed-forwards whose
/// inputs are the most uneven.
const UNEVEN: [&str; 5] = [
    "down_blocks.2.attentions.1.transformer_blocks.5.ff.net.2.weight",
    "down_blocks.2.attentions.1.transformer_blocks.6.ff.net.2.weight",
    "down_blocks.2.attentions.1.transformer_blocks.7.ff.net.2.weight",
    "down_blocks.2.attentions.1.transformer_blocks.8.ff.net.2.weight",
    "up_blocks.0.attentions.0.transformer_blocks.0.ff.net.2.weight",
];

/// Whether a layer's activations stay floats, by the name of its weight. The prompt's first token is some sixty times as
/// large as the others, and its small channels count: what reads the prompt in a UNet keeps it as it is.
pub(super) fn keeps_floats(weight: &str) -> bool {
    weight.ends_with(".attn2.to_k.weight")
        || weight.ends_with(".attn2.to_v.weight")
        || UNEVEN.contains(&weight)
}
