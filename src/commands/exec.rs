//! `mooltiroute exec`: runs a command whose requests go through the proxy.

mod bypasses;

use std::{
    collections::hash_map::RandomState,
    ffi::{OsStr, OsString},
    hash::BuildHasher as _,
    io,
    path::Path,
    process::{self, ExitCode},
    time::Duration,
};

use mooltiroute_hops::{Preferences, Registry};

use self::bypasses::note;
use super::{
    complain,
    env::settings::{ClientSettings, ClientUser},
    running,
};
use crate::{cli, config::Environment};

/// Runs the command line that follows `--`. On Unix the command takes the place of this process.
pub fn run(flags: &cli::Exec, registry: Registry, environment: &Environment) -> ExitCode {
    let settings = match ClientSettings::find(&flags.proxy, registry, environment) {
        Ok(settings) => settings,
        Err(why) => return complain(&why),
    };
    if let Some(why) = settings.unknown_credentials() {
        return complain(&why);
    }
    let preferences = match preferences(flags, &settings) {
        Ok(preferences) => preferences,
        Err(why) => return complain(&why),
    };
    // The command runs anyway: it may need no network, and callers read its exit status.
    if let Some(address) = settings.unanswered() {
        complain(&format_args!(
            "no proxy listens on {address}; start it with `{}`, or the requests of this command fail",
            running::run_command(&flags.proxy.config)
        ));
    }
    let [program, arguments @ ..] = &*flags.command else { return ExitCode::from(super::USAGE) };
    if let Some(note) = without_effect(flags, &settings) {
        complain(&note);
    }
    if let Some(note) = settings.note_on_credentials() {
        complain(&note);
    }
    if let Some(note) = settings.note_on_stale_variables(environment) {
        complain(&note);
    }
    if let Some(note) = settings.note_on_tls() {
        complain(&note);
    }
    // A program that ignores the variables would send its requests past the proxy without a word.
    if let Some(note) = note(program, arguments, &settings, environment) {
        complain(&note);
    }
    // Other users can't read the variables of a process, unlike its command line.
    let user = ClientUser { preferences, shows_credentials: true };
    let mut command = process::Command::new(program);
    command.args(arguments).envs(settings.variables(&user));
    match execute(command) {
        Ok(status) => status,
        Err(error) => {
            // Windows tells a missing file from a name that no file can have.
            let is_missing = error.kind() == io::ErrorKind::NotFound
                || cfg!(windows) && error.raw_os_error() == Some(ERROR_INVALID_NAME);
            let status = if is_missing { NOT_FOUND } else { NOT_EXECUTABLE };
            match first_of_several_words(program, arguments) {
                Some(word) => complain(&format_args!(
                    "`{word} …` can't be run: it is one word with spaces in it. Leave out the quotes, as in \
                     `mooltiroute exec -- {word} …`, or write `mooltiroute exec -- sh -c '{word} …'`"
                )),
                None if Path::new(program).is_dir() => complain(&format_args!(
                    "`{}` can't be run: it is a directory; name a program",
                    program.to_string_lossy()
                )),
                None => {
                    complain(&format_args!("`{}` can't be run: {error}", program.to_string_lossy()))
                }
            };
            ExitCode::from(status)
        }
    }
}

/// Returns a note if the Node.js on the search path ignores the variables that `env` prints.
///
/// A slow one is waited for only if `is_interactive`, since nobody may read the note otherwise.
pub(super) fn note_on_node(is_interactive: bool) -> Option<String> {
    bypasses::note_on_node(if is_interactive { bypasses::PATIENCE } else { SHORT_PATIENCE })
}

/// Returns the first word of a command line that was quoted as a whole. The rest may have credentials in it.
fn first_of_several_words<'a>(program: &'a OsStr, arguments: &[OsString]) -> Option<&'a str> {
    let (word, _) = program.to_str()?.trim().split_once(char::is_whitespace)?;
    let is_one = arguments.is_empty() && !word.contains(['@', ':', '=']);
    is_one.then_some(word)
}

