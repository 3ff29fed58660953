//! The `fetch-model` command.

fn main() -> std::process::ExitCode {
    turbo_cli::main(fetch_model::run)
}
