//! Where networks run, and in which type: names, texts, and what this build has.

use crate::{Error, Result};
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use turbo_kernels::{Compute, Isa};

/// Where networks run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// This machine's processor, by our own kernels.
    #[default]
    Cpu,
    /// An NVIDIA GPU, counted from 0; needs the cargo feature `cuda`.
    Cuda(usize),
    /// An Apple GPU; needs the cargo feature `metal`.
    Metal,
    /// This machine's processor, by candle: slow, and an independent check of our own kernels.
    CandleCpu,
}

impl Device {
    /// The names, for help texts and errors.
    pub const NAMES: &str = "cpu, cuda, cuda:N, metal or candle-cpu";

    /// The cargo feature that has this device, if it needs one, and whether this build has it.
    fn feature(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Cpu | Self::CandleCpu => None,
            Self::Cuda(_) => Some(("cuda", cfg!(feature = "cuda"))),
            Self::Metal => Some(("metal", cfg!(feature = "metal"))),
        }
    }

    /// Checks that this build has the device.
    ///
    /// # Errors
    /// It has not; the message says how to build `package` so that it has.
    pub fn expect_built(self, package: &str) -> Result<()> {
        match self.feature() {
            Some((feature, false)) => Err(Error::Device(format!(
                "--device {self}: expected a build with the cargo feature `{feature}`, found one without it; rebuild \
                 with `cargo build --release -p {package} --features {feature}`, or leave --device out to use the CPU"
            ))),
            _ => Ok(()),
        }
    }

    /// How numbers come about: device, instruction set and type, as far as they may change a bit of them. The number
    /// of threads may not.
    ///
    /// # Errors
    /// `TURBO_ISA` names an instruction set that does not exist here.
    pub fn describe(self, dtype: DType) -> Result<String> {
        // Other devices take their type from the same processor, or leave it aside.
        let (isa, compute) = dtype.on_cpu()?;
        let compute = if compute == Compute::Bf16 {
            DType::BF16
        } else {
            DType::F32
        };
        let cpu = format!("{}, {compute}", isa.name());
        Ok(match self {
            Self::Cpu => format!("cpu: {cpu}"),
            other => format!("{other} {dtype}: {cpu}"),
        })
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
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
                .ok_or_else(|| format!("expected {}", Self::NAMES)),
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

/// The type in which a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DType {
    /// The device's fastest that is as exact as PyTorch in that type.
    #[default]
    Auto,
    /// 32 bits: equal to diffusers on a CPU.
    F32,
    /// 16 bits with f32's range.
    BF16,
    /// 16 bits with a small range; overflow shows as an error.
    F16,
}

impl DType {
    /// All of them, in the order of help texts.
    pub const ALL: [Self; 4] = [Self::Auto, Self::F32, Self::BF16, Self::F16];

    /// Its name: `auto`, `f32`, `bf16` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::BF16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// A line of help.
    pub fn about(self) -> &'static str {
        match self {
            Self::Auto => "The fastest that is as exact as PyTorch in that type",
            Self::F32 => "Single precision",
            Self::BF16 => "bfloat16",
            Self::F16 => "Half precision",
        }
    }

    /// The instruction set of this CPU, and the type of its products: bfloat16 where it is asked for and there, or where
    /// it is the faster one. [`DType::F16`] is computed as float32, which holds every float16.
    ///
    /// # Errors
    /// `TURBO_ISA` names an instruction set that does not exist here.
    pub(crate) fn on_cpu(self) -> Result<(Isa, Compute)> {
        let isa = isa()?;
        let bf16 = match self {
            Self::Auto => isa.prefers_bf16(),
            Self::BF16 => isa.has_bf16(),
            Self::F32 | Self::F16 => false,
        };
        Ok((isa, if bf16 { Compute::Bf16 } else { Compute::F32 }))
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|dtype| dtype.name() == text);
        found.ok_or_else(|| format!("expected {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fastest instruction set of this CPU, or the one that `TURBO_ISA` names.
pub(crate) fn isa() -> Result<Isa> {
    Isa::detect().map_err(Error::Device)
}

/// Starts the threads of the CPU on which every network of this process computes: so many, or one for each core, or what
/// `RAYON_NUM_THREADS` says. The first call decides, and comes before a network is opened.
///
/// # Errors
/// The system gives no more threads, or no memory for them.
pub fn use_threads(threads: Option<NonZeroUsize>) -> Result<()> {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.map_or(0, NonZeroUsize::get));
    let Err(error) = builder.build_global() else {
        return Ok(());
    };
    match std::error::Error::source(&error) {
        Some(cause) => Err(Error::Device(format!(
            "threads: cannot start any more: {cause}"
        ))),
        // They are there already, made by an earlier call.
        None => Ok(()),
    }
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
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(dtype));
        }
        assert!("fp16".parse::<DType>().is_err());
    }

    #[test]
    fn only_a_device_that_the_build_lacks_is_refused_and_the_text_says_what_to_build() {
        assert!(Device::Cpu.expect_built("denoise").is_ok());
        let found = Device::Cuda(1).expect_built("denoise");
        assert_eq!(found.is_ok(), cfg!(feature = "cuda"));
        if let Err(e) = found {
            let text = e.to_string();
            assert!(text.contains("--device cuda:1"), "{text}");
            assert!(text.contains("-p denoise --features cuda"), "{text}");
        }
        assert_eq!(
            Device::Metal.expect_built("denoise").is_ok(),
            cfg!(feature = "metal")
        );
    }

    #[test]
    fn descriptions_differ_where_numbers_may() {
        let texts = [
            Device::Cpu.describe(DType::F32),
            Device::CandleCpu.describe(DType::F32),
            Device::Cuda(0).describe(DType::F32),
            Device::Cuda(0).describe(DType::F16),
        ];
        let mut texts = texts.map(|text| text.expect("an instruction set"));
        texts.sort();
        assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "{texts:?}");
    }
}
