//! `mooltiroute completions` and `mooltiroute man`: generates shell completions and manual pages.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Verdict;
use crate::cli::Cli;

/// Writes the completion script of `shell` to standard output.
pub fn run(shell: Shell) -> ExitCode {
    exit(super::complete::script(shell).and_then(|script| super::stdout().write_all(&script)))
}

/// Writes the manual page of the program and of each command into `directory`.
pub fn man(directory: &Path) -> ExitCode {
    exit(
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), directory)),
    )
}

fn exit(written: io::Result<()>) -> ExitCode {
    super::status(written.map(|()| Verdict::Valid))
}
