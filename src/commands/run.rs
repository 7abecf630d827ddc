//! `mooltiroute run`: the proxy, in the foreground.

mod predecessor;
mod take_over_turn;

use std::{
    fmt,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    time::SystemTime,
};

use mooltiroute_hops::Registry;
use serde_json::json;
use tokio::runtime::Runtime;
use tracing::warn;

use self::predecessor::Predecessor;
use crate::{
    cli::Run,
    commands::complain,
    config::{
        Environment, LogFormat, Source,
        source::{NOTHING_FOUND, NOTHING_FOUND_HELP},
    },
    control::{
        api::ProxyIdentity,
        client::{Control, NoProxy, WantedProxy},
    },
    log::{self, LogControl},
    proxy::{Loaded, listeners::ListenError},
    system::{
        file_size, memory, open_files, runtime,
        shutdown::{ReloadRequests, Shutdown, Signals},
        supervisor,
        threads::{self, ThreadProbe},
    },
    timestamp::rfc_3339,
};

/// Runs the proxy until a signal ends it.
pub fn run(flags: &Run, registry: Registry, environment: &Environment) -> ExitCode {
    // Before any other thread exists, since each thread may get a heap of its own.
    memory::share_heap();
    let (launch, runtime) = match Launch::prepare(flags, registry, environment) {
        Ok(prepared) => prepared,
        Err(NotPrepared { why, status }) => {
            // The file may say another format, but it was not read.
            end_with(&why, flags.log_format.unwrap_or(LogFormat::Text));
            return status;
        }
    };
    let format = launch.loaded.config().log.format;
    match launch.run(runtime) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => end_with(&why, format),
    }
}

/// A proxy that has its configuration, and has not begun to listen.
struct Launch<'a> {
    flags: &'a Run,
    environment: &'a Environment,
    loaded: Loaded,
    /// The sockets that the supervisor passed.
    passed: Vec<TcpListener>,
    /// Whether others can see credentials on the command line.
    shows_credentials: bool,
    /// Whether no configuration was found.
    is_without_files: bool,
}

/// The reason why the proxy has no valid configuration, and the exit status for that.
struct NotPrepared {
    why: String,
    status: ExitCode,
}

impl<'a> Launch<'a> {
    /// Reads the flags and the files, and builds the runtime.
    fn prepare(
        flags: &'a Run,
        registry: Registry,
        environment: &'a Environment,
    ) -> Result<(Self, Runtime), NotPrepared> {
        let passed = supervisor::passed().map_err(|error| {
            format!("a socket that the supervisor passed can't be used: {error}")
        })?;
        // The watcher's library panics if it gets no thread, so one is asked for before. It ends while the runtime
        // is built and the flags are read.
        let probe = ThreadProbe::start().map_err(|error| threads::too_few(&error))?;
        // The first worker. A second thread costs more in wake-ups than it carries unless there is work for a whole processor
        // more; see ARCHITECTURE.md.
        let runtime = runtime::build().map_err(|error| runtime::not_built(&error))?;
        let loader = super::find_loader(&flags.config, flags.overrides(), registry, environment);
        let loader = loader
            .map_err(|error| NotPrepared { why: error.to_string(), status: error.status() })?;
        let shows_credentials = super::shows_credentials(&loader);
        let is_without_files = matches!(loader.source(), Source::Embedded);
        probe.end();
        let loaded = Loaded::new(loader).map_err(|problems| problems.to_string())?;
        let launch =
            Self { flags, environment, loaded, passed, shows_credentials, is_without_files };
        Ok((launch, runtime))
    }

    /// Starts the proxy on `runtime`, and serves until a signal ends it.
    ///
    /// # Errors
    /// A description of why it can't start.
    fn run(self, runtime: Runtime) -> Result<(), String> {
        // Before the first line of the log, which may be a file.
        let outlived = {
            let _inside = runtime.enter();
            file_size::outlive_limit()
        };
        outlived.map_err(cannot_handle_signals)?;
        let config = self.loaded.config();
        // A flag wins over the variable, which wins over the files.
        let directives = self.environment.variable("RUST_LOG");
        let directives = directives.filter(|_| self.flags.log_level.is_none());
        let directives = directives.as_deref().map(|text| text.to_string_lossy());
        let log = log::begin(&config.log, directives.as_deref());
        let (log, flush) = log.map_err(|error| error.to_string())?;
        if self.is_without_files {
            warn!("{NOTHING_FOUND}: {NOTHING_FOUND_HELP}");
        }
        if self.shows_credentials {
            warn!("{}", super::VISIBLE_CREDENTIALS);
        }
        memory::allow_heaps(config.server.workers.get());
        open_files::raise();
        let predecessor = match self.flags.take_over {
            true => Predecessor::find(config, self.environment)?,
            false => None,
        };
        let (loaded, taken) = match &predecessor {
            Some(running) => (running.wait_for_files(self.loaded)?, running.take_sockets()?),
            None => (self.loaded, Vec::new()),
        };
        let launch = Self { loaded, ..self };
        let ended = runtime.block_on(launch.serve(predecessor, taken, log));
        // A name look-up that does not return must not delay the exit.
        runtime.shutdown_background();
        drop(flush);
        ended
    }

