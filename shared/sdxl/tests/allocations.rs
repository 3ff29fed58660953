//! In steady state no layer allocates: values, operands and lists come from what earlier ones left. What a network
//! allocates is for its whole run: its result, the embedding of its timestep, and the like.
//!
//! One test in a process of its own, since it counts what the whole process allocates.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use turbo_sdxl::{AddedConditions, DType, Device, open_text_encoders, open_unet, open_vae_decoder};
use turbo_weights::{LocateOptions, Model};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations that are not a layer's: 18 in the text encoders, 15 in the UNet, 4 in the VAE, and room for what threads
/// that wake up take. Every network here has more layers than that, and a layer used to need several.
const MOST: usize = 20;

/// Runs `step` until lists have grown to what they need, then counts.
fn expect_few(what: &str, mut step: impl FnMut()) {
    for _ in 0..4 {
        step();
    }
    let region = Region::new(ALLOCATOR);
    step();
    let change = region.change();
    let count = change.allocations + change.reallocations;
    eprintln!("{what}: {count} allocations");
    assert!(
        count <= MOST,
        "{what}: {count} allocations, more than {MOST}"
    );
}

#[test]
fn no_layer_allocates_in_steady_state() {
    let path = turbo_testkit::tiny();
    let model = Model::locate(path.to_str().unwrap(), &LocateOptions::default()).unwrap();
    for dtype in [DType::F32, DType::BF16] {
        let device = &Device::Cpu;
        let name = device.describe(dtype).unwrap();
        let text = open_text_encoders(device, dtype, &model, &[]).unwrap();
        let unet = open_unet(device, dtype, &model, &[]).unwrap();
        let vae = open_vae_decoder(device, dtype, &model.vae().unwrap()).unwrap();
        let ids = [49406, 49407];
        let prompt = text.encode(&ids, &ids, 0).unwrap();
        expect_few(&format!("text encoders, {name}"), || {
            text.encode(&ids, &ids, 0).unwrap();
        });
        let conditioned = unet
            .condition(&AddedConditions {
                prompt_embeds: &prompt.prompt_embeds,
                tokens: prompt.tokens,
                pooled_prompt_embeds: &prompt.pooled_prompt_embeds,
                time_ids: [128., 128., 0., 0., 128., 128.],
                size: [16, 16],
                image: &[],
            })
            .unwrap();
        let latents = vec![0.5; 4 * 16 * 16];
        expect_few(&format!("UNet, {name}"), || {
            conditioned.predict(&latents, 999.).unwrap();
        });
        expect_few(&format!("VAE, {name}"), || {
            vae.decode(&latents, 16, 16, false).unwrap();
        });
    }
}
