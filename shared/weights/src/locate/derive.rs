//! Configs of checkpoints that come without: widths and depths from the tensors, the rest as published for SDXL.

use crate::tensors::TensorFile;
use crate::{Error, Part, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Reads what can be told off the tensors of a part (under diffusers' names).
pub(crate) struct Derive<'a> {
    pub(crate) file: &'a TensorFile,
    /// Where configs are looked for, for the error that asks for them.
    pub(crate) folder: &'a Path,
}

impl Derive<'_> {
    /// The config of a part in a single-file checkpoint; `pooled` is the width of the pooled text embedding.
    pub(crate) fn config(&self, part: Part, pooled: usize) -> Result<Value> {
        match part {
            Part::TextEncoder => self.text_encoder("CLIPTextModel", "quick_gelu"),
            Part::TextEncoder2 => self.text_encoder("CLIPTextModelWithProjection", "gelu"),
            Part::Unet => self.unet(pooled),
            Part::Vae => self.autoencoder_kl(),
        }
    }

    fn text_encoder(&self, class: &str, activation: &str) -> Result<Value> {
        let [vocab_size, hidden] = self.shape("text_model.embeddings.token_embedding.weight")?;
        let [positions, _] = self.shape("text_model.embeddings.position_embedding.weight")?;
        let [mlp, _] = self.shape("text_model.encoder.layers.0.mlp.fc1.weight")?;
        let layers = self.count("text_model.encoder.layers.", ".mlp.fc1.weight");
        let projection = self
            .file
            .shape("text_projection.weight")
            .map_or(hidden, |shape| shape[0]);
        // The number of heads leaves no trace in the tensors: known at the published widths only.
        let heads = match hidden {
            768 => 12,
            1280 => 20,
            _ => return Err(self.unknown(format!("num_attention_heads at {hidden} channels"))),
        };
        Ok(json!({
            "architectures": [class],
            "model_type": "clip_text_model",
            "hidden_act": activation,
            "hidden_size": hidden,
            "intermediate_size": mlp,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "projection_dim": projection,
            "vocab_size": vocab_size,
            "max_position_embeddings": positions,
            "layer_norm_eps": 1e-5,
            "bos_token_id": 0,
            "eos_token_id": 2,
            "pad_token_id": 1,
        }))
    }

    fn unet(&self, pooled: usize) -> Result<Value> {
        let [_, in_channels, kernel_in, _] = self.shape("conv_in.weight")?;
        let [out_channels, _, kernel_out, _] = self.shape("conv_out.weight")?;
        let [_, added] = self.shape("add_embedding.linear_1.weight")?;
        let levels = self.count("down_blocks.", ".resnets.0.conv1.weight");
        let layers = self.count("down_blocks.0.resnets.", ".conv1.weight");
        let (mut channels, mut depths, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        let (mut down, mut up) = (Vec::new(), Vec::new());
        let mut context = None;
        let mut linear = true;
        for level in 0..levels {
            let [width, ..] =
                self.shape::<4>(&format!("down_blocks.{level}.resnets.0.conv1.weight"))?;
            // Here, too, the head size leaves no trace; it is 64 at SDXL's widths.
            if ![320, 640, 1280].contains(&width) {
                return Err(self.unknown(format!("attention_head_dim at {width} channels")));
            }
            let attention = format!("down_blocks.{level}.attentions.0");
            let depth = self.count(
                &format!("{attention}.transformer_blocks."),
                ".attn2.to_k.weight",
            );
            down.push(if depth == 0 {
                "DownBlock2D"
            } else {
                "CrossAttnDownBlock2D"
            });
            up.insert(
                0,
                if depth == 0 {
                    "UpBlock2D"
                } else {
                    "CrossAttnUpBlock2D"
                },
            );
            if depth > 0 {
                let [_, width] = self.shape(&format!(
                    "{attention}.transformer_blocks.0.attn2.to_k.weight"
                ))?;
                context = Some(width);
                linear = self
                    .file
                    .shape(&format!("{attention}.proj_in.weight"))
                    .is_some_and(|s| s.len() == 2);
            }
            channels.push(width);
            depths.push(self.depths(&format!("down_blocks.{level}"), layers));
            heads.push(width / 64);
        }
        // Up blocks are listed from the lowest on; each has one attention more than its down block.
        let up_depths: Vec<Vec<usize>> = (0..levels)
            .map(|n| self.depths(&format!("up_blocks.{n}"), layers + 1))
            .collect();
        let is_even = |depths: &Vec<usize>| depths.iter().all(|depth| *depth == depths[0]);
        let mirrored = depths
            .iter()
            .rev()
            .zip(&up_depths)
            .all(|(down, up)| is_even(down) && is_even(up) && down.first() == up.first());
        let mid = self.count("mid_block.attentions.", ".proj_in.weight");
        // Six numbers of the micro-conditioning are embedded beside the pooled text.
        let Some(times) = added.checked_sub(pooled).filter(|n| n % 6 == 0) else {
            return Err(self.unknown(format!(
                "addition_time_embed_dim of {added} inputs with {pooled} pooled"
            )));
        };
        let mut config = json!({
            "_class_name": "UNet2DConditionModel",
            "sample_size": 64,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "block_out_channels": channels,
            "down_block_types": down,
            "mid_block_type": if mid > 0 { "UNetMidBlock2DCrossAttn" } else { "UNetMidBlock2D" },
            "up_block_types": up,
            "layers_per_block": layers,
            "transformer_layers_per_block": depths.iter().map(|d| if is_even(d) { json!(d[0]) } else { json!(d) }).collect::<Vec<_>>(),
            "attention_head_dim": heads,
            "num_attention_heads": null,
            "cross_attention_dim": context,
            "use_linear_projection": linear,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": times / 6,
            "projection_class_embeddings_input_dim": added,
            "conv_in_kernel": kernel_in,
            "conv_out_kernel": kernel_out,
            "norm_num_groups": 32,
            "norm_eps": 1e-5,
            "act_fn": "silu",
            "flip_sin_to_cos": true,
            "freq_shift": 0,
            "downsample_padding": 1,
            "mid_block_scale_factor": 1,
            "resnet_time_scale_shift": "default",
            "upcast_attention": null,
            "time_cond_proj_dim": null,
        });
        if !mirrored {
            config["reverse_transformer_layers_per_block"] = json!(up_depths);
        }
        Ok(config)
    }

    /// Transformer blocks in each of a block's `count` attentions; 1 where it has none, which then means nothing.
    fn depths(&self, block: &str, count: usize) -> Vec<usize> {
        let depth = |attention: usize| {
            let blocks = format!("{block}.attentions.{attention}.transformer_blocks.");
            self.count(&blocks, ".attn2.to_k.weight").max(1)
        };
        (0..count.max(1)).map(depth).collect()
    }

    /// The config of an `AutoencoderKL`, read off the decoder where there is one, else off the encoder.
    pub(crate) fn autoencoder_kl(&self) -> Result<Value> {
        let decoder = self.file.has_prefix("decoder.");
        let blocks = if decoder {
            "decoder.up_blocks"
        } else {
            "encoder.down_blocks"
        };
        let levels = self.count(&format!("{blocks}."), ".resnets.0.conv1.weight");
        let mut channels = Vec::new();
        for level in 0..levels {
            channels.push(self.shape::<4>(&format!("{blocks}.{level}.resnets.0.conv1.weight"))?[0]);
        }
        // The number of groups of the norms leaves no trace; it is 32 at SDXL's widths.
        if let Some(width) = channels.iter().find(|c| ![128, 256, 512].contains(*c)) {
            return Err(self.unknown(format!("norm_num_groups at {width} channels")));
        }
        let mut layers = self.count(&format!("{blocks}.0.resnets."), ".conv1.weight");
        let (pixel_channels, latent_channels);
        if decoder {
            channels.reverse();
            layers = layers.saturating_sub(1); // the decoder has one more than the config says
            [pixel_channels, ..] = self.shape::<4>("decoder.conv_out.weight")?;
            [_, latent_channels, ..] = self.shape::<4>("decoder.conv_in.weight")?;
        } else {
            [_, pixel_channels, ..] = self.shape::<4>("encoder.conv_in.weight")?;
            let [moments, ..] = self.shape::<4>("encoder.conv_out.weight")?;
            latent_channels = moments / 2; // mean and log variance
        }
        Ok(json!({
            "_class_name": "AutoencoderKL",
            "in_channels": pixel_channels,
            "out_channels": pixel_channels,
            "latent_channels": latent_channels,
            "block_out_channels": channels,
            "down_block_types": vec!["DownEncoderBlock2D"; levels],
            "up_block_types": vec!["UpDecoderBlock2D"; levels],
            "layers_per_block": layers,
            "norm_num_groups": 32,
            "act_fn": "silu",
            "sample_size": 1024,
            "scaling_factor": 0.13025,
            "force_upcast": true,
        }))
    }

    /// TAESDXL's config as diffusers' conversion of it is published, with the widths of these tensors.
    pub(crate) fn autoencoder_tiny(&self) -> Result<Value> {
        let (width, latent) = if self.file.has_prefix("decoder.") {
            let [width, latent, ..] = self.shape::<4>("decoder.layers.0.weight")?;
            (width, latent)
        } else {
            let [width, ..] = self.shape::<4>("encoder.layers.0.weight")?;
            let [latent, ..] = self.shape::<4>("encoder.layers.14.weight")?;
            (width, latent)
        };
        Ok(json!({
            "_class_name": "AutoencoderTiny",
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": latent,
            "encoder_block_out_channels": vec![width; 4],
            "decoder_block_out_channels": vec![width; 4],
            "num_encoder_blocks": [1, 3, 3, 3],
            "num_decoder_blocks": [3, 3, 3, 1],
            "act_fn": "relu",
            "upsample_fn": "nearest",
            "upsampling_scaling_factor": 2,
            "latent_magnitude": 3,
            "latent_shift": 0.5,
            "scaling_factor": 1.0,
            "shift_factor": 0.0,
            "force_upcast": false,
        }))
    }

    fn shape<const RANK: usize>(&self, name: &str) -> Result<[usize; RANK]> {
        let path = || self.file.path.clone();
        let Some(shape) = self.file.shape(name) else {
            return Err(Error::MissingTensor {
                path: path(),
                name: name.to_owned(),
                hint: String::new(),
            });
        };
        shape.try_into().map_err(|_| Error::WrongRank {
            path: path(),
            name: name.to_owned(),
            expected: RANK,
            found: shape.to_vec(),
        })
    }

    /// How many n there are, from 0 on, with a tensor `PREFIXnSUFFIX`.
    fn count(&self, prefix: &str, suffix: &str) -> usize {
        let most = self.file.weights.len();
        (0..most)
            .take_while(|n| self.file.shape(&format!("{prefix}{n}{suffix}")).is_some())
            .count()
    }

    fn unknown(&self, what: String) -> Error {
        let (path, folder): (PathBuf, PathBuf) = (self.file.path.clone(), self.folder.to_owned());
        Error::NoConfig { path, what, folder }
    }
}

/// The published `scheduler_config.json` of SDXL Turbo. Its own class does not know all of these keys; others do, and
/// take them over, as DDIM `clip_sample`.
pub(crate) fn scheduler() -> Value {
    json!({
        "_class_name": "EulerAncestralDiscreteScheduler",
        "timestep_spacing": "trailing",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "steps_offset": 1,
        "trained_betas": null,
        "interpolation_type": "linear",
        "clip_sample": false,
        "sample_max_value": 1.0,
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
    })
}

/// The published `model_index.json`.
pub(crate) fn model_index() -> Value {
    json!({
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": true,
        "scheduler": ["diffusers", scheduler()["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;
    use turbo_testkit::golden_dir;

    fn object(file: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(golden_dir().join(file)).unwrap()).unwrap()
    }

    /// A file of the published shapes that takes no room on the disk: nothing but its header is written.
    fn sparse(folder: &Path, part: Part, shapes: &Value) -> TensorFile {
        let (mut header, mut at) = (serde_json::Map::new(), 0);
        for (key, shape) in shapes[part.folder()].as_object().unwrap() {
            let end = at
                + 2 * shape
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| n.as_u64().unwrap())
                    .product::<u64>();
            header.insert(
                key.clone(),
                json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}),
            );
            at = end;
        }
        let header = Value::Object(header).to_string();
        let path = folder.join(part.folder()).with_extension("safetensors");
        let start = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        std::fs::write(&path, &start).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .set_len(start.len() as u64 + at)
            .unwrap();
        let mut file = TensorFile::open(&path).unwrap();
        names::canonical(part, &mut file);
        file
    }

    #[test]
    fn configs_of_the_published_shapes_are_the_published_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (shapes, published) = (object("full_shapes.json"), object("full_configs.json"));
        for part in Part::ALL {
            let file = sparse(folder.path(), part, &shapes);
            let derive = Derive {
                file: &file,
                folder: folder.path(),
            };
            let config = derive.config(part, 1280).unwrap();
            for (key, value) in config.as_object().unwrap() {
                assert_eq!(
                    value,
                    &published[part.folder()][key],
                    "{} {key}",
                    part.folder()
                );
            }
        }
        for (ours, name) in [(scheduler(), "scheduler"), (model_index(), "model_index")] {
            for (key, value) in ours.as_object().unwrap() {
                assert_eq!(value, &published[name][key], "{name} {key}");
            }
        }
        for key in published["scheduler"].as_object().unwrap().keys() {
            assert!(
                key == "_diffusers_version" || scheduler().get(key).is_some(),
                "{key}"
            );
        }
    }
}
