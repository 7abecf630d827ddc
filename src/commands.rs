//! The commands, a file each.

pub mod check;
pub mod completions;
mod describe;
pub mod explain;
pub mod init;
mod json;
pub mod probe;
pub mod run;
pub mod schema;
pub mod status;

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use mooltiroute_hops::Registry;
use serde_json::json;

use crate::{
    cli::{Cli, Command, ConfigPath, Format},
    config::{Environment, Loader, Overrides, Problems, Source},
};

use self::json::ShownProblem;

/// Does what `cli` asks for, with hops of the kinds in `registry`: the whole program, for one that brings its own kinds.
pub fn execute(cli: Cli, registry: Registry, environment: &Environment) -> ExitCode {
    let Cli { command, run } = cli;
    match command {
        None => run::run(&run, registry, environment),
        Some(Command::Run(flags)) => run::run(&flags, registry, environment),
        Some(Command::Check(flags)) => check::run(&flags, registry, environment),
        Some(Command::Explain(flags)) => explain::run(&flags, registry, environment),
        Some(Command::Probe(flags)) => probe::run(&flags, registry, environment),
        Some(Command::Init(flags)) => init::run(&flags, &registry),
        Some(Command::Schema) => schema::run(&registry),
        Some(Command::Completions { shell }) => completions::run(shell),
        Some(Command::Man { directory }) => completions::man(&directory),
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

/// What a command found in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be run.
    Valid,
    /// It can't.
    Invalid,
}

/// Writes everything that is wrong with what `loader` loads.
fn write_problems(
    loader: &Loader,
    problems: &Problems,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Verdict> {
    match format {
        Format::Human => {
            let count = match problems.0.len() {
                1 => "1 problem".to_owned(),
                count => format!("{count} problems"),
            };
            writeln!(out, "{}\n\n{}: {count}", problems.coloured(), loader.source())?;
        }
        Format::Json => {
            let problems: Vec<_> = problems.0.iter().map(ShownProblem::from).collect();
            writeln!(out, "{:#}", json!({ "valid": false, "problems": problems }))?;
        }
    }
    Ok(Verdict::Invalid)
}

/// The exit status of a command that has written its answer.
fn status(written: io::Result<Verdict>) -> ExitCode {
    match written {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Invalid) => ExitCode::FAILURE,
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => complain(&error),
    }
}

/// Says on standard error why a command can't do what it should, and fails it.
fn complain(why: &dyn fmt::Display) -> ExitCode {
    // With standard error closed there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "mooltiroute: {why}");
    ExitCode::FAILURE
}

/// The exit status of a command that was called wrongly, as clap has it.
const USAGE: u8 = 2;
