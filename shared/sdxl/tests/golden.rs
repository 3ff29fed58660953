//! Every stage against what diffusers computes in f32 on the tiny checkpoint: an error of at most 1e-4 of the norm
//! (`e = |ours - expected| / |expected|`), or what a backend asks of itself.
//!
//! The cases are written over [`Backend`](turbo_sdxl::backend::Backend); each device is a line at the end.

#[path = "golden/cases.rs"]
mod cases;
#[path = "golden/trained.rs"]
mod trained;

/// A module of tests for a backend, with the largest error it may have.
macro_rules! golden_tests {
    ($device:ident, $limit:literal, $backend:expr) => {
        mod $device {
            use super::{cases, trained};
            use turbo_sdxl::*;

            #[test]
            fn text_encoders_give_diffusers_embeddings() {
                cases::text($backend, $limit);
            }

            #[test]
            fn unet_gives_diffusers_output() {
                cases::unet($backend, $limit);
            }

            #[test]
            fn every_block_of_the_unet_gives_diffusers_output() {
                cases::unet_blocks(&$backend, $limit);
            }

            #[test]
            fn autoencoder_decodes_as_diffusers_does() {
                cases::decode($backend, $limit);
            }

            #[test]
            fn autoencoder_encodes_as_diffusers_does() {
                cases::encode($backend, $limit);
            }

            #[test]
            fn taesdxl_decodes_and_encodes_as_diffusers_does() {
                trained::taesdxl($backend);
            }

            #[test]
            fn prototype_draws_what_diffusers_draws() {
                trained::prototype(|| $backend);
            }
        }
    };
}

// Summing in f32 costs about 1e-6 here, and a wrong epsilon in a norm 5e-6 to 2e-5: a limit of 1e-4 would not see it.
golden_tests!(
    candle,
    4e-6,
    backend::candle::Candle::open(&Device::CandleCpu, DType::F32).unwrap()
);

#[test]
fn candle_in_f16_stays_close() {
    use turbo_sdxl::{DType, Device, backend::candle::Candle};
    let f16 = || Candle::open(&Device::CandleCpu, DType::F16).unwrap();
    // On the full checkpoint PyTorch itself has 2.4e-3 in this type.
    cases::text(f16(), 5e-3);
    cases::unet(f16(), 5e-3);
    cases::decode(f16(), 5e-3);
}

golden_tests!(cpu, 1e-4, backend::cpu::Cpu::new(false).unwrap());
