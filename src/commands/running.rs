//! Finds the running proxy that a command is for.

use std::{net::ToSocketAddrs as _, path::PathBuf};

use crate::{
    cli::ProxyChoice,
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
    // The proxy may have been started with files that are gone by now.
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
