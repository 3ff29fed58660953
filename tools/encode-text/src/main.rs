//! Prompts in, text embeddings out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    turbo_cli::main(encode_text::run)
}
