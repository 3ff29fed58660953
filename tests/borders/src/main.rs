//! `borders [WORKSPACE]`: prints each circle of imports and each crossed border, and ends with status 1 if there is one.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| ".".into(), PathBuf::from);
    match borders::rules::check(&root) {
        Ok(faults) => {
            for fault in &faults {
                println!("{fault}");
            }
            ExitCode::from(u8::from(!faults.is_empty()))
        }
        Err(error) => {
            eprintln!("borders: {error}");
            ExitCode::FAILURE
        }
    }
}
