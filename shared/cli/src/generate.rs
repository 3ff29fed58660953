//! Man pages and completions, from the definitions that `--help` shows.

// Doc comments here are help texts, in which backticks would show.
#![allow(clippy::doc_markdown)]

use clap::{Command, ValueEnum};
use clap_complete::Shell;

/// The values of `--generate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    /// A man page (roff)
    Man,
    /// Completions for bash
    CompleteBash,
    /// Completions for zsh
    CompleteZsh,
    /// Completions for fish
    CompleteFish,
    /// Completions for PowerShell
    CompletePowershell,
}

impl Document {
    /// The document for `command`.
    pub(crate) fn render(self, mut command: Command) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let shell = match self {
            Self::Man => {
                clap_mangen::Man::new(command).render(&mut text)?;
                return Ok(text);
            }
            Self::CompleteBash => Shell::Bash,
            Self::CompleteZsh => Shell::Zsh,
            Self::CompleteFish => Shell::Fish,
            Self::CompletePowershell => Shell::PowerShell,
        };
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut text);
        Ok(text)
    }
}
