//! Every stage against what diffusers computes in f32 on the tiny checkpoint (`e = |ours - expected| / |expected|`): in f32
//! an error of at most 1e-4, or what a backend asks of itself; in bf16 and f16 at most that of PyTorch in that type, times a
//! factor.
//!
//! Each device is a line at the end, and each type that it computes in.

#[path = "golden/adapters.rs"]
mod adapters;
#[path = "golden/cases.rs"]
mod cases;
#[path = "golden/limits.rs"]
mod limits;
#[path = "golden/tiles.rs"]
mod tiles;
#[path = "golden/trained.rs"]
mod trained;

/// A module of tests for a device, with the largest error it may have in f32.
macro_rules! golden_tests {
    ($name:ident, $device:expr, $limit:literal) => {
        mod $name {
            use super::limits::Limit;
            use super::{adapters, cases, tiles, trained};
            use turbo_sdxl::{DType::F32, Device};

            #[test]
            fn text_encoders_give_diffusers_embeddings() {
                cases::text($device, F32, Limit::Of($limit));
            }

            #[test]
            fn tokens_with_vectors_of_their_own_give_diffusers_embeddings() {
                cases::added_tokens($device, $limit);
            }

            #[test]
            fn unet_gives_diffusers_output() {
                cases::unet($device, F32, Limit::Of($limit));
            }

            #[test]
            fn autoencoder_decodes_as_diffusers_does() {
                cases::decode($device, F32, Limit::Of($limit));
            }

            #[test]
            fn autoencoder_encodes_as_diffusers_does() {
                cases::encode($device, F32, Limit::Of($limit));
            }

            #[test]
            fn large_pictures_in_tiles_are_diffusers() {
                tiles::tiles($device, $limit);
            }

            #[test]
            fn taesdxl_decodes_and_encodes_as_diffusers_does() {
                trained::taesdxl($device);
            }

            #[test]
            fn loras_change_what_they_change_in_diffusers() {
                adapters::loras($device);
            }

            #[test]
            fn prototype_draws_what_diffusers_draws() {
                trained::prototype($device);
            }
        }
    };
}

/// A module of tests for a device in a type of 16 bits, with how many times PyTorch's error it may have.
macro_rules! golden_tests_in {
    ($name:ident, $device:expr, $dtype:ident, $times:literal) => {
        mod $name {
            use super::cases;
            use super::limits::{Limit, computes_in};
            use turbo_sdxl::{DType::$dtype, Device};

            const LIMIT: Limit = Limit::OfPyTorch($dtype, $times);

            #[test]
            fn text_encoders_are_as_exact_as_pytorch() {
                if computes_in($device, $dtype) {
                    cases::text($device, $dtype, LIMIT);
                }
            }

            #[test]
            fn unet_is_as_exact_as_pytorch() {
                if computes_in($device, $dtype) {
                    cases::unet($device, $dtype, LIMIT);
                }
            }

            #[test]
            fn autoencoder_decodes_as_exactly_as_pytorch() {
                if computes_in($device, $dtype) {
                    cases::decode($device, $dtype, LIMIT);
                }
            }

            #[test]
            fn autoencoder_encodes_as_exactly_as_pytorch() {
                if computes_in($device, $dtype) {
                    cases::encode($device, $dtype, LIMIT);
                }
            }
        }
    };
}

golden_tests!(cpu, Device::Cpu, 1e-4);
// Products only are bf16's; what stands between layers is f32.
golden_tests_in!(cpu_bf16, Device::Cpu, BF16, 1.0);
// Summing in f32 costs about 1e-6 here, and a wrong epsilon in a norm 5e-6 to 2e-5: a limit of 1e-4 would not see it.
golden_tests!(candle, Device::CandleCpu, 4e-6);
// The layers that a GPU gets, in its type: 1.11 to 1.12, and 1.0 were biases added before products are rounded, as in PyTorch.
// (On a CPU candle has no products of bf16, and on ARM's those of f16 are summed in f16.)
#[cfg(target_arch = "x86_64")]
golden_tests_in!(candle_f16, Device::CandleCpu, F16, 1.2);
#[cfg(feature = "cuda")]
golden_tests!(cuda, Device::Cuda(0), 1e-4);
#[cfg(feature = "cuda")]
golden_tests_in!(cuda_bf16, Device::Cuda(0), BF16, 1.25);
#[cfg(feature = "cuda")]
golden_tests_in!(cuda_f16, Device::Cuda(0), F16, 1.25);
#[cfg(feature = "metal")]
golden_tests!(metal, Device::Metal, 1e-4);
#[cfg(feature = "metal")]
golden_tests_in!(metal_bf16, Device::Metal, BF16, 1.25);
#[cfg(feature = "metal")]
golden_tests_in!(metal_f16, Device::Metal, F16, 1.25);
