//! Flags of the tools that run a model.

// Doc comments here are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use turbo_sdxl::{DType, Device};

/// The model where nothing names another.
pub const DEFAULT_MODEL: &str = "stabilityai/sdxl-turbo";

/// The environment variable that names the model where neither flag nor stream does.
pub const MODEL_VARIABLE: &str = "TURBO_MODEL";

/// Which model, and where and how it is computed.
#[derive(Args, Clone, Debug, Default)]
pub struct ModelArgs {
    /// Model: demo, a folder, a .safetensors file, or a hub id
    ///
    /// "demo" is the built-in one; a folder is in diffusers layout; a hub id
    /// (owner/name or owner/name@revision) is looked up in the Hugging Face cache, where fetch-model puts it.
    /// Without this flag: the model named in the stream, else $TURBO_MODEL, else
    /// stabilityai/sdxl-turbo.
    #[arg(help_heading = "Model", short, long, value_name = "MODEL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub model: Option<String>,

    /// Where to compute: cpu, cuda, cuda:N or metal
    ///
    /// cuda and metal need a build with the cargo feature of that name. candle-cpu is the
    /// portable reference path, slow, for comparisons.
    #[arg(help_heading = "Model", long, value_name = "DEVICE", default_value_t)]
    pub device: Device,

    /// Number type of the computation
    ///
    /// auto is the fastest type whose error stays within that of PyTorch in the same type; f32
    /// is the type in which results equal those of diffusers.
    #[arg(help_heading = "Model", long, value_name = "TYPE", default_value_t, value_parser = dtypes())]
    pub dtype: DType,

    /// CPU threads; without it, one for each core
    #[arg(help_heading = "Model", long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

impl ModelArgs {
    /// The model to use: the flag, else the one `stream` names, else `$TURBO_MODEL`, else
    /// [`DEFAULT_MODEL`]. Empty names count as none.
    pub fn choose(&self, stream: Option<&str>) -> String {
        let variable = std::env::var(MODEL_VARIABLE).ok();
        self.choose_from(stream, variable.as_deref())
    }

    fn choose_from(&self, stream: Option<&str>, variable: Option<&str>) -> String {
        [self.model.as_deref(), stream, variable]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .unwrap_or(DEFAULT_MODEL)
            .to_owned()
    }
}

/// The parser of `--dtype`, whose help lists the types.
fn dtypes() -> impl TypedValueParser<Value = DType> {
    let all = DType::ALL.map(|dtype| PossibleValue::new(dtype.name()).help(dtype.about()));
    PossibleValuesParser::new(all).try_map(|name| name.parse::<DType>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_then_the_stream_then_the_variable() {
        let flag = ModelArgs {
            model: Some("flag".to_owned()),
            ..ModelArgs::default()
        };
        assert_eq!(flag.choose_from(Some("stream"), Some("variable")), "flag");
        let none = ModelArgs::default();
        assert_eq!(none.choose_from(Some("stream"), Some("variable")), "stream");
        assert_eq!(none.choose_from(Some(""), Some("variable")), "variable");
        assert_eq!(none.choose_from(None, Some("")), DEFAULT_MODEL);
    }
}
