//! `mooltiroute check`: is the configuration valid, and what does it mean?

use std::{
    io::{self, Write},
    process::ExitCode,
};

use mooltiroute_hops::Registry;
use serde::Serialize;
use serde_json::json;

use super::complain;
use crate::{
    cli::Check,
    config::{Chain, Config, Environment, Loader, NamedHop, Place, Problem, Route},
};

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// What `check` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be run.
    Valid,
    /// It can't.
    Invalid,
}

/// Runs the command.
pub fn run(flags: &Check, registry: Registry, environment: &Environment) -> ExitCode {
    let loader = match super::loader(&flags.config, registry, environment) {
        Ok(loader) => loader,
        Err(problem) => return complain(&problem),
    };
    match check(&loader, flags.format, &mut anstream::stdout().lock()) {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Invalid) => ExitCode::FAILURE,
        Err(error) => complain(&error),
    }
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
                "hops": config.hops.iter().map(ShownHop::from).collect::<Vec<_>>(),
                "chains": config.chains.iter().map(|chain| ShownChain::new(chain, &config)).collect::<Vec<_>>(),
                "routes": config.routes.iter().map(|route| ShownRoute::new(route, &config)).collect::<Vec<_>>(),
                "warnings": config.warnings.iter().map(ShownProblem::from).collect::<Vec<_>>(),
            });
            writeln!(out, "{meaning:#}")?;
            Ok(Verdict::Valid)
        }
        (Err(problems), Format::Human) => {
            let count = match problems.0.len() {
                1 => "1 problem".to_owned(),
                count => format!("{count} problems"),
            };
            writeln!(out, "{}\n\n{}: {count}", problems.coloured(), loader.source())?;
            Ok(Verdict::Invalid)
        }
        (Err(problems), Format::Json) => {
            let problems: Vec<_> = problems.0.iter().map(ShownProblem::from).collect();
            writeln!(out, "{:#}", json!({ "valid": false, "problems": problems }))?;
            Ok(Verdict::Invalid)
        }
    }
}

/// Says what a valid configuration will do.
fn describe(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nlisteners")?;
    let clients = match config.server.auth {
        Some(_) => "clients need the username and password of `server.auth`",
        None => "for every program on this machine",
    };
    for address in &config.server.listen {
        writeln!(out, "  {address}, {clients}")?;
    }
    if !config.hops.is_empty() {
        writeln!(out, "\nhops")?;
    }
    for hop in &config.hops {
        write!(out, "  {}: {}", hop.name, hop.kind)?;
        match &hop.hop {
            Some(built) => write!(out, ", {}", built.address())?,
            None => write!(out, ", with variables that are not set")?,
        }
        writeln!(out, "{}", if hop.is_enabled { "" } else { ", switched off" })?;
    }
    writeln!(out, "\nchains")?;
    for chain in &config.chains {
        writeln!(out, "  {}: {}", chain.name, path(chain, config))?;
    }
    writeln!(out, "\nroutes, of which the first that matches applies")?;
    for (index, route) in config.routes.iter().enumerate() {
        let chain = &config.chains[route.chain].name;
        write!(out, "  {}. {} -> {chain}", index + 1, targets(route))?;
        match &route.place {
            Some(place) => writeln!(out, "  ({place})")?,
            None => writeln!(out)?,
        }
    }
    if !config.warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
    }
    for warning in &config.warnings {
        writeln!(out, "{warning}")?;
    }
    Ok(())
}

/// The way that a chain takes, in words.
fn path(chain: &Chain, config: &Config) -> String {
    let hops: Vec<&str> = chain.hops.iter().map(|hop| &*config.hops[*hop].name).collect();
    let mut words = if hops.is_empty() { "direct".to_owned() } else { hops.join(", then ") };
    if !chain.switched_off.is_empty() {
        words += &format!(" (switched off: {})", chain.switched_off.join(", "));
    }
    if chain.warm > 0 {
        words += &format!(", {} warm", chain.warm);
    }
    words
}

/// The targets that a route is for, in words.
fn targets(route: &Route) -> String {
    let hosts: Vec<String> = route.rule.hosts.iter().map(ToString::to_string).collect();
    let ports: Vec<String> = route.rule.ports.iter().map(ToString::to_string).collect();
    match (hosts.is_empty(), ports.is_empty()) {
        (true, true) => "everything".to_owned(),
        (true, false) => format!("every host on port {}", ports.join(", ")),
        (false, true) => hosts.join(", "),
        (false, false) => format!("{} on port {}", hosts.join(", "), ports.join(", ")),
    }
}

#[derive(Serialize)]
struct ShownHop<'a> {
    name: &'a str,
    kind: &'a str,
    enabled: bool,
    address: Option<String>,
}

#[derive(Serialize)]
struct ShownChain<'a> {
    name: &'a str,
    hops: Vec<&'a str>,
    switched_off: Vec<&'a str>,
    direct: bool,
    warm: usize,
}

#[derive(Serialize)]
struct ShownRoute<'a> {
    hosts: Vec<String>,
    ports: &'a [u16],
    chain: &'a str,
    #[serde(flatten)]
    place: Option<ShownPlace<'a>>,
}

#[derive(Serialize)]
struct ShownProblem<'a> {
    #[serde(flatten)]
    place: Option<ShownPlace<'a>>,
    path: String,
    code: &'a str,
    message: &'a str,
    first: Option<ShownPlace<'a>>,
    help: Option<&'a str>,
}

#[derive(Serialize)]
struct ShownPlace<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

impl<'a> From<&'a NamedHop> for ShownHop<'a> {
    fn from(hop: &'a NamedHop) -> Self {
        let address = hop.hop.as_ref().map(|hop| hop.address().to_string());
        Self { name: &hop.name, kind: &hop.kind, enabled: hop.is_enabled, address }
    }
}

impl<'a> ShownChain<'a> {
    fn new(chain: &'a Chain, config: &'a Config) -> Self {
        Self {
            name: &chain.name,
            hops: chain.hops.iter().map(|hop| &*config.hops[*hop].name).collect(),
            switched_off: chain.switched_off.iter().map(|name| &**name).collect(),
            direct: chain.hops.is_empty(),
            warm: chain.warm,
        }
    }
}

impl<'a> ShownRoute<'a> {
    fn new(route: &'a Route, config: &'a Config) -> Self {
        Self {
            hosts: route.rule.hosts.iter().map(ToString::to_string).collect(),
            ports: &route.rule.ports,
            chain: &config.chains[route.chain].name,
            place: route.place.as_ref().map(ShownPlace::from),
        }
    }
}

impl<'a> From<&'a Problem> for ShownProblem<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self {
            place: problem.place.as_ref().map(ShownPlace::from),
            path: problem.path.to_string(),
            code: problem.code,
            message: &problem.message,
            first: problem.first.as_ref().map(ShownPlace::from),
            help: problem.help.as_deref(),
        }
    }
}

impl<'a> From<&'a Place> for ShownPlace<'a> {
    fn from(place: &'a Place) -> Self {
        Self { file: &place.file, line: place.line, column: place.column }
    }
}
