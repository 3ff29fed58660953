//! `quantize-model`: a checkpoint in, the same with int8 weights out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;

fn main() -> ExitCode {
    turbo_cli::main(quantize_model::run)
}
