//! A text encoder's `config.json`.

use crate::backend::Activation;
use crate::{ConfigFile, Result};

/// `CLIPTextConfig`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CLIPTextConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width between the two linear layers.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads of every attention.
    pub num_attention_heads: usize,
    /// The most tokens a text can have.
    pub max_position_embeddings: usize,
    /// Between the two linear layers.
    pub hidden_act: Activation,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f32,
    /// Width of the pooled vector.
    pub projection_dim: usize,
    /// The id that ends a text; 2 in published files, where it stands for "the largest id".
    pub eos_token_id: u32,
}

impl CLIPTextConfig {
    /// Reads the configuration; `hidden_act`, `layer_norm_eps`, `eos_token_id` and `projection_dim` have
    /// transformers' defaults.
    ///
    /// # Errors
    /// A value that is not supported, with its key.
    pub(crate) fn from_json(c: &ConfigFile<'_>) -> Result<Self> {
        let activations = "\"quick_gelu\", \"gelu\"";
        let hidden_act: Option<String> = c.optional("hidden_act", activations)?;
        let config = Self {
            vocab_size: c.count("vocab_size")?,
            hidden_size: c.count("hidden_size")?,
            intermediate_size: c.count("intermediate_size")?,
            num_hidden_layers: c.count("num_hidden_layers")?,
            num_attention_heads: c.count("num_attention_heads")?,
            max_position_embeddings: c.count("max_position_embeddings")?,
            hidden_act: match hidden_act.as_deref() {
                Some("quick_gelu") | None => Activation::QuickGelu,
                Some("gelu") => Activation::Gelu,
                Some(_) => return Err(c.refuse("hidden_act", activations)),
            },
            layer_norm_eps: c.optional("layer_norm_eps", "a number")?.unwrap_or(1e-5),
            projection_dim: c
                .optional("projection_dim", "a whole number")?
                .unwrap_or(512),
            eos_token_id: c.optional("eos_token_id", "a token's id")?.unwrap_or(49407),
        };
        if !config
            .hidden_size
            .is_multiple_of(config.num_attention_heads)
        {
            return Err(c.refuse("num_attention_heads", "a divisor of hidden_size"));
        }
        Ok(config)
    }

    /// The position the pooled vector is taken from.
    ///
    /// Published files say `eos_token_id` 2, which is no end of text; transformers then takes the first of the
    /// largest ids. Otherwise it takes the first `eos_token_id`, or position 0 where there is none.
    pub(crate) fn end_of_text(&self, ids: &[u32]) -> usize {
        let eos = match self.eos_token_id {
            2 => ids.iter().copied().max().unwrap_or(0),
            id => id,
        };
        ids.iter().position(|&id| id == eos).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::path::Path;

    fn read(change: (&str, Value)) -> Result<CLIPTextConfig> {
        let mut json = json!({
            "vocab_size": 49408, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
            "num_attention_heads": 20, "max_position_embeddings": 77, "hidden_act": "gelu", "eos_token_id": 2,
            "projection_dim": 1280, "layer_norm_eps": 1e-5,
        });
        json[change.0] = change.1;
        CLIPTextConfig::from_json(&ConfigFile::new(Path::new("config.json"), &json)?)
    }

    #[test]
    fn the_legacy_end_of_text_is_the_first_of_the_largest_ids() {
        let legacy = read(("eos_token_id", json!(2))).unwrap();
        assert_eq!(legacy.end_of_text(&[49406, 320, 49407, 49407]), 2);
        // A textual-inversion token beyond the vocabulary's end wins, as in transformers.
        assert_eq!(legacy.end_of_text(&[49406, 49408, 49407, 0]), 1);
        let modern = read(("eos_token_id", json!(49407))).unwrap();
        assert_eq!(modern.end_of_text(&[49406, 49408, 49407, 0]), 2);
        assert_eq!(modern.end_of_text(&[49406, 320]), 0);
    }

    #[test]
    fn activations_are_told_apart_and_others_refused() {
        assert_eq!(
            read(("hidden_act", json!("gelu"))).unwrap().hidden_act,
            Activation::Gelu
        );
        let quick = read(("hidden_act", json!("quick_gelu"))).unwrap();
        assert_eq!(quick.hidden_act, Activation::QuickGelu);
        let message = read(("hidden_act", json!("gelu_new")))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("`hidden_act` is \"gelu_new\""),
            "{message}"
        );
        assert!(read(("num_attention_heads", json!(7))).is_err());
        assert!(read(("num_hidden_layers", json!(0))).is_err());
        assert!(read(("num_hidden_layers", json!("12"))).is_err());
    }
}
