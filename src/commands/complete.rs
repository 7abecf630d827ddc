//! Completes a command line while it is typed.
//!
//! The shell's script contains no candidates. It runs this program with [`VARIABLE`] set, and the program prints the
//! candidates and exits. So they always match the program and the configuration.

use clap::CommandFactory as _;
use clap_complete::{CompleteEnv, Shell, env::Shells};

use crate::cli::Cli;

/// Answers a shell that asks for candidates, and ends the program then. Returns if no shell asks.
pub fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Returns the script that makes `shell` ask this program.
///
/// # Errors
/// The shell is not supported.
pub(super) fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name).ok_or(std::io::ErrorKind::Unsupported)?;
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(script)
}

const PROGRAM: &str = "mooltiroute";
/// The environment variable that makes the program print candidates.
const VARIABLE: &str = "MOOLTIROUTE_COMPLETE";
