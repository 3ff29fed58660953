//! Flags that every tool or most tools have.

// Doc comments here are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use clap::{Args, ValueEnum};

/// How a tool reports on stderr. [`crate::main`] adds these flags to every tool.
#[derive(Args, Clone, Debug, Default)]
pub struct ReportArgs {
    /// Print errors only
    #[arg(help_heading = "Reports", short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print what is being done
    #[arg(help_heading = "Reports", short, long)]
    pub verbose: bool,

    /// How to show progress on stderr
    ///
    /// With json, one JSON object a line. When a frame is done: event ("frame"), tool, frame (from
    /// 0), id, open_s (seconds spent opening the model for it), compute_s, step_s (denoise only: a
    /// list, one a step), max_rss_bytes. Errors stay plain lines.
    #[arg(
        help_heading = "Reports",
        long,
        value_enum,
        value_name = "WHEN",
        default_value_t
    )]
    pub progress: Progress,
}

/// The values of `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar where stderr is a terminal
    #[default]
    Auto,
    /// Nothing
    Never,
    /// One JSON object a line
    Json,
}

/// The values of `--on-error`. A tool that has records to skip takes it as
/// `#[arg(long, value_enum, default_value_t)] on_error: OnError`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Stop at the first record that fails
    #[default]
    Stop,
    /// Report it, leave it out, go on; the exit status becomes 1
    Skip,
}

/// Reads a number of bytes: digits, then nothing or K, M, G, T (of 1024), a `B` or `iB` after
/// those allowed. For clap's `value_parser`.
///
/// # Errors
/// Anything else, or more than a `u64` holds.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        _ => return Err("expected bytes, such as 4096, 512M or 2GiB".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| "expected bytes, such as 4096, 512M or 2GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("7b"), Ok(7));
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("2 gb"), Ok(2 << 30));
        assert_eq!(parse_size("1T"), Ok(1 << 40));
        for bad in [
            "",
            "G",
            "-1",
            "1.5G",
            "1X",
            "1iB",
            "99999999999999999999",
            "99999999999T",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