    /// Listens, and serves until a signal ends the proxy. A predecessor drains once this one serves.
    async fn serve(
        self,
        predecessor: Option<Predecessor>,
        taken: Vec<TcpListener>,
        log: LogControl,
    ) -> Result<(), String> {
        // Before the first line of the log, since its reader may answer it with a signal.
        let signals = Signals::new().map_err(cannot_handle_signals)?;
        let requests = ReloadRequests::new().map_err(cannot_handle_signals)?;
        let connections = self.loaded.config().limits.connections;
        let proxy = self
            .loaded
            .with_passed(self.passed)
            .with_taken(taken)
            .with_control(self.environment)
            .start()
            .map_err(|error| not_started(&error, self.flags.take_over, self.environment))?;
        // Only now, so that a start that fails for lack of threads prints one sentence.
        open_files::tell_of_limit(connections);
        let proxy = proxy.with_log(log).with_reload_requests(requests);
        supervisor::ready();
        if let Some(predecessor) = predecessor {
            Predecessor::drain(predecessor).await;
        }
        let shutdown = proxy.shutdown().clone();
        tokio::select! {
            () = proxy.run() => Ok(()),
            never = heed(signals, shutdown) => match never {},
        }
    }
}

impl From<String> for NotPrepared {
    fn from(why: String) -> Self {
        Self { why, status: ExitCode::FAILURE }
    }
}

/// Says why the proxy ends, as a line of its log if that has JSON, and returns the exit status for that.
fn end_with(why: &dyn fmt::Display, format: LogFormat) -> ExitCode {
    if format != LogFormat::Json {
        return complain(why);
    }
    let line = json!({
        "timestamp": rfc_3339(SystemTime::now()),
        "level": "ERROR",
        "message": CANNOT_RUN,
        "reason": why.to_string(),
    });
    // If standard error is closed, there is nowhere to report it.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::FAILURE
}

/// Describes why the proxy can't start, and names the running one that has its address.
fn not_started(error: &ListenError, is_take_over: bool, environment: &Environment) -> String {
    if let ListenError::Bind { address, cause } = error
        && cause.kind() == io::ErrorKind::AddrInUse
    {
        let running = Control::find(&WantedProxy::Listener(vec![*address]), environment);
        if let Err(silent @ NoProxy::Silent { .. }) = running {
            return format!("can't listen on {address}, where another process listens: {silent}");
        }
        if let Ok(running) = running {
            return taken_by(*address, &running.identity, is_take_over);
        }
        // The control socket of another user is closed to this one, and that of this user may be gone. The port is open.
        if let Some(pid) = super::status::process_at(*address) {
            let user = super::running::owner::of_process(pid);
            if user.is_none() && super::running::owner::is_this_user(pid) {
                return without_socket(*address, pid);
            }
            let user = user.map_or(UNKNOWN_USER.to_owned(), |user| format!("the user `{user}`"));
            return format!(
                "can't listen on {address}: Mooltiroute runs there already, as process {pid} of {user}, and `--take-over` \
                 replaces only a proxy of the same user. Point your programs at that one, have it stopped, or choose another \
                 address (`server.listen`, `--listen`)"
            );
        }
    }
    error.to_string()
}

/// Describes a start at an address of a proxy of this user whose control socket is not found.
fn without_socket(address: SocketAddr, pid: u64) -> String {
    format!(
        "can't listen on {address}: Mooltiroute runs there already, as process {pid} of this user, but this command finds no \
         control socket of it, which `--take-over` needs. If it was started with another `XDG_RUNTIME_DIR`, run this command \
         with that one. If the socket was removed, `kill -HUP {pid}` makes the proxy open a new one; then run this again"
    )
}

/// Describes a start at an address that `running` has.
fn taken_by(address: SocketAddr, running: &ProxyIdentity, is_take_over: bool) -> String {
    // A process that takes over has asked for the sockets of the proxy before that one.
    match is_take_over {
        true => format!(
            "can't listen on {address}: another process took over from the proxy there first, and runs now: {running}. \
             Run this command again to replace that one"
        ),
        false => format!(
            "can't listen on {address}: Mooltiroute runs there already: {running}. Stop that one, replace it with \
             `--take-over`, or choose another address (`server.listen`, `--listen`)"
        ),
    }
}

/// The user of a proxy on a system that does not tell it.
const UNKNOWN_USER: &str = "another user, or of this one with its control socket gone";

const CANNOT_RUN: &str = "the proxy can't run";

fn cannot_handle_signals(error: impl fmt::Display) -> String {
    format!("signals can't be handled: {error}")
}

/// Begins the shutdown at the first signal, and cuts what is still open at the second one.
async fn heed(mut signals: Signals, shutdown: Shutdown) -> std::convert::Infallible {
    signals.end().await;
    shutdown.drain();
    loop {
        signals.end().await;
        shutdown.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_take_over_that_comes_second_is_not_told_to_take_over() {
        let running = json!({ "version": "1.2.3", "pid": 42, "config": "/etc/m", "listeners": ["127.0.0.1:8888"] });
        let running: ProxyIdentity = serde_json::from_value(running).unwrap();
        let words =
            |is_take_over| taken_by("127.0.0.1:8888".parse().unwrap(), &running, is_take_over);
        let start = words(false);
        assert!(
            start.contains("process 42") && start.contains("replace it with `--take-over`"),
            "{start}"
        );
        let second = words(true);
        assert!(
            second.contains("process 42") && second.contains("Run this command again"),
            "{second}"
        );
        assert!(!second.contains("--take-over"), "{second}");
    }
}
