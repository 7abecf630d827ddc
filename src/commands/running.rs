//! Finds the running proxy that a command is for.

use std::{net::ToSocketAddrs as _, path::PathBuf};

use crate::{
    cli::{ConfigPath, ProxyChoice},
    config::{Environment, Source},
    control::client::{Control, NoProxy, OtherProxies, WantedProxy},
};

/// Finds the running proxy that `choice` names, through its control socket.
///
/// # Errors
/// The reason why there is none, for people.
pub(super) fn find(choice: &ProxyChoice, environment: &Environment) -> Result<Control, String> {
    let control = find_silently(choice, environment)?;
    introduce(&control);
    Ok(control)
}

/// Finds the running proxy that `choice` names, and does not say which one it is.
///
/// # Errors
/// The reason why there is none, for people.
pub(super) fn find_silently(
    choice: &ProxyChoice,
    environment: &Environment,
) -> Result<Control, String> {
    let wanted = wanted(choice, environment)?;
    Control::find(&wanted, environment).map_err(|error| error.to_string())
}

/// Says which proxy was asked, if the command named none and another one could have been meant.
pub(super) fn introduce(control: &Control) {
    if !control.is_named && !(control.is_exact && control.others.is_empty()) {
        super::complain(&control.introduction());
    }
}

/// Says which proxies run, if a command named no configuration and none runs with `source`, which it reads.
pub(super) fn doubt_source(config: &ConfigPath, source: &Source, environment: &Environment) {
    if named(config.path.clone(), environment).is_some() {
        return;
    }
    let wanted = WantedProxy::Config(path_of(source));
    if let Err(NoProxy::NotRunning(others)) = Control::find(&wanted, environment)
        && !others.is_empty()
    {
        let others = OtherProxies(&others);
        super::complain(&format_args!(
            "this is about {source}; name another configuration with `-c`{others}"
        ));
    }
}

fn wanted(choice: &ProxyChoice, environment: &Environment) -> Result<WantedProxy, String> {
    if let Some(text) = &choice.address {
        let found = text.to_socket_addrs();
        let found = found.map_err(|error| format!("--address {text}: {error}"))?;
        return Ok(WantedProxy::Listener(found.collect()));
    }
    // A path that is named is not checked: the proxy may have been started with files that are gone by now.
    if let Some(named) = named(choice.config.path.clone(), environment) {
        return Ok(WantedProxy::Config(Some(named)));
    }
    let source = Source::find(None, environment).map_err(|problems| problems.to_string())?;
    Ok(WantedProxy::Usual(path_of(&source)))
}

fn path_of(source: &Source) -> Option<PathBuf> {
    match source {
        Source::Path(path) => Some(path.clone()),
        Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
    }
}

/// Returns the configuration that the flag or the variable names.
fn named(flag: Option<PathBuf>, environment: &Environment) -> Option<PathBuf> {
    let variable = || environment.variable("MOOLTIROUTE_CONFIG").filter(|path| !path.is_empty());
    flag.or_else(|| variable().map(PathBuf::from))
}
