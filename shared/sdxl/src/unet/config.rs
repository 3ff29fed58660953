//! The UNet's `config.json`.

use crate::{ConfigFile, Result};
use serde_json::json;

/// `UNet2DConditionModel`'s configuration, as far as it varies among SDXL checkpoints. Lists go from the first to the
/// last down block, except [`UNet2DConditionConfig::up_attention`].
#[derive(Clone, Debug, PartialEq)]
pub struct UNet2DConditionConfig {
    /// Sides of the default sample, in latent pixels.
    pub sample_size: usize,
    /// Channels of the sample.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Resnets of each down block; the up blocks have one more.
    pub layers_per_block: Vec<usize>,
    /// Whether each down block is a `CrossAttnDownBlock2D`.
    pub down_attention: Vec<bool>,
    /// Whether each up block is a `CrossAttnUpBlock2D`, from the lowest to the highest.
    pub up_attention: Vec<bool>,
    /// Transformer blocks in each attention of each down block.
    pub transformer_layers_per_block: Vec<Vec<usize>>,
    /// Transformer blocks in each attention of each up block, from the lowest to the highest.
    pub up_transformer_layers: Vec<Vec<usize>>,
    /// Transformer blocks of the mid block's attention; none for a `UNetMidBlock2D`, which is one resnet (SSD-1B and
    /// Segmind-Vega).
    pub mid_transformer_layers: Option<usize>,
    /// Heads of each attention: the file's `attention_head_dim`, which diffusers reads as a number of heads.
    pub num_attention_heads: Vec<usize>,
    /// Width of the prompt's rows.
    pub cross_attention_dim: usize,
    /// Sinusoids of each size.
    pub addition_time_embed_dim: usize,
    /// Width of pooled vector and sizes' sinusoids together.
    pub projection_class_embeddings_input_dim: usize,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Epsilon of the resnets' norms.
    pub norm_eps: f32,
    /// Cosines before sines.
    pub flip_sin_to_cos: bool,
    /// Shift in the divisor of the sinusoids' exponents.
    pub freq_shift: f32,
}

impl UNet2DConditionConfig {
    /// Reads the configuration; a missing key has diffusers' default.
    ///
    /// # Errors
    /// A value that is not supported, with its key.
    pub fn from_json(c: &ConfigFile<'_>) -> Result<Self> {
        refuse_unsupported(c)?;
        let channels: Vec<usize> = c.required("block_out_channels", "a list of channels")?;
        let levels = channels.len();
        let down: Vec<String> = c.required("down_block_types", "a list of block types")?;
        let up: Vec<String> = c.required("up_block_types", "a list of block types")?;
        let attends = |key: &str, types: &[String], with: &str, without: &str| {
            let supported = format!("a list of {levels} of \"{with}\" and \"{without}\"");
            if types.len() != levels || types.iter().any(|t| t != with && t != without) {
                return Err(c.refuse(key, supported));
            }
            Ok(types.iter().map(|t| t == with).collect())
        };
        let layers = c.counts("layers_per_block", levels, Some(2))?;
        let depths = depths(c, "transformer_layers_per_block", &layers)?;
        // Listed from the lowest up block on, where the way up differs; each has one attention more.
        let more: Vec<usize> = layers.iter().map(|n| n + 1).collect();
        let up_depths = if c.has("reverse_transformer_layers_per_block") {
            let lowest_first: Vec<usize> = more.iter().rev().copied().collect();
            let mut up = self::depths(c, "reverse_transformer_layers_per_block", &lowest_first)?;
            up.reverse();
            up
        } else if depths
            .iter()
            .all(|depths| depths.windows(2).all(|pair| pair[0] == pair[1]))
        {
            let even = depths.iter().zip(&more);
            even.map(|(depths, count)| vec![depths.first().copied().unwrap_or(1); *count])
                .collect()
        } else {
            let supported = "`reverse_transformer_layers_per_block` beside it, as attentions of one block differ";
            return Err(c.refuse("transformer_layers_per_block", supported));
        };
        let config = Self {
            sample_size: c.count("sample_size")?,
            in_channels: c.count("in_channels")?,
            out_channels: c.count("out_channels")?,
            layers_per_block: layers,
            down_attention: attends(
                "down_block_types",
                &down,
                "CrossAttnDownBlock2D",
                "DownBlock2D",
            )?,
            up_attention: attends("up_block_types", &up, "CrossAttnUpBlock2D", "UpBlock2D")?,
            mid_transformer_layers: mid_transformer_layers(c, &depths),
            up_transformer_layers: up_depths.iter().rev().cloned().collect(),
            transformer_layers_per_block: depths,
            num_attention_heads: c.counts("attention_head_dim", levels, Some(8))?,
            cross_attention_dim: c.count("cross_attention_dim")?,
            addition_time_embed_dim: c.count("addition_time_embed_dim")?,
            projection_class_embeddings_input_dim: c
                .count("projection_class_embeddings_input_dim")?,
            norm_num_groups: c
                .optional("norm_num_groups", "a whole number from 1")?
                .unwrap_or(32),
            norm_eps: c.optional("norm_eps", "a number")?.unwrap_or(1e-5),
            flip_sin_to_cos: c
                .optional("flip_sin_to_cos", "true, false")?
                .unwrap_or(true),
            freq_shift: c.optional("freq_shift", "a number")?.unwrap_or(0.),
            block_out_channels: channels,
        };
        config.check(c)?;
        Ok(config)
    }

