//! Manners shared by the tools: exit codes, output, progress, common flags.
