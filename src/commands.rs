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

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use mooltiroute_hops::{InvalidPreferences, Preferences, Registry};
use serde_json::json;
use terminal_size::{Height, Width};
use thiserror::Error;

use crate::{
    cli::{Cli, Command, ConfigOrHops, Format, RequestFlags},
    client::ask::{is_of_provider, username_of_provider},
    config::{
        Environment, Loader, Overrides, Problems, ServerConfig, Source,
        hop_url::{InvalidHopUrl, UrlChain},
        reachable,
    },
};

use self::{json::ShownProblem, wrap::Wrapped};

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

/// Returns a note on a session whose name seems to have a country in it.
fn doubtful_session(preferences: &Preferences) -> Option<String> {
    let country = preferences.country_in_session()?;
    let session = preferences.session.as_deref()?;
    let name = session.split("country").next()?.trim_end_matches(['-', '_', '.']);
    Some(format!(
        "note: this session is called `{session}`; a comma separates a country, as in `session-{name},country-{country}`"
    ))
}

/// Returns an address at which clients reach the proxy, and whether they speak TLS to it.
fn example_address(server: &ServerConfig) -> Option<(SocketAddr, bool)> {
    let listener = server.listen.first()?;
    let address = listener.address.sockets().next()?;
    Some((reachable(address), listener.tls.is_some()))
}

/// Returns the loader of a command that is about one request, as [`loader`] does.
fn loader_of(
    request: &RequestFlags,
    format: Format,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, ExitCode> {
    let loader =
        loader(&request.config, request.switches.overrides(), format, registry, environment)?;
    // The answer would read as if it were about the proxy that runs.
    if let Some(words) = loader.source().nothing_found(environment) {
        complain(&words);
    }
    if !matches!(loader.source(), Source::CommandLine { .. }) {
        running::doubt_source(&request.config.place, loader.source(), environment);
    }
    Ok(loader)
}

/// Returns the loader of a command that only reads the configuration.
///
/// If `path` does not exist, the problem is written in `format`, and the exit status is returned as the error.
fn loader(
    config: &ConfigOrHops,
    overrides: Overrides,
    format: Format,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, ExitCode> {
    find_loader(config, overrides, registry, environment).map_err(|error| match error {
        // A program that asked for JSON gets it also if there is nothing to load.
        NoLoader::NoSource(problems) if format == Format::Json => {
            status(write_json_problems(&problems, &mut stdout()))
        }
        error => error.complain(),
    })
}

/// The reason why there is nothing to load.
#[derive(Debug, Error)]
enum NoLoader {
    #[error("{0}")]
    Usage(InvalidHopUrl),
    #[error("{0}")]
    NoSource(Problems),
}

impl NoLoader {
    /// Returns the exit status of a command that can't go on.
    fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::NoSource(_) => ExitCode::FAILURE,
        }
    }

    fn complain(&self) -> ExitCode {
        complain(self);
        self.status()
    }
}

/// Returns the loader of the configuration that `config` means.
///
/// # Errors
/// The reason why there is nothing to load.
fn find_loader(
    config: &ConfigOrHops,
    overrides: Overrides,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, NoLoader> {
    // Hops of the command line come first: clap refuses `-c` beside them, and a configuration that is merely
    // found must not add routes to them.
    let (source, environment) = hops_of(config, &registry, environment).map_err(NoLoader::Usage)?;
    let source = source.map_or_else(|| Source::find(config.place.path.clone(), &environment), Ok);
    let source = source.map_err(NoLoader::NoSource)?;
    Ok(Loader::new(source, overrides, registry, environment))
}

/// Returns the configuration that the hops of the command line mean, if it names some, and the environment with their
/// credentials.
fn hops_of(
    ConfigOrHops { hops, .. }: &ConfigOrHops,
    registry: &Registry,
    environment: &Environment,
) -> Result<(Option<Source>, Environment), InvalidHopUrl> {
    if hops.is_empty() {
        return Ok((None, environment.clone()));
    }
    let UrlChain { yaml, variables } = UrlChain::new(hops, registry)?;
    // The URL of a PAC file is a variable too. Without `@` and a query it has no place for a secret.
    let is_plain_url = |value: &str| value.contains("://") && !value.contains(['@', '?']);
    let has_credentials = variables.iter().any(|(_, value)| !is_plain_url(value.expose()));
    let source = Source::CommandLine { text: yaml.into(), has_credentials };
    Ok((Some(source), environment.clone().with_variables(variables)))
}

/// Returns whether `loader` reads hops with credentials from the command line, which other users of this machine can see.
fn shows_credentials(loader: &Loader) -> bool {
    matches!(loader.source(), Source::CommandLine { has_credentials: true, .. })
}

/// The result of a command that looks at a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The configuration is valid, and the request of the command is possible.
    Valid,
    /// The configuration is invalid, or the request is not possible.
    Invalid,
}

