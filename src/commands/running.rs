//! Finds the running proxy that a command is for, and writes its answer.

mod lost_socket;
pub(super) mod order;
pub(super) mod owner;

use std::{
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    process::ExitCode,
};

use serde::Serialize;
use serde_json::json;

use super::{Verdict, complain, notice::with_notice};
use crate::{
    cli::{ConfigPath, Format, ProxyChoice},
    config::{Environment, Loader, Source},
    control::client::{Control, NoProxy, OtherProxies, WantedProxy},
};

/// Finds the running proxy that `choice` names, through its control socket.
///
/// # Errors
/// The reason why there is none, for people.
pub(super) fn find(choice: &ProxyChoice, environment: &Environment) -> Result<Control, String> {
    let wanted = wanted(choice, environment)?;
    let found = with_notice(|| searching(&wanted), || Control::find(&wanted, environment));
    let control = found.map_err(|error| match &error {
        NoProxy::NotRunning(others) | NoProxy::Missing(_, others) => {
            let process = choice.pid.and_then(|pid| lost_socket::of_another_user(pid.into()));
            let lost = || lost_socket::describe(choice, others, environment);
            process.or_else(lost).unwrap_or_else(|| error.to_string())
        }
        NoProxy::Silent { .. } | NoProxy::Ambiguous(_) => error.to_string(),
    })?;
    introduce(&control);
    Ok(control)
}

/// Returns the notice about a search that takes long.
fn searching(wanted: &WantedProxy) -> String {
    let silent = "still looking for the proxy: one of your proxies does not answer";
    match wanted {
        WantedProxy::Config(Some(path)) | WantedProxy::Usual(Some(path)) => {
            format!("{silent}, or the file system of {}", path.display())
        }
        _ => silent.to_owned(),
    }
}

/// Finds the running proxy that `choice` names, without saying which one it is. Returns `None` if none runs with the
/// configuration of `choice`, as far as proxies answer.
///
/// # Errors
/// Several proxies run with it, or none at the address that `choice` names.
pub(super) fn find_if_any(
    choice: &ProxyChoice,
    environment: &Environment,
) -> Result<Option<Control>, String> {
    Ok(match look(choice, environment)? {
        SoughtProxy::Answering(control) => Some(*control),
        SoughtProxy::Silent(_) | SoughtProxy::Nothing => None,
    })
}

/// The proxy that a command is for, as far as it can be asked.
#[derive(Debug)]
pub(super) enum SoughtProxy {
    /// It answers.
    Answering(Box<Control>),
    /// A proxy does not answer, and may be the one that is meant. The text says so.
    Silent(String),
    /// None runs.
    Nothing,
}

/// Looks for the running proxy that `choice` names, without saying which one it is.
///
/// # Errors
/// Several proxies run with it, or none at the address that `choice` names.
pub(super) fn look(choice: &ProxyChoice, environment: &Environment) -> Result<SoughtProxy, String> {
    let wanted = wanted(choice, environment)?;
    match Control::find(&wanted, environment) {
        Ok(control) => Ok(SoughtProxy::Answering(Box::new(control))),
        Err(error @ NoProxy::Silent { .. }) => Ok(SoughtProxy::Silent(error.to_string())),
        Err(NoProxy::NotRunning(_)) => Ok(SoughtProxy::Nothing),
        Err(error) => Err(error.to_string()),
    }
}

/// Says which proxy is asked, unless it is certain that the command means this one.
pub(super) fn introduce(control: &Control) {
    let is_certain = control.is_named || (control.is_exact && control.others.is_empty());
    if !is_certain {
        super::complain(&control.introduction());
    }
}

/// Lists the running proxies if `config` names no configuration and none of them runs with `source`, which the command
/// reads instead.
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
            "this is about {source}, with which none of your proxies runs; name another configuration with `-c`{others}"
        ));
    }
}

/// Describes the proxy of another user, one without a control socket, or one that does not answer, that runs or may run with
/// the configuration of `config`, if there is one.
pub(super) fn out_of_reach(config: &ConfigPath, environment: &Environment) -> Option<String> {
    let config = ConfigPath { path: config.path.clone() };
    let choice = ProxyChoice { config, ..ProxyChoice::default() };
    match Control::find(&wanted(&choice, environment).ok()?, environment) {
        Err(NoProxy::NotRunning(others) | NoProxy::Missing(_, others)) => {
            lost_socket::describe(&choice, &others, environment)
        }
        Err(error @ NoProxy::Silent { .. }) => Some(error.to_string()),
        _ => None,
    }
}

/// As [`doubt_source`], for the configuration that `config` means.
pub(super) fn doubt_choice(config: &ConfigPath, environment: &Environment) {
    if let Ok(source) = Source::find(config.path.clone(), environment) {
        doubt_source(config, &source, environment);
    }
}

