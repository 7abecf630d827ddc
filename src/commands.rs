//! The commands, one file per command.

pub mod check;
pub mod complete;
pub mod completions;
mod describe;
pub mod env;
pub mod exec;
pub mod explain;
mod graph;
pub mod hop;
pub mod init;
mod json;
pub mod kill;
mod loading;
mod notice;
mod output;
pub mod probe;
pub mod ps;
pub mod reload;
pub mod run;
mod running;
pub mod schema;
pub mod service;
pub mod status;
#[cfg(feature = "top")]
pub mod top;
pub mod usage;
mod wrap;

use std::process::ExitCode;

use mooltiroute_hops::{InvalidPreferences, Preferences, Registry};

use crate::{
    cli::{Cli, Command},
    client::ask::{is_of_provider, username_of_provider},
    config::{Environment, ProxyAddress, ServerConfig, reachable},
};

use self::{
    loading::{find_loader, loader, loader_of, shows_credentials},
    output::{answer, complain, status, stdout, write_problems},
};

/// Executes the command line `cli`, with hops of the kinds in `registry`.
///
/// A program that adds its own kinds needs nothing else in its `main`.
pub fn execute(cli: Cli, registry: Registry, environment: &Environment) -> ExitCode {
    let command = match cli.into_command() {
        Ok(command) => command,
        Err(error) => {
            // If standard error is closed, there is nowhere to report it.
            let _ = error.print();
            return ExitCode::from(USAGE);
        }
    };
    match command {
        Command::Run(flags) => run::run(&flags, registry, environment),
        Command::Check(flags) => check::run(&flags, registry, environment),
        Command::Explain(flags) => explain::run(&flags, registry, environment),
        Command::Probe(flags) => probe::run(&flags, registry, environment),
        Command::Env(flags) => env::run(&flags, registry, environment),
        Command::Exec(flags) => exec::run(&flags, registry, environment),
        Command::Usage(flags) => usage::run(&flags, environment),
        Command::Service(flags) => service::run(&flags, registry, environment),
        Command::Init(flags) => init::run(&flags, &registry),
        Command::Schema => schema::run(&registry),
        Command::Completions { shell } => completions::run(shell),
        Command::Man { directory } => completions::man(&directory),
        Command::Ps(flags) => ps::run(&flags, environment),
        #[cfg(feature = "top")]
        Command::Top(flags) => top::run(&flags, environment),
        Command::Hop(flags) => hop::run(&flags, registry, environment),
        Command::Kill(flags) => kill::run(&flags, environment),
        Command::Reload(flags) => reload::run(&flags, environment),
        Command::Status(flags) => status::run(&flags, registry, environment),
    }
}

/// The advice beside the answer of the proxy to a client that names no session.
const ASK_WITH_A_SESSION: &str =
    "To ask as such a client, add `--as session-NAME` to this command.";

/// Reads the username of `--as`: preferences alone, or behind the `+` of a username of `server.auth`.
///
/// # Errors
/// The reason why it states no preferences. Neither that nor the advice quotes it, since it may be that of an account.
fn preferences_of(text: &str) -> Result<Preferences, String> {
    let stated = text.rsplit_once('+').map_or(text, |(_, stated)| stated);
    stated.parse().map_err(|invalid: InvalidPreferences| match is_of_provider(stated) {
        true => username_of_provider("a hop of"),
        false => invalid.to_string(),
    })
}

/// Returns notes on a session whose name seems to have a country in it, and on a country that seems to be another one.
fn doubtful_preferences(preferences: &Preferences) -> Vec<String> {
    let session = note_on_session(preferences);
    let country = preferences.country.and_then(|country| {
        let (doubt, help) = country.doubt()?;
        Some(format!("note: the country `{country}` {doubt}; {help}"))
    });
    session.into_iter().chain(country).collect()
}

fn note_on_session(preferences: &Preferences) -> Option<String> {
    let country = preferences.country_in_session()?;
    let session = preferences.session.as_deref()?;
    let name = session.split("country").next()?.trim_end_matches(['-', '_', '.']);
    Some(format!(
        "note: this session is called `{session}`; a comma separates a country, as in `session-{name},country-{country}`"
    ))
}

/// Returns an address at which clients reach the proxy.
fn example_address(server: &ServerConfig) -> Option<ProxyAddress> {
    let listener = server.listen.first()?;
    let address = listener.address.sockets().next()?;
    Some(ProxyAddress { socket: reachable(address), is_tls: listener.tls.is_some() })
}

/// The result of a command that looks at a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The configuration is valid, and the request of the command is possible.
    Valid,
    /// The configuration is invalid, or the request is not possible.
    Invalid,
}

/// The exit status for wrong usage, the same as of clap.
const USAGE: u8 = 2;

const VISIBLE_CREDENTIALS: &str = "other users of this machine can see the credentials on the command line; `mooltiroute \
                                   check --hop URL` prints a configuration to use instead";

/// Says the same of `check --hop` itself.
const VISIBLE_TO_OTHERS: &str = "other users of this machine can see the credentials on the command line; use the configuration \
                                 on standard output instead, and set its variables";