    /// Checks what must fit together.
    fn check(&self, c: &ConfigFile<'_>) -> Result<()> {
        let channels = &self.block_out_channels;
        let groups = self.norm_num_groups;
        if channels.is_empty() || channels.iter().any(|&n| n == 0 || n % 2 == 1) {
            return Err(c.refuse("block_out_channels", "a list of even numbers"));
        }
        if groups == 0 || channels.iter().any(|n| n % groups != 0) {
            return Err(c.refuse("norm_num_groups", "a divisor of each of block_out_channels"));
        }
        let heads = &self.num_attention_heads;
        if channels.iter().zip(heads).any(|(n, heads)| n % heads != 0) {
            let supported = "numbers of heads, each a divisor of its block's channels";
            return Err(c.refuse("attention_head_dim", supported));
        }
        if self.addition_time_embed_dim % 2 == 1 {
            return Err(c.refuse("addition_time_embed_dim", "an even number"));
        }
        let sizes = 6 * self.addition_time_embed_dim;
        if self.projection_class_embeddings_input_dim <= sizes {
            let supported = format!("a number above {sizes}, which is 6 addition_time_embed_dim");
            return Err(c.refuse("projection_class_embeddings_input_dim", supported));
        }
        Ok(())
    }

    /// Width of the time embedding.
    pub fn time_embed_dim(&self) -> usize {
        4 * self.block_out_channels[0]
    }

    /// Width of the pooled vector.
    pub fn pooled_dim(&self) -> usize {
        self.projection_class_embeddings_input_dim - 6 * self.addition_time_embed_dim
    }
}

