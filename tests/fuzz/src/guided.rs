//! The entry for libFuzzer, which keeps inputs that reach new code: see `night`. The target is named by FUZZ_TARGET.

#![no_main]

use std::alloc::System;
use std::sync::LazyLock;

use fuzz::{Target, target};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or("stream".to_owned());
    target(&name).expect("a target's name in FUZZ_TARGET")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
