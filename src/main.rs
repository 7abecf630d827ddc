//! The program `mooltiroute`.

use std::process::ExitCode;

use mooltiroute::{cli::Cli, commands, config::Environment, hops::kinds};

fn main() -> ExitCode {
    commands::complete::answer_shell();
    let cli = Cli::try_from_arguments(std::env::args_os()).unwrap_or_else(|error| error.exit());
    commands::execute(cli, kinds::builtin(), &Environment::of_process())
}
