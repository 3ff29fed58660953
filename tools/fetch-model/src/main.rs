//! The `fetch-model` command.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    turbo_cli::main(fetch_model::run)
}
