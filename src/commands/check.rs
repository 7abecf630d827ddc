//! `mooltiroute check`: is the configuration valid, and what does it mean?

use std::{
    io::{self, Write},
    process::ExitCode,
};

use mooltiroute_hops::Registry;
use serde_json::json;

use super::{
    Verdict, complain,
    shown::{ShownChain, ShownCredential, ShownHop, ShownProblem, ShownRoute},
    words, write_problems,
};
use crate::{
    cli::{Check, Format},
    config::{Config, Environment, Loader},
};

/// Runs the command.
pub fn run(flags: &Check, registry: Registry, environment: &Environment) -> ExitCode {
    let loader = match super::loader(&flags.config, registry, environment) {
        Ok(loader) => loader,
        Err(problem) => return complain(&problem),
    };
    super::status(check(&loader, flags.format, &mut anstream::stdout().lock()))
}

/// Loads what `loader` loads, and writes what it means, or every problem. A writer that is no terminal should take the
/// colours out, as those of anstream do.
///
/// # Errors
/// `out` could not be written to.
pub fn check(loader: &Loader, format: Format, out: &mut dyn Write) -> io::Result<Verdict> {
    match (loader.load(), format) {
        (Ok(config), Format::Human) => {
            writeln!(out, "{}: valid", loader.source())?;
            describe(&config, out)?;
            Ok(Verdict::Valid)
        }
        (Ok(config), Format::Json) => {
            let meaning = json!({
                "valid": true,
                "listeners": config.server.listen,
                "authenticated": config.server.auth.is_some(),
                "credentials": config.server.credentials.iter().map(ShownCredential::from).collect::<Vec<_>>(),
                "hops": config.hops.iter().map(ShownHop::from).collect::<Vec<_>>(),
                "chains": config.chains.iter().map(|chain| ShownChain::new(chain, &config)).collect::<Vec<_>>(),
                "routes": config.routes.iter().map(|route| ShownRoute::new(route, &config)).collect::<Vec<_>>(),
                "warnings": config.warnings.iter().map(ShownProblem::from).collect::<Vec<_>>(),
            });
            writeln!(out, "{meaning:#}")?;
            Ok(Verdict::Valid)
        }
        (Err(problems), format) => write_problems(loader, &problems, format, out),
    }
}

/// Says what a valid configuration will do.
fn describe(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nlisteners")?;
    let clients = match config.server.auth {
        Some(_) => "clients need the credentials of `server.auth`".to_owned(),
        None => "for every program on this machine".to_owned(),
    } + &words::credentials(&config.server.credentials);
    for address in &config.server.listen {
        writeln!(out, "  {address}, {clients}")?;
    }
    if !config.hops.is_empty() {
        writeln!(out, "\nhops")?;
    }
    for hop in &config.hops {
        write!(out, "  {}: {}", hop.name, hop.kind)?;
        match &hop.hop {
            Some(built) => {
                if let Some(address) = built.describe().address {
                    write!(out, ", {address}")?;
                }
            }
            None => write!(out, ", with variables that are not set")?,
        }
        write!(out, "{}", words::credentials(&hop.credentials))?;
        writeln!(out, "{}", if hop.is_enabled { "" } else { ", switched off" })?;
    }
    writeln!(out, "\nchains")?;
    for chain in &config.chains {
        writeln!(out, "  {}: {}", chain.name, words::path(chain, config))?;
    }
    writeln!(out, "\nroutes, of which the first that matches applies")?;
    for (index, route) in config.routes.iter().enumerate() {
        writeln!(out, "  {}", words::route(index, route, config))?;
    }
    if !config.warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
    }
    for warning in &config.warnings {
        writeln!(out, "{warning}")?;
    }
    Ok(())
}
