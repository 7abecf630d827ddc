//! `mooltiroute env`: prints the lines that point a shell at the proxy.

mod auth_origins;
pub(super) mod bypass;
pub(super) mod settings;
mod shell;

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use mooltiroute_hops::Registry;

use self::{
    settings::{ClientSettings, ClientUser, SWITCHES, VARIABLES},
    shell::quoted_assignment,
};
use super::{Verdict, complain, exec, running};
use crate::{
    cli::{self, Shell},
    config::Environment,
};

/// Runs the command.
pub fn run(flags: &cli::Env, registry: Registry, environment: &Environment) -> ExitCode {
    let shell = flags.shell.unwrap_or_else(|| default_shell(environment));
    if let Some(name) = unknown_shell(environment).filter(|_| flags.shell.is_none()) {
        // On standard error, so that a shell which evaluates the lines does not run it.
        let _ = writeln!(
            anstream::stderr(),
            "mooltiroute: the shell `{name}` of $SHELL is not known, so these lines are for sh; choose with `--shell`"
        );
    }
    let out = &mut super::stdout();
    if flags.unset {
        let switches = SWITCHES.iter().map(|(name, _)| name);
        let lines: Vec<_> =
            VARIABLES.iter().chain(switches).map(|name| shell.unset(name)).collect();
        return super::status(writeln!(out, "{}", lines.join("\n")).map(|()| Verdict::Valid));
    }
    let settings = match ClientSettings::find(&flags.proxy, registry, environment) {
        Ok(settings) => settings,
        Err(why) => return complain(&why),
    };
    if let Some(why) = settings.unknown_credentials().filter(|_| flags.with_credentials) {
        return complain(&why);
    }
    if settings.needs_credentials() && !flags.with_credentials {
        // On standard error, so that a shell which evaluates the lines does not run it.
        let _ = writeln!(anstream::stderr(), "mooltiroute: {WITHOUT_CREDENTIALS}");
    }
    if let Some(note) = settings.note_on_credentials().filter(|_| flags.with_credentials) {
        complain(&note);
    }
    if let Some(note) = settings.note_on_stale_variables(environment) {
        complain(&note);
    }
    if let Some(note) = settings.note_on_sessions() {
        complain(&note);
    }
    if let Some(note) = settings.note_on_tls() {
        complain(&note);
    }
    // The variables may be set before the proxy starts, so this is not a failure.
    if let Some(address) = settings.unanswered() {
        complain(&format_args!(
            "no proxy listens on {address} yet; start it with `{}`, or requests of programs with these variables fail",
            running::run_command(&flags.proxy.config)
        ));
    }
    if let Some(note) = note_on_no_proxy(&settings, environment) {
        complain(&note);
    }
    if let Some(note) = exec::note_on_node(io::stderr().is_terminal()) {
        complain(&note);
    }
    let user = ClientUser { preferences: None, shows_credentials: flags.with_credentials };
    let lines: Vec<_> = settings
        .variables(&user)
        .iter()
        .map(|(name, value)| quoted_assignment(shell, name, value))
        .collect();
    super::status(writeln!(out, "{}", lines.join("\n")).map(|()| Verdict::Valid))
}

/// Returns a note on the hosts that the variables of this shell keep from the proxy, and the printed ones don't.
fn note_on_no_proxy(settings: &ClientSettings, environment: &Environment) -> Option<String> {
    let values = ["no_proxy", "NO_PROXY"].map(|name| environment.variable(name));
    let mut lost: Vec<_> = values
        .iter()
        .flatten()
        .flat_map(|value| settings.lost_bypasses(&value.to_string_lossy()))
        .collect();
    lost.sort();
    lost.dedup();
    // `*` is no host: it switches proxies off.
    lost.retain(|host| host != "*");
    if lost.is_empty() {
        return None;
    }
    let hosts = lost.join(",");
    let quoted: Vec<_> = lost.iter().map(|host| format!("\"{}\"", as_pattern(host))).collect();
    Some(format!(
        "these lines replace the `no_proxy` of this shell: requests to {hosts} go through the proxy now. To keep them from its \
         hops, write a route before the others: `- {{ hosts: [{}], chain: direct }}`",
        quoted.join(", ")
    ))
}

/// Returns an entry of `no_proxy` as routes write it.
fn as_pattern(entry: &str) -> String {
    match entry.strip_prefix('.') {
        Some(rest) => format!("*.{rest}"),
        None => entry.to_owned(),
    }
}

/// Returns the shell of the user: the one that `$SHELL` names, or PowerShell on Windows.
fn default_shell(environment: &Environment) -> Shell {
    let named = environment.variable("SHELL");
    let is_fish = named
        .as_deref()
        .and_then(|path| Path::new(path).file_stem())
        .is_some_and(|name| name == "fish");
    match named {
        Some(_) if is_fish => Shell::Fish,
        None if cfg!(windows) => Shell::Powershell,
        _ => Shell::Sh,
    }
}

/// Returns the name of the user's shell if it is none that reads the lines of one of ours.
fn unknown_shell(environment: &Environment) -> Option<String> {
    let path = environment.variable("SHELL")?;
    let name = Path::new(&path).file_stem()?.to_string_lossy().into_owned();
    let is_known = name == "fish" || name.ends_with("sh") || name == "busybox";
    // Shells of the C family end so too, and have another syntax.
    let is_c_shell = ["csh", "tcsh", "nush", "elvish", "pwsh"].contains(&&*name);
    (!is_known || is_c_shell).then_some(name)
}

const WITHOUT_CREDENTIALS: &str = "the proxy asks its clients for `server.auth`, and these URLs leave it out; \
     add `--with-credentials` to print it, or run one command with `mooltiroute exec`, which passes it on unseen";
