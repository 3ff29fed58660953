//! Where flags and files meet the wire crate.

// Doc comments here are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use clap::Args;
use turbo_wire::{FrameReader, Limits};

use crate::{Input, parse_size};

/// Flags that raise (or lower) the caps on a frame.
#[derive(Args, Clone, Debug, Default)]
pub struct LimitArgs {
    /// Largest frame to read, such as 4GiB [default: 1GiB]
    #[arg(help_heading = "Limits", long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    pub max_frame_bytes: Option<u64>,

    /// Largest frame header to read [default: 1MiB]
    #[arg(help_heading = "Limits", long, value_name = "SIZE", value_parser = parse_size, hide_short_help = true)]
    pub max_header_bytes: Option<u64>,

    /// Most tensors in a frame [default: 64]
    #[arg(
        help_heading = "Limits",
        long,
        value_name = "N",
        hide_short_help = true
    )]
    pub max_tensors: Option<usize>,

    /// Most dimensions of a tensor [default: 8]
    #[arg(
        help_heading = "Limits",
        long,
        value_name = "N",
        hide_short_help = true
    )]
    pub max_rank: Option<usize>,
}

impl LimitArgs {
    /// The caps: the wire crate's, but for those given.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            frame_bytes: self.max_frame_bytes.unwrap_or(default.frame_bytes),
            header_bytes: self.max_header_bytes.unwrap_or(default.header_bytes),
            tensors: self.max_tensors.unwrap_or(default.tensors),
            rank: self.max_rank.unwrap_or(default.rank),
            ..default
        }
    }
}

impl Input {
    /// Reads this input as frames. For errors, take [`Input::path`] along first: the reader's
    /// own errors tell frame and byte, not the file.
    pub fn frames(self, limits: Limits) -> FrameReader<Self> {
        FrameReader::new(self, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_tells_the_true_defaults() {
        let limits = LimitArgs::default().limits();
        assert_eq!(limits, Limits::default());
        assert_eq!(limits.frame_bytes, parse_size("1GiB").unwrap());
        assert_eq!(limits.header_bytes, parse_size("1MiB").unwrap());
        assert_eq!((limits.tensors, limits.rank), (64, 8));
    }

    #[test]
    fn a_flag_changes_its_cap() {
        let args = LimitArgs {
            max_frame_bytes: Some(7),
            max_header_bytes: Some(6),
            max_tensors: Some(5),
            max_rank: Some(4),
        };
        let limits = args.limits();
        assert_eq!((limits.frame_bytes, limits.header_bytes), (7, 6));
        assert_eq!((limits.tensors, limits.rank), (5, 4));
    }

    /// How a gone reader of stdout comes out of the wire crate's writer.
    #[test]
    fn a_gone_reader_is_known_through_wire_errors() {
        struct Gone;
        impl std::io::Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(crate::error::mark_stdout(
                    std::io::ErrorKind::BrokenPipe.into(),
                ))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let header = turbo_wire::Header::latents(1, 1, 1, turbo_wire::Metadata::new()).unwrap();
        let error = turbo_wire::FrameWriter::new(Gone)
            .write_header(&header)
            .unwrap_err();
        assert!(crate::Error::from(error).is_reader_gone());
    }

    #[test]
    fn a_wire_error_tells_its_frame_once() {
        let error = FrameReader::new(&[7_u8, 0][..], Limits::default())
            .next_header()
            .unwrap_err();
        let text = crate::Error::from(error).in_frame(0).to_string();
        assert!(text.starts_with("frame 0, byte 2: "), "{text}");
        assert_eq!(text.matches("frame 0").count(), 1, "{text}");
    }
}
