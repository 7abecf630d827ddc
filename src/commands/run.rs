//! `mooltiroute run`: the proxy, in the foreground.

mod predecessor;

use std::{io, process::ExitCode};

use mooltiroute_hops::Registry;
use tokio::runtime::Builder;
use tracing::warn;

use self::predecessor::Predecessor;
use crate::{
    cli::{Format, Run},
    commands::complain,
    config::{Environment, Source},
    control::client::{Control, WantedProxy},
    log,
    proxy::{Loaded, listeners::ListenError},
    system::{
        memory, open_files,
        shutdown::{ReloadRequests, Shutdown, Signals},
        supervisor, threads,
    },
};

/// Runs the proxy until a signal ends it.
pub fn run(flags: &Run, registry: Registry, environment: &Environment) -> ExitCode {
    // Before any other thread exists, since each thread may get a heap of its own.
    memory::share_heap();
    let passed = match supervisor::passed() {
        Ok(passed) => passed,
        Err(error) => {
            return complain(&format_args!(
                "a socket that the supervisor passed can't be used: {error}"
            ));
        }
    };
    // Libraries panic if a thread can't be started, so this is found out first.
    if let Err(error) = threads::check_supply() {
        return complain(&format_args!("{NO_THREADS} ({error})"));
    }
    let loaded =
        super::loader(&flags.config, flags.overrides(), Format::Human, registry, environment);
    let loader = match loaded {
        Ok(loader) => loader,
        Err(status) => return status,
    };
    let shows_credentials = super::shows_credentials(&loader);
    let is_without_files = matches!(loader.source(), Source::Embedded);
    let loaded = match Loaded::new(loader) {
        Ok(loaded) => loaded,
        Err(problems) => return complain(&problems),
    };
    // A flag wins over the variable, which wins over the files.
    let directives = environment.variable("RUST_LOG").filter(|_| flags.log_level.is_none());
    let directives = directives.as_deref().map(|text| text.to_string_lossy());
    let (control, flush) = match log::begin(&loaded.config().log, directives.as_deref()) {
        Ok(log) => log,
        Err(error) => return complain(&error),
    };
    if is_without_files {
        warn!("{NO_FILES}");
    }
    if shows_credentials {
        warn!("{}", super::VISIBLE_CREDENTIALS);
    }
    memory::allow_heaps(loaded.config().server.workers.get());
    open_files::raise(loaded.config().limits.connections);
    let predecessor = flags.take_over.then(|| Predecessor::find(loaded.config(), environment));
    let (predecessor, taken) = match predecessor.transpose() {
        Ok(found) => found.flatten().unzip(),
        Err(why) => return complain(&why),
    };
    // The first worker. A second thread costs more in wake-ups than it carries unless there is work for a whole processor
    // more; see ARCHITECTURE.md.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format_args!("the runtime can't be started: {error}")),
    };
    let ended = runtime.block_on(async {
        // Before the first line of the log, since its reader may answer it with a signal.
        let signals = Signals::new().and_then(|ends| Ok((ends, ReloadRequests::new()?)));
        let (signals, requests) =
            signals.map_err(|error| format!("signals can't be handled: {error}"))?;
        let proxy = loaded
            .with_passed(passed)
            .with_taken(taken.unwrap_or_default())
            .with_control(environment)
            .start()
            .map_err(|error| not_started(&error, environment))?;
        let proxy = proxy.with_log(control).with_reload_requests(requests);
        supervisor::ready();
        if let Some(predecessor) = predecessor {
            Predecessor::drain(predecessor).await;
        }
        let shutdown = proxy.shutdown().clone();
        tokio::select! {
            () = proxy.run() => Ok::<_, String>(()),
            never = heed(signals, shutdown) => match never {},
        }
    });
    // A name look-up that does not return must not delay the exit.
    runtime.shutdown_background();
    drop(flush);
    ended.map_or_else(|why| complain(&why), |()| ExitCode::SUCCESS)
}

/// Describes why the proxy can't start, and names the running one that has its address.
fn not_started(error: &ListenError, environment: &Environment) -> String {
    if let ListenError::Bind { address, source } = error
        && source.kind() == io::ErrorKind::AddrInUse
        && let Ok(running) = Control::find(&WantedProxy::Listener(vec![*address]), environment)
    {
        let running = running.identity;
        return format!(
            "can't listen on {address}: Mooltiroute runs there already: {running}. Stop that one, replace it with `--take-over`, or \
             choose another address (`server.listen`, `--listen`)"
        );
    }
    error.to_string()
}

const NO_FILES: &str = "no configuration was found, so everything goes direct: name one with `-c PATH`, or write one with \
                        `mooltiroute init`";
const NO_THREADS: &str = "the system gives this process too few threads to run; raise the limit of processes of this \
     user (`ulimit -u`), service (`TasksMax=`) or container";

/// Begins the shutdown at the first signal, and cuts what is still open at the second one.
async fn heed(mut signals: Signals, shutdown: Shutdown) -> std::convert::Infallible {
    signals.end().await;
    shutdown.drain();
    loop {
        signals.end().await;
        shutdown.cut();
    }
}
