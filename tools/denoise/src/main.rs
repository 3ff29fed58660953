//! Text embeddings in, latents out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    turbo_cli::main(denoise::run)
}
