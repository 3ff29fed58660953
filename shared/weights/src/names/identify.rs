//! What a file is that is not what was asked for, told by the names and shapes of its tensors.
//!
//! The marks are those of diffusers' `loaders/single_file_utils.py` (`CHECKPOINT_KEY_NAMES`) and of the files as they
//! are published.

use crate::tensors::TensorFile;

/// What the file is, with its article: a checkpoint of another architecture, an adapter, a part. None if it is SDXL's
/// single-file layout, or unknown.
pub(crate) fn identify(file: &TensorFile) -> Option<&'static str> {
    let has = |prefix: &str| file.has_prefix(prefix);
    let any = |words: &[&str]| {
        file.weights
            .iter()
            .any(|w| words.iter().any(|word| w.name().contains(word)))
    };
    if any(&[
        ".lora_down.",
        ".lora_A.",
        ".lora.down.",
        "_lora.down.",
        ".lora_linear_layer.",
        ".hada_w1",
        ".lokr_w1",
        ".dora_scale",
    ]) {
        return Some("a LoRA: give it with --lora");
    }
    if has("control_model.") || has("controlnet_") || has("lllite_unet") || has("input_hint_block.")
    {
        return Some("a ControlNet");
    }
    if has("image_proj.") || has("ip_adapter.") {
        return Some("an IP-Adapter");
    }
    if file.shape("clip_l").is_some()
        || file.shape("clip_g").is_some()
        || file.shape("emb_params").is_some()
    {
        return Some("a textual inversion: give it with --embedding");
    }
    // Denoisers that are no UNet come before the prefixes that all checkpoints share.
    if any(&["double_blocks.", "single_transformer_blocks."]) {
        return Some("a checkpoint of Flux");
    }
    if any(&["joint_blocks."]) {
        return Some("a checkpoint of Stable Diffusion 3");
    }
    if any(&["caption_projection.", "cap_embedder.", "t_block.1."]) {
        return Some("a checkpoint of a diffusion transformer");
    }
    if has("down_blocks.0.0.") || any(&["clf.1.", "effnet_mapper."]) {
        return Some("a checkpoint of Stable Cascade");
    }
    let unet = "model.diffusion_model.";
    if has(unet) {
        let context = ["input_blocks.1.1", "input_blocks.2.1", "input_blocks.4.1"]
            .iter()
            .find_map(|block| {
                let name = format!("{unet}{block}.transformer_blocks.0.attn2.to_k.weight");
                file.shape(&name)?.last().copied()
            });
        let adds = file.shape("model.diffusion_model.label_emb.0.0.weight");
        return match (context, adds) {
            (Some(768), None) => Some("a checkpoint of Stable Diffusion 1"),
            (Some(1024), None) => Some("a checkpoint of Stable Diffusion 2 or SD Turbo"),
            (Some(1280), _) => Some("SDXL's refiner"),
            _ => None,
        };
    }
    None
}

/// For which other architecture a LoRA is made, where it can be told.
pub(crate) fn other_lora(file: &TensorFile) -> Option<&'static str> {
    let names = || file.weights.iter().map(crate::tensors::Weight::name);
    let any = |words: &[&str]| names().any(|name| words.iter().any(|word| name.contains(word)));
    if any(&[
        "double_blocks",
        "single_blocks",
        "single_transformer_blocks",
    ]) {
        return Some("Flux");
    }
    if any(&[
        "joint_blocks",
        "transformer.transformer_blocks",
        "lora_transformer_",
    ]) {
        return Some("Stable Diffusion 3 or another transformer");
    }
    if names().any(|name| name.starts_with("lora_te_")) {
        return Some("Stable Diffusion 1 or 2");
    }
    // The width of the text that cross-attention reads; SDXL has 2048.
    let down = |name: &str| {
        (name.contains("attn2_to_k")
            || name.contains("attn2.to_k")
            || name.contains("attn2.processor.to_k"))
            && (name.contains("down.weight") || name.contains("lora_A"))
    };
    let reader = file.weights.iter().find(|w| down(w.name()))?;
    match reader.shape().get(1)? {
        768 => Some("Stable Diffusion 1"),
        1024 => Some("Stable Diffusion 2"),
        1280 => Some("SDXL's refiner"),
        _ => None,
    }
}
