//! Finds the running proxy that a command is for, and writes its answer.

use std::{
    io::{self, Write},
    net::ToSocketAddrs as _,
    path::PathBuf,
    process::ExitCode,
};

use serde::Serialize;
use serde_json::json;

use super::{Verdict, complain};
use crate::{
    cli::{Format, ProxyChoice},
    config::{Environment, Source},
    control::client::{Control, WantedProxy},
};

/// Finds the running proxy that `choice` names, through its control socket.
///
/// # Errors
/// The reason why there is none, for people.
pub(super) fn find(choice: &ProxyChoice, environment: &Environment) -> Result<Control, String> {
    let wanted = wanted(choice, environment)?;
    Control::find(&wanted, environment).map_err(|error| error.to_string())
}

/// Writes the answer of the running proxy, or the reason why there is none, and returns the exit status of the command.
pub(super) fn answer<T: Serialize>(
    answer: Result<T, String>,
    format: Format,
    describe: impl FnOnce(&T, &mut dyn Write) -> io::Result<()>,
    verdict: impl FnOnce(&T) -> Verdict,
) -> ExitCode {
    let out = &mut super::stdout();
    super::status(match (answer, format) {
        (Ok(answer), Format::Human) => describe(&answer, out).map(|()| verdict(&answer)),
        (Ok(answer), Format::Json) => {
            let written = serde_json::to_string_pretty(&answer).map_err(io::Error::from);
            written.and_then(|json| writeln!(out, "{json}")).map(|()| verdict(&answer))
        }
        (Err(why), Format::Human) => return complain(&why),
        (Err(why), Format::Json) => {
            // A program that asked for JSON gets it for a failure too.
            let failure = json!({ "running": false, "error": why });
            writeln!(out, "{failure:#}").map(|()| Verdict::Invalid)
        }
    })
}

fn wanted(choice: &ProxyChoice, environment: &Environment) -> Result<WantedProxy, String> {
    if let Some(text) = &choice.address {
        let found = text.to_socket_addrs();
        let found = found.map_err(|error| format!("--address {text}: {error}"))?;
        return Ok(WantedProxy::Listener(found.collect()));
    }
    let path = |source: Source| match source {
        Source::Path(path) => Some(path),
        Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
    };
    // A path that is named is not checked: the proxy may have been started with files that are gone by now.
    if let Some(named) = named(choice.config.path.clone(), environment) {
        return Ok(WantedProxy::Config(Some(named)));
    }
    let source = Source::find(None, environment).map_err(|problems| problems.to_string())?;
    Ok(WantedProxy::Usual(path(source)))
}

/// Returns the configuration that the flag or the variable names.
fn named(flag: Option<PathBuf>, environment: &Environment) -> Option<PathBuf> {
    let variable = || environment.variable("MOOLTIROUTE_CONFIG").filter(|path| !path.is_empty());
    flag.or_else(|| variable().map(PathBuf::from))
}
