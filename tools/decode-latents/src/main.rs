//! Latents in, images out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    turbo_cli::main(decode_latents::run)
}
