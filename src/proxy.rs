//! The life of a proxy: load the configuration, start, run until it is asked to end, drain.

mod changes;
mod direct;
pub(crate) mod listeners;
mod lists;
pub(crate) mod reload;
pub(crate) mod server;
mod usage_keeper;
pub(crate) mod watch;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
};

use mooltiroute_hops::{KeyPath, thread_pool};
use tracing::{info, warn};

use crate::{
    client::reply::advice,
    config::{Config, Environment, Loader, Problem, Problems, Source},
    control::ControlServer,
    log::LogControl,
    network::NetworkKeeper,
    proxy::{
        listeners::{ListenError, Listeners},
        reload::Reloads,
        server::Server,
        usage_keeper::UsageKeeper,
        watch::{Watch, wait_for_writers},
    },
    state::{
        generation::Generation, saved_lists::SavedLists, shared::Shared, usage_file::usage_file,
    },
    system::{
        shutdown::{ReloadRequests, Shutdown},
        supervisor,
        threads::ReadyThread,
        workers::Workers,
    },
};

/// A configuration that is valid, and the watch over its files.
#[derive(Debug)]
pub struct Loaded {
    loader: Loader,
    config: Config,
    watch: Option<io::Result<Watch>>,
    passed: Vec<TcpListener>,
    taken: Vec<TcpListener>,
    /// The place to open a control socket in, if there is to be one.
    control: Option<Environment>,
}

/// A proxy that accepts connections.
#[derive(Debug)]
pub struct Proxy {
    server: Server,
    reloads: Reloads,
    addresses: Vec<SocketAddr>,
    usage: UsageKeeper,
    control: Option<ControlServer>,
    workers: Workers,
}

impl Loaded {
    /// Loads the configuration, and watches it from before it is read, so that no edit falls between the two. Waits
    /// while another process is writing to one of its files, up to half a minute, and blocks the thread.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, or a file of it that is still being written.
    pub fn new(loader: Loader) -> Result<Self, Problems> {
        let watch = match loader.source() {
            Source::Path(path) => Some(Watch::new(path)),
            Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
        };
        let (config, watch) = load(&loader, watch)?;
        Ok(Self { loader, config, watch, passed: Vec::new(), taken: Vec::new(), control: None })
    }

    /// Loads the files once more, as [`new`](Self::new) does.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub(crate) fn again(self) -> Result<Self, Problems> {
        let (config, watch) = load(&self.loader, self.watch)?;
        Ok(Self { config, watch, ..self })
    }

    /// Returns the source of the configuration.
    pub(crate) fn source(&self) -> &Source {
        self.loader.source()
    }

    /// Accepts on sockets that a supervisor has passed, too. The configuration must name them.
    #[must_use]
    pub fn with_passed(mut self, passed: Vec<TcpListener>) -> Self {
        self.passed = passed;
        self
    }

    /// Accepts on those of the sockets that the configuration names. A proxy that is shutting down has handed them over.
    #[must_use]
    pub(crate) fn with_taken(mut self, taken: Vec<TcpListener>) -> Self {
        self.taken = taken;
        self
    }

    /// Opens a control socket at the start, through which the owner lists and ends connections and orders reloads. If
    /// that fails, the log says why, and the proxy runs without it.
    #[must_use]
    pub fn with_control(mut self, environment: &Environment) -> Self {
        self.control = Some(environment.clone());
        self
    }

    /// Returns the loaded configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Binds the listeners and accepts on them. Must be called in a runtime of tokio.
    ///
    /// # Errors
    /// The first address that can't be listened on, a socket that was passed and can't be used, or a thread that
    /// can't be started. Everything that was opened is closed again.
    pub fn start(self) -> Result<Proxy, ListenError> {
        let Self { loader, config, watch, passed, taken, control } = self;
        let mut listeners = Listeners::default();
        // The supervisor's sockets come first: `prepare` finds their addresses open, and does not bind them.
        let mut adopted = listeners.adopt(passed).map_err(ListenError::Passed)?;
        let taken = listeners.take_over(taken, &config.server.listen);
        adopted.extend(taken.map_err(ListenError::Taken)?);
        let prepared = listeners.prepare(&config.server.listen)?;
        let addresses = listeners.addresses_after(&prepared);
        // Once the log says that the configuration is loaded, nothing fails for lack of these threads. Clients can
        // connect already, and wait in the queues of the listeners.
        thread_pool::start().map_err(ListenError::Threads)?;
        let usage_thread = ReadyThread::start("usage").map_err(ListenError::Threads)?;
        let announced = reload::announce(&config, &reload::Announced::default());
        // A proxy that can't see edits still serves, and reloads by signal or on request.
        let watch = watch.and_then(|watch| {
            let watch = watch.and_then(Watch::begin_polling);
            watch.inspect_err(|error| warn!(%error, "edits can't be seen; run `mooltiroute reload` after each")).ok()
        });
        if let Some(error) = watch.as_ref().and_then(Watch::blindness) {
            warn!(%error, "the system reports no edits of these files; they are checked every few seconds");
        }
        // The last step that can fail. Returning closes the sockets that were bound.
        let workers = Workers::start(config.server.workers.get()).map_err(ListenError::Workers)?;
        let (overridden, shadowed) = (config.overridden.clone(), config.shadowed.clone());
        let usage_file = usage_file(loader.source(), loader.environment());
        let (written, network) = (config.written.clone(), Arc::clone(&loader.network));
        // In force are the outcomes that this generation was built with. If the facts differ by now, a reload
        // follows.
        let lists = SavedLists::find(loader.source(), loader.environment());
        let first = Generation::first(config, addresses.clone(), &network, lists, advice);
        first.put_outcomes_in_force();
        let shared = Shared::new(first, loader.source().clone(), Shutdown::default());
        let usage = UsageKeeper::begin(&shared, usage_file, usage_thread);
        let begun = adopted.into_iter().chain(listeners.replace(prepared)).collect::<Vec<_>>();
        shared.reserved().note(begun.len(), workers.count());
        shared.set_tls_listeners(listeners.sockets().with_tls());
        let server = Server::new(shared, &workers);
        let mut reloads =
            Reloads::new(loader, listeners, server.clone(), watch).over(overridden, shadowed);
        // Before the log says that it listens. Programs wait for that line, and may then use the control socket at
        // once.
        let control = control.map(|environment| reloads.control(&addresses, &environment));
        for begun in begun {
            server.begin(begun);
        }
        server.keep_warm();
        server.keep_facts(NetworkKeeper::new(network));
        let reloads = reloads.with_written(written).with_announced(announced);
        Ok(Proxy { server, reloads, addresses, control, workers, usage })
    }
}

