//! The `fetch-model` command.

#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: turbo_cli::Allocator = turbo_cli::Allocator;

fn main() -> std::process::ExitCode {
    turbo_cli::main(fetch_model::run)
}
