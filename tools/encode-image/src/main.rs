//! Pictures in, latents out, or a picture's encoding joined to text embeddings.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;

fn main() -> ExitCode {
    turbo_cli::main(encode_image::run)
}
