//! `to-png`: `image` frames in, PNG out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;

fn main() -> ExitCode {
    turbo_cli::main(to_png::run)
}
