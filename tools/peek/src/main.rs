//! `peek`: shows frames on stderr and passes them on.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;

fn main() -> ExitCode {
    turbo_cli::main(peek::run)
}