/// Loads the configuration, and has `watch` watch the files that it names.
fn load(
    loader: &Loader,
    mut watch: Option<io::Result<Watch>>,
) -> Result<(Config, Option<io::Result<Watch>>), Problems> {
    // Only the first load tells which files the settings name. They could change before they are watched, so
    // all is read again until the list stays the same. Each round also waits for writers of the files that the
    // last one named.
    let mut named = Vec::new();
    let config = loop {
        if let Source::Path(path) = loader.source() {
            // The watch can't tell of a writer that had a file open before it began.
            wait_for_writers(path, &named).map_err(|writer| {
                Problem::new(
                    &KeyPath::default(),
                    "source",
                    format!("{writer}; run this again once it has closed the file"),
                )
            })?;
        }
        let (config, files) = loader.load_and_list();
        let is_news = match &mut watch {
            Some(Ok(watch)) => watch.set_named(&files),
            _ => false,
        };
        named = files;
        // The files that it names are read again now that they are watched. Only problems of the last round
        // count.
        if !is_news {
            break config?;
        }
    };
    Ok((config, watch))
}

impl Proxy {
    /// Returns the addresses that it listened on at its start, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the handle that ends it.
    pub fn shutdown(&self) -> &Shutdown {
        self.server.shared().shutdown()
    }

    /// Applies the settings of the log with each reload.
    #[must_use]
    pub fn with_log(mut self, control: LogControl) -> Self {
        self.server.shared().connections().set_log(control.direct());
        self.reloads.set_log(control);
        self
    }

    /// Reloads on signals, as on edits.
    #[must_use]
    pub fn with_reload_requests(mut self, requests: ReloadRequests) -> Self {
        self.reloads.set_requests(requests);
        self
    }

    /// Runs and reloads until its [`Shutdown`] begins. Then lets open connections end, within `timeouts.drain`.
    pub async fn run(self) {
        // The workers end last, with what was cut.
        let Self { server, reloads, control, usage, workers: _workers, .. } = self;
        let shared = server.shared();
        // Served to the end, so that `ps` and `kill` work on the connections that a drain waits for.
        let mut control = pin!(serve_control(control));
        // A start ends like a peak: much of what it took is not needed any more.
        drop(shared.peaks().hold());
        tokio::select! {
            () = shared.shutdown().draining() => {}
            never = reloads.run() => match never {},
            never = shared.peaks().settle() => match never {},
            never = &mut control => match never {},
        }
        // The deadline is that of the generation in force, so an edit of it counts. No other generation follows,
        // since leaving the `select!` has dropped the task that reloads.
        let deadline = shared.live().current().timeouts.drain;
        supervisor::stopping();
        info!(open = shared.open(), ?deadline, "shutting down");
        tokio::select! {
            () = server.drain(deadline) => {}
            never = &mut control => match never {},
        }
        usage.end();
        info!("stopped");
    }
}

/// Serves the control socket, if there is one.
async fn serve_control(control: Option<ControlServer>) -> Infallible {
    match control {
        Some(control) => control.run().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use mooltiroute_hops::kinds;
    use tokio::time::{self, timeout};

    use super::*;
    use crate::config::{Environment, Overrides};

    #[tokio::test]
    async fn an_edit_between_loading_and_the_start_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let write = |limit: usize| {
            let yaml = format!(
                "server: {{ listen: \"127.0.0.1:0\" }}\nlimits: {{ connections: {limit} }}\nchains: {{ default: [] }}\n"
            );
            fs::write(directory.path().join("10.yaml"), yaml).unwrap();
        };
        write(1);
        let source = Source::Path(directory.path().to_owned());
        let environment = Environment::new(|_| None, Path::new(""));
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        let loaded = Loaded::new(loader).unwrap();
        write(2);
        let proxy = loaded.start().unwrap();
        let server = proxy.server.clone();
        let is_taken = async {
            while server.shared().live().current().limits.connections != 2 {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Sooner than the periodic look would find it.
        let within = Duration::from_secs(4);
        tokio::select! {
            () = proxy.run() => panic!("it ended"),
            taken = timeout(within, is_taken) => taken.unwrap(),
        }
    }
}
