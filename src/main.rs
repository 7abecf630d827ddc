//! The program `mooltiroute`.

use std::process::ExitCode;

use clap::Parser as _;
use mooltiroute::{
    cli::{Cli, Command},
    commands,
    config::Environment,
    hops::kinds,
};

fn main() -> ExitCode {
    let Cli { command, run } = Cli::parse();
    let (registry, environment) = (kinds::builtin(), Environment::of_process());
    match command {
        None => commands::run::run(&run, registry, &environment),
        Some(Command::Run(flags)) => commands::run::run(&flags, registry, &environment),
        Some(Command::Check(flags)) => commands::check::run(&flags, registry, &environment),
    }
}