/// Returns what the client states: what the flags say, or a session of its own for this run, so that all requests of
/// one run leave by one exit.
///
/// # Errors
/// The flags ask for something that no hop can do.
fn preferences(
    flags: &cli::Exec,
    settings: &ClientSettings,
) -> Result<Option<Preferences>, String> {
    // Only a wish that was stated may fail. A session that the user did not ask for is left out if it could
    // make a chain refuse the command's requests.
    let is_asked = flags.session.is_some() || flags.country.is_some();
    let takes_wish = settings.takes_preferences() || (is_asked && settings.may_take_preferences());
    if !takes_wish {
        let why = match settings.is_choice_of_running() {
            true => format!(
                "{NO_SAY}. The running proxy says so; `mooltiroute status` shows if it rejected an edit of its files"
            ),
            false => NO_SAY.to_owned(),
        };
        return if is_asked { Err(why) } else { Ok(None) };
    }
    if !is_asked && settings.some_chain_refuses_preferences() {
        return Ok(None);
    }
    if let Some(country) = &flags.country
        && !(country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic()))
    {
        return Err("--country takes the code of two letters, as in `--country us`".to_owned());
    }
    let session = flags.session.clone().unwrap_or_else(random_session);
    let mut text = format!("session-{session}");
    if let Some(country) = &flags.country {
        text.push_str(&format!(",country-{country}"));
    }
    text.parse().map(Some).map_err(|invalid| format!("{invalid}"))
}

/// Returns a note on the chains that make nothing of the session or the country that the flags ask for.
fn without_effect(flags: &cli::Exec, settings: &ClientSettings) -> Option<String> {
    let option = match (&flags.session, &flags.country) {
        (Some(_), _) => "--session",
        (None, Some(_)) => "--country",
        (None, None) => return None,
    };
    let names: Vec<_> = settings.chains_without_choice().map(|name| format!("`{name}`")).collect();
    let chains = match &*names {
        [] => return None,
        [one] => format!("the chain {one}"),
        several => format!("the chains {}", several.join(", ")),
    };
    // The answer of the proxy is about the `+` of a username, which this command has written.
    let (effect, remedy) = match settings.some_chain_refuses_preferences() {
        true => (
            "the proxy refuses requests that go",
            format!("; run commands for such targets without {option}"),
        ),
        false => ("it has no effect on requests that go", String::new()),
    };
    Some(format!(
        "{option}: {effect} through {chains}, in which no hop lets its clients choose{remedy}"
    ))
}

/// Returns a name that no other run has. The standard library seeds its hashers from the system's random numbers.
fn random_session() -> String {
    let number = RandomState::new().hash_one(process::id());
    format!("run-{number:016x}")
}

/// Replaces this process by the command. Signals, the terminal and the exit status are then the command's own.
#[cfg(unix)]
fn execute(mut command: process::Command) -> io::Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;

    Err(command.exec())
}

/// Runs the command and returns its exit status.
///
/// The console sends Ctrl+C to all its programs, so the command receives it by itself. This process only has to outlive
/// it: a handler keeps the system from ending this process first.
#[cfg(not(unix))]
fn execute(mut command: process::Command) -> io::Result<ExitCode> {
    let runtime = crate::system::runtime::build()?;
    let _outlives_interrupts = {
        let _entered = runtime.enter();
        tokio::signal::windows::ctrl_c()?
    };
    let status = command.spawn()?.wait()?;
    // An exit status of Windows has 32 bits; one that does not fit is still a failure.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// How long Node.js may take to say its version if nobody may read what follows from it.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);
/// The exit status of shells for a command that does not exist.
const NOT_FOUND: u8 = 127;
/// The number of Windows for a name that no file can have.
const ERROR_INVALID_NAME: i32 = 123;
/// The exit status of shells for a command that exists and can't be executed.
const NOT_EXECUTABLE: u8 = 126;
const NO_SAY: &str = "no hop in force lets its clients choose a session or a country; hops of `kind: webshare` and `kind: rotating` do \
                      with `sessions: by-client`";