/// Transformer blocks of each attention, `counts` attentions a block: a number for all, or a list with, for each block,
/// a number or a list.
fn depths(c: &ConfigFile<'_>, key: &str, counts: &[usize]) -> Result<Vec<Vec<usize>>> {
    #[derive(Clone, serde::Deserialize)]
    #[serde(untagged)]
    enum Depth {
        Same(usize),
        Each(Vec<usize>),
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Depths {
        Same(usize),
        Each(Vec<Depth>),
    }
    let levels = counts.len();
    let supported = format!(
        "a whole number from 1, or a list of {levels} of them or of lists with a number for each attention"
    );
    let blocks = match c.optional::<Depths>(key, &supported)? {
        None => vec![Depth::Same(1); levels],
        Some(Depths::Same(depth)) => vec![Depth::Same(depth); levels],
        Some(Depths::Each(blocks)) => blocks,
    };
    let depths: Vec<Vec<usize>> = blocks
        .iter()
        .zip(counts)
        .map(|(block, count)| match block {
            Depth::Same(depth) => vec![*depth; *count],
            Depth::Each(depths) => depths.clone(),
        })
        .collect();
    let fits = blocks.len() == levels
        && depths
            .iter()
            .zip(counts)
            .all(|(depths, count)| depths.len() == *count)
        && !depths.iter().flatten().any(|depth| *depth == 0);
    if fits {
        Ok(depths)
    } else {
        Err(c.refuse(key, supported))
    }
}

/// As diffusers: the mid block's attention is as deep as the last down block's first.
fn mid_transformer_layers(c: &ConfigFile<'_>, depths: &[Vec<usize>]) -> Option<usize> {
    if c.is("mid_block_type", "UNetMidBlock2D") {
        return None;
    }
    Some(depths.last()?.first().copied().unwrap_or(1))
}

/// Refuses what other members of the family do and SDXL doesn't.
fn refuse_unsupported(c: &ConfigFile<'_>) -> Result<()> {
    let no = [json!(false)];
    let levels: Vec<String> = c
        .optional("down_block_types", "a list of block types")?
        .unwrap_or_default();
    let no_list = json!(vec![false; levels.len()]);
    c.only("act_fn", &[json!("silu"), json!("swish")])?;
    // Missing, these three would mean another network than SDXL's.
    c.required::<String>("addition_embed_type", "\"text_time\"")?;
    c.only("addition_embed_type", &[json!("text_time")])?;
    c.required::<bool>("use_linear_projection", "true")?;
    c.only("use_linear_projection", &[json!(true)])?;
    c.only("attention_type", &[json!("default")])?;
    c.only("center_input_sample", &no)?;
    c.only("class_embed_type", &[])?;
    c.only("class_embeddings_concat", &no)?;
    c.only("conv_in_kernel", &[json!(3)])?;
    c.only("conv_out_kernel", &[json!(3)])?;
    c.only("cross_attention_norm", &[])?;
    c.only("downsample_padding", &[json!(1)])?;
    c.only("dual_cross_attention", &no)?;
    c.only("encoder_hid_dim", &[])?;
    c.only("encoder_hid_dim_type", &[])?;
    c.only("mid_block_only_cross_attention", &no)?;
    c.only("mid_block_scale_factor", &[json!(1)])?;
    c.only(
        "mid_block_type",
        &[json!("UNetMidBlock2DCrossAttn"), json!("UNetMidBlock2D")],
    )?;
    c.only("num_attention_heads", &[])?;
    c.only("num_class_embeds", &[])?;
    c.only("only_cross_attention", &[json!(false), no_list])?;
    c.only("resnet_out_scale_factor", &[json!(1)])?;
    c.only("resnet_skip_time_act", &no)?;
    c.only("resnet_time_scale_shift", &[json!("default")])?;
    c.only("time_cond_proj_dim", &[])?;
    c.only("time_embedding_act_fn", &[])?;
    c.only("time_embedding_dim", &[])?;
    c.only("time_embedding_type", &[json!("positional")])?;
    c.only("timestep_post_act", &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::path::Path;

    /// SDXL Turbo's values, as diffusers' documentation and published copies give them.
    fn turbo() -> Value {
        json!({
            "act_fn": "silu", "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "attention_head_dim": [5, 10, 20], "block_out_channels": [320, 640, 1280],
            "cross_attention_dim": 2048, "in_channels": 4, "out_channels": 4, "layers_per_block": 2,
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "projection_class_embeddings_input_dim": 2816, "sample_size": 64, "time_cond_proj_dim": null,
            "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": true, "upcast_attention": null,
        })
    }

    fn read(json: &Value) -> Result<UNet2DConditionConfig> {
        UNet2DConditionConfig::from_json(&ConfigFile::new(Path::new("unet/config.json"), json)?)
    }

    #[test]
    fn published_values_are_read() {
        let c = read(&turbo()).unwrap();
        assert_eq!((c.pooled_dim(), c.time_embed_dim()), (1280, 1280));
        assert_eq!(c.num_attention_heads, [5, 10, 20]);
        assert_eq!(c.down_attention, [false, true, true]);
        assert_eq!(c.up_attention, [true, true, false]);
        assert_eq!((c.norm_num_groups, c.layers_per_block.len()), (32, 3));
    }

    #[test]
    fn fewer_blocks_are_read_from_their_own_config() {
        let c = read(&turbo()).unwrap();
        assert_eq!(c.transformer_layers_per_block, [[1; 2], [2; 2], [10; 2]]);
        assert_eq!(c.up_transformer_layers, [[10; 3], [2; 3], [1; 3]]);
        assert_eq!(c.mid_transformer_layers, Some(10));
        // SSD-1B's values.
        let mut json = turbo();
        json["mid_block_type"] = json!("UNetMidBlock2D");
        json["transformer_layers_per_block"] = json!([1, [2, 2], [4, 4]]);
        json["reverse_transformer_layers_per_block"] = json!([[4, 4, 10], [2, 1, 1], 1]);
        let c = read(&json).unwrap();
        assert_eq!(c.transformer_layers_per_block, [[1; 2], [2; 2], [4; 2]]);
        assert_eq!(c.up_transformer_layers, [[4, 4, 10], [2, 1, 1], [1; 3]]);
        assert_eq!(c.mid_transformer_layers, None);
        for (key, value) in [
            (
                "reverse_transformer_layers_per_block",
                json!([[4, 4], [2, 1, 1], 1]),
            ),
            ("reverse_transformer_layers_per_block", json!([1, 1])),
            ("transformer_layers_per_block", json!([1, [2, 0], 1])),
            ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ] {
            let mut json = json.clone();
            json[key] = value;
            assert!(read(&json).unwrap_err().to_string().contains(key));
        }
        json["transformer_layers_per_block"] = json!([1, [2, 1], 4]);
        json["reverse_transformer_layers_per_block"] = json!(null);
        let error = read(&json).unwrap_err().to_string();
        assert!(
            error.contains("reverse_transformer_layers_per_block"),
            "{error}"
        );
    }

    #[test]
    fn another_arithmetic_is_refused_by_name() {
        for (key, value) in [
            ("time_cond_proj_dim", json!(256)),
            ("only_cross_attention", json!(true)),
            ("resnet_time_scale_shift", json!("scale_shift")),
            ("attention_head_dim", json!([5, 10])),
            ("attention_head_dim", json!([7, 10, 20])),
            ("norm_num_groups", json!(0)),
            ("norm_num_groups", json!(33)),
            ("down_block_types", json!(["DownBlock2D"])),
            (
                "up_block_types",
                json!(["CrossAttnUpBlock2D", "UpBlock2D", "KUpBlock2D"]),
            ),
            ("addition_embed_type", json!("image")),
            ("addition_embed_type", json!(null)),
            ("use_linear_projection", json!(false)),
            ("class_embed_type", json!("timestep")),
            ("block_out_channels", json!([])),
            ("block_out_channels", json!("wide")),
            ("projection_class_embeddings_input_dim", json!(1536)),
            ("in_channels", json!(0)),
            ("sample_size", json!([64, 64])),
        ] {
            let mut json = turbo();
            json[key] = value;
            let message = read(&json).unwrap_err().to_string();
            assert!(message.starts_with("unet/config.json: `"), "{message}");
            assert!(
                message.contains(key) || key == "block_out_channels",
                "{key}: {message}"
            );
        }
    }
}
