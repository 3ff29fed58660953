//! Flags of the tools that run a model.

// Doc comments here are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use turbo_cli::Error;

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
    #[arg(
        help_heading = "Model",
        long,
        value_enum,
        value_name = "TYPE",
        default_value_t
    )]
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

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The CPU, with this project's kernels.
    #[default]
    Cpu,
    /// The CUDA device of that number.
    Cuda(usize),
    /// The first Metal device.
    Metal,
    /// The CPU, with candle's own operations.
    CandleCpu,
}

impl Device {
    /// The cargo feature that a build needs for this device, if any.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu | Self::CandleCpu => None,
            Self::Cuda(_) => Some("cuda"),
            Self::Metal => Some("metal"),
        }
    }

    /// The error for a device that this build of `tool` cannot drive. It says how to build one
    /// that can.
    pub fn unsupported(self, tool: &str) -> Error {
        match self.feature() {
            Some(feature) => Error::new(format_args!(
                "--device {self}: expected a build with the cargo feature \"{feature}\", found \
                 one without it; rebuild with `cargo build --release -p {tool} --features \
                 {feature}`, or leave --device out to use the CPU"
            )),
            None => Error::new(format_args!(
                "--device {self}: {tool} does not have it; leave --device out to use the CPU"
            )),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            "candle-cpu" => Ok(Self::CandleCpu),
            _ => text
                .strip_prefix("cuda:")
                .filter(|n| n.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "expected cpu, cuda, cuda:N, metal or candle-cpu".to_owned()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal => f.write_str("metal"),
            Self::CandleCpu => f.write_str("candle-cpu"),
        }
    }
}

/// The values of `--dtype`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum DType {
    /// The fastest that is as exact as PyTorch in that type
    #[default]
    Auto,
    /// Single precision
    F32,
    /// bfloat16
    Bf16,
    /// Half precision
    F16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_back_what_they_print() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
            ("metal", Device::Metal),
            ("candle-cpu", Device::CandleCpu),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda:0".parse(), Ok(Device::Cuda(0)));
        for bad in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "metal:0"] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lacking_device_says_what_to_build() {
        let text = Device::Cuda(1).unsupported("denoise").to_string();
        assert!(text.contains("--device cuda:1"), "{text}");
        assert!(text.contains("-p denoise --features cuda"), "{text}");
    }

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
