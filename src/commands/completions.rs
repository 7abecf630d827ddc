//! `mooltiroute completions` and `mooltiroute man`: what shells and manuals are made of.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Verdict;
use crate::cli::Cli;

/// Writes the completion of `shell` to standard output.
pub fn run(shell: Shell) -> ExitCode {
    // Into a buffer first: the generator panics where it can't write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mooltiroute", &mut script);
    exit(super::stdout().write_all(&script))
}

/// Writes a page for the program and one for each command into `directory`.
pub fn man(directory: &Path) -> ExitCode {
    exit(
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), directory)),
    )
}

fn exit(written: io::Result<()>) -> ExitCode {
    super::status(written.map(|()| Verdict::Valid))
}
