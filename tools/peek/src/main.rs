//! `peek`: shows frames on stderr and passes them on.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    turbo_cli::main(peek::run)
}