/// Finds the proxy of this user that is the process `pid`, if it is one of those that a command without a name may mean.
pub(super) fn of_process(
    config: &ConfigPath,
    pid: &serde_json::Value,
    environment: &Environment,
) -> Option<Control> {
    if names_configuration(config, environment) {
        return None;
    }
    let pid = pid.as_u64().and_then(|pid| u32::try_from(pid).ok())?;
    Control::find(&WantedProxy::Process(pid), environment).ok()
}

/// Finds the proxy that runs with the configuration that `config` names. If it names none, the only proxy that runs will
/// do, and which one it is is said on standard error.
pub(super) fn of_choice(config: &ConfigPath, environment: &Environment) -> Option<Control> {
    let config = ConfigPath { path: config.path.clone() };
    let choice = ProxyChoice { config, ..ProxyChoice::default() };
    let control = find_if_any(&choice, environment).ok().flatten()?;
    introduce(&control);
    Some(control)
}

/// Returns the command that starts a proxy with the configuration of `config`.
pub(super) fn run_command(config: &ConfigPath) -> String {
    match &config.path {
        Some(path) => format!("mooltiroute run -c {}", shell_word(&path.to_string_lossy())),
        None => "mooltiroute run".to_owned(),
    }
}

/// Quotes `text` for a shell, if that is needed.
fn shell_word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+,:@%=~\\".contains(letter);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Finds the proxy that runs with `source`.
pub(super) fn of_source(source: &Source, environment: &Environment) -> Option<Control> {
    let wanted = WantedProxy::Config(path_of(source));
    Control::find(&wanted, environment).ok().filter(|control| control.is_exact)
}

/// Returns the hops of `budgeted` whose budget is used up in the proxy that runs with the configuration of `loader`.
/// Returns none if no such proxy runs.
///
/// `budgeted` are the hops on the way of a request that have a budget. Without any, no proxy is asked.
pub(super) fn used_up_budgets(loader: &Loader, budgeted: &[impl AsRef<str>]) -> Vec<String> {
    if budgeted.is_empty() {
        return Vec::new();
    }
    let Some(control) = of_source(loader.source(), loader.environment()) else { return Vec::new() };
    let Ok(status) = control.get::<serde_json::Value>("/v1/status") else { return Vec::new() };
    let budgets = status["budgets"].as_object().into_iter().flatten();
    let reached = budgets.filter(|(_, budget)| budget["is_reached"].as_bool() == Some(true));
    let is_on_way = |hop: &String| budgeted.iter().any(|one| one.as_ref() == hop);
    reached.map(|(hop, _)| hop.clone()).filter(is_on_way).collect()
}

/// Returns a note that names the hops of `used_up`, if there are any.
pub(super) fn note_on_budgets(used_up: &[String]) -> Option<String> {
    let hops: Vec<_> = used_up.iter().map(|hop| format!("`{hop}`")).collect();
    (!hops.is_empty()).then(|| {
        format!(
            "note: in the running proxy the budget of {} is used up, so it refuses this request, or sends it through the \
             chain of `then`; `mooltiroute usage` shows when the next period begins",
            hops.join(", ")
        )
    })
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
        return Ok(WantedProxy::Listener(addresses(text)?));
    }
    if let Some(pid) = choice.pid {
        return Ok(WantedProxy::Process(pid));
    }
    // A path that is named is not checked: the proxy may have been started with files that are gone by now.
    if let Some(named) = named(choice.config.path.clone(), environment) {
        return Ok(WantedProxy::Config(Some(named)));
    }
    let source = Source::find(None, environment).map_err(|problems| problems.to_string())?;
    Ok(WantedProxy::Usual(path_of(&source)))
}

/// Returns the addresses that `text` of `--address` names.
///
/// # Errors
/// It is not an address, or its name can't be looked up.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    // People copy the URL of the proxy.
    let bare = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let bare = bare.unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    match bare.to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => {
            Err(format!("--address {bare}: {error}; write HOST:PORT, as in `127.0.0.1:8888`"))
        }
    }
}

fn path_of(source: &Source) -> Option<PathBuf> {
    match source {
        Source::Path(path) => Some(path.clone()),
        Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
    }
}

/// Returns whether the flag or the variable names a configuration.
pub(super) fn names_configuration(config: &ConfigPath, environment: &Environment) -> bool {
    named(config.path.clone(), environment).is_some()
}

/// Returns the configuration that the flag or the variable names.
fn named(flag: Option<PathBuf>, environment: &Environment) -> Option<PathBuf> {
    let variable = || environment.variable("MOOLTIROUTE_CONFIG").filter(|path| !path.is_empty());
    flag.or_else(|| variable().map(PathBuf::from))
}
