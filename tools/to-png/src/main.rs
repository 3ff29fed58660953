//! `to-png`: `image` frames in, PNG out.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    turbo_cli::main(to_png::run)
}
