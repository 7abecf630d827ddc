//! The program `mooltiroute`.

use std::process::ExitCode;

use clap::Parser as _;
use mooltiroute::{cli::Cli, commands, config::Environment, hops::kinds};

fn main() -> ExitCode {
    commands::complete::answer_shell();
    commands::execute(Cli::parse(), kinds::builtin(), &Environment::of_process())
}