/// Writes every problem that `loader` found.
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
        Format::Json => return write_json_problems(problems, out),
    }
    Ok(Verdict::Invalid)
}

fn write_json_problems(problems: &Problems, out: &mut dyn Write) -> io::Result<Verdict> {
    let problems: Vec<_> = problems.0.iter().map(ShownProblem::from).collect();
    writeln!(out, "{:#}", json!({ "valid": false, "problems": problems }))?;
    Ok(Verdict::Invalid)
}

/// Returns standard output for the answer of a command in `format`. Text is wrapped at the width of a terminal.
fn answer(format: Format) -> Wrapped<impl Write> {
    // A line end inside of a text of JSON would break it.
    let is_wrapped = format == Format::Human;
    let width =
        is_wrapped.then(|| columns(terminal_size::terminal_size_of(io::stdout()))).flatten();
    Wrapped::new(stdout(), width)
}

/// Returns how many columns of a terminal to use. The last column stays free.
fn columns(size: Option<(Width, Height)>) -> Option<usize> {
    size.map(|(Width(width), _)| usize::from(width).saturating_sub(1).min(LINE_CHARS_MAX))
}

/// Returns standard output without wrapping.
///
/// After the reader has closed its end, as `head` does once it has enough, writes succeed and go nowhere. So the command
/// runs to its end and exits with its own status.
fn stdout() -> impl Write {
    UntilClosed(StyledOutput { styled: anstream::stdout().lock(), plain: io::stdout() })
}

/// Standard output, which leaves styles out if it can't show them.
struct StyledOutput {
    styled: anstream::AutoStream<io::StdoutLock<'static>>,
    plain: io::Stdout,
}

impl Write for StyledOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The search for styles takes its time for each byte, and a table may have ten thousand lines without any. Both
        // ways lead through one buffer, so the order stays.
        if bytes.contains(&ESCAPE) { self.styled.write(bytes) } else { self.plain.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.styled.flush()
    }
}

struct UntilClosed<W>(W);

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            // Counted as written, or the caller would try again.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// Returns the exit status of a command that has written its answer.
fn status(written: io::Result<Verdict>) -> ExitCode {
    match written {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Invalid) => ExitCode::FAILURE,
        Err(error) => complain(&error),
    }
}

/// Writes to standard error why a command failed, and returns the exit status for that.
fn complain(why: &dyn fmt::Display) -> ExitCode {
    // If standard error is closed, there is nowhere to report it.
    let width = columns(terminal_size::terminal_size_of(io::stderr()));
    let _ = writeln!(Wrapped::new(anstream::stderr(), width), "mooltiroute: {why}");
    ExitCode::FAILURE
}

/// The exit status for wrong usage, the same as of clap.
const USAGE: u8 = 2;

/// The byte that begins each style.
const ESCAPE: u8 = 0x1b;

/// A longer line of text is hard to read.
const LINE_CHARS_MAX: usize = 120;

const VISIBLE_CREDENTIALS: &str = "other users of this machine can see the credentials on the command line; `mooltiroute \
                                   check --hop URL` prints a configuration to use instead";

/// Says the same of `check --hop` itself.
const VISIBLE_TO_OTHERS: &str = "other users of this machine can see the credentials on the command line; use the configuration \
                                 on standard output instead, and set its variables";
