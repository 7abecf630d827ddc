//! The commands, a file each.

pub mod check;
pub mod run;
pub mod status;

use std::{fmt, io::Write as _, process::ExitCode};

use mooltiroute_hops::Registry;

use crate::{
    cli::{Cli, Command, ConfigPath},
    config::{Environment, Loader, Overrides, Problems, Source},
};

/// Does what `cli` asks for, with hops of the kinds in `registry`: the whole program, for one that brings its own kinds.
pub fn execute(cli: Cli, registry: Registry, environment: &Environment) -> ExitCode {
    let Cli { command, run } = cli;
    match command {
        None => run::run(&run, registry, environment),
        Some(Command::Run(flags)) => run::run(&flags, registry, environment),
        Some(Command::Check(flags)) => check::run(&flags, registry, environment),
        Some(Command::Status(flags)) => status::run(&flags, registry, environment),
    }
}

/// What commands that only read the configuration start from.
fn loader(
    path: &ConfigPath,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, Problems> {
    let source = Source::find(path.path.clone(), environment)?;
    Ok(Loader::new(source, Overrides::default(), registry, environment.clone()))
}

/// Says on standard error why a command can't do what it should, and fails it.
fn complain(why: &dyn fmt::Display) -> ExitCode {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "mooltiroute: {why}");
    ExitCode::FAILURE
}
