//! From a changed file to a generation in force: load, build and bind all of it, then replace one pointer.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use tokio::{sync::mpsc, task};
use tracing::{debug, error, info, warn};

use crate::{
    client::reply::with_causes,
    config::{Config, Environment, Loader, Overridden},
    control::{
        ControlServer,
        verdict::{Outcome, OverriddenSetting, ReloadOrder, ReloadOrders, ToldProblem, Verdict},
    },
    log::LogControl,
    metrics::Metrics,
    proxy::{
        changes::{edited_in_vain, with_new_value},
        direct::targets_that_go_direct,
        listeners::{Listeners, Prepared},
        server::Server,
        watch::Watch,
    },
    state::shared::{Rejection, Shared},
    system::{shutdown::ReloadRequests, supervisor},
};

/// Loads the configuration anew whenever that is called for.
#[derive(Debug)]
pub(crate) struct Reloads {
    loader: Arc<Loader>,
    listeners: Listeners,
    server: Server,
    watch: Option<Watch>,
    requests: Option<ReloadRequests>,
    orders: Option<mpsc::Receiver<ReloadOrder>>,
    log: Option<LogControl>,
    /// The problems of the last attempt, if it was rejected.
    rejected: Option<Vec<String>>,
    /// The values in the files that options of the command line override.
    overridden: Vec<Overridden>,
}

/// The event that called for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Edit,
    Signal,
    Order,
}

impl Reloads {
    /// Reloads what `server` serves on `listeners`.
    pub(crate) fn new(
        loader: Loader,
        listeners: Listeners,
        server: Server,
        watch: Option<Watch>,
    ) -> Self {
        let loader = Arc::new(loader);
        Self {
            loader,
            listeners,
            server,
            watch,
            requests: None,
            orders: None,
            log: None,
            rejected: None,
            overridden: Vec::new(),
        }
    }

    /// Compares later edits of what the command line has with `overridden`.
    #[must_use]
    pub(crate) fn over(self, overridden: Vec<Overridden>) -> Self {
        Self { overridden, ..self }
    }

    /// Has signals call for reloads too.
    pub(crate) fn set_requests(&mut self, requests: ReloadRequests) {
        self.requests = Some(requests);
    }

    /// Opens the control socket of the proxy that listens on `addresses`. Its orders call for reloads too.
    pub(crate) fn control(
        &mut self,
        addresses: &[SocketAddr],
        environment: &Environment,
    ) -> Option<ControlServer> {
        let (orders, received) = ReloadOrders::channel();
        self.orders = Some(received);
        let (loader, shared) = (Arc::clone(&self.loader), Arc::clone(self.shared()));
        ControlServer::bind(addresses, loader, shared, orders, environment)
    }

    /// Has each reload change the log too.
    pub(crate) fn set_log(&mut self, control: LogControl) {
        self.log = Some(control);
    }

    /// Reloads until it is dropped. Dropping the future between two steps leaves the generation in force as it is.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            let mut order = None;
            let call = tokio::select! {
                () = next_edit(self.watch.as_mut()) => Call::Edit,
                () = next_request(self.requests.as_mut()) => Call::Signal,
                ordered = next_order(self.orders.as_mut()) => {
                    order = Some(ordered);
                    Call::Order
                }
            };
            if let (Call::Signal | Call::Order, Some(watch)) = (call, &mut self.watch) {
                watch.complete().await;
            }
            supervisor::reloading();
            let held = self.shared().peaks().hold();
            let verdict = self.attempt(call).await;
            drop(held);
            supervisor::ready();
            if let Some(ReloadOrder(asked)) = order {
                // The client may not have waited.
                let _ = asked.send(verdict);
            }
        }
    }

    /// Loads the files, repeatedly until none has changed meanwhile and every file that they name is watched.
    ///
    /// Returns `None` if they don't come to rest; the next event calls for another attempt.
    async fn load(&mut self) -> Option<Result<Config, Vec<ToldProblem>>> {
        for _ in 0..LOADS_MAX {
            let loader = Arc::clone(&self.loader);
            let (loaded, files) = match task::spawn_blocking(move || loader.load_and_list()).await {
                Ok(loaded) => loaded,
                Err(panicked) => {
                    return Some(Err(vec![ToldProblem::line(panicked.to_string())]));
                }
            };
            if let Some(watch) = &mut self.watch {
                // Both are asked: what is named must be watched even if it changes again.
                let is_news = watch.set_named(&files);
                if is_news || !watch.is_undisturbed().await {
                    watch.complete().await;
                    continue;
                }
            }
            return Some(loaded.map_err(|problems| ToldProblem::all(&problems)));
        }
        None
    }

    async fn attempt(&mut self, call: Call) -> Verdict {
        let config = match self.load().await {
            Some(Ok(config)) => config,
            Some(Err(problems)) => return self.reject(problems, call),
            None => {
                debug!("the files change too fast to be read");
                let generation = self.shared().live().current().number();
                return Verdict::new(Outcome::Unsettled, generation);
            }
        };
        for Overridden { path, option, .. } in edited_in_vain(&self.overridden, &config.overridden)
        {
            info!(
                setting = path,
                option, "an edit has no effect: the command line has this setting"
            );
        }
        self.overridden.clone_from(&config.overridden);
        let current = self.shared().live().current();
        let changed = current.outline.changes(&config.outline);
        if changed.is_empty() {
            self.metrics().reloads.unchanged.fetch_add(1, Relaxed);
            if self.end_rejection() || call != Call::Edit {
                info!(generation = current.number(), "config unchanged");
            } else {
                debug!("an edit that changes no meaning");
            }
            return self.in_force(Outcome::Unchanged, Vec::new());
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => self.accept(config, prepared, &changed),
            Err(error) => self.reject(vec![ToldProblem::line(with_causes(&error))], call),
        }
    }

    /// Everything is built; from here on nothing fails.
    fn accept(&mut self, config: Config, prepared: Prepared, changed: &[String]) -> Verdict {
        self.end_rejection();
        let changed: Vec<_> = changed.iter().map(|path| with_new_value(path, &config)).collect();
        announce(&config);
        let log = config.log;
        let listening = self.listeners.addresses_after(&prepared);
        let last = self.shared().live().current();
        let next = last.next(config, listening);
        let direct = targets_that_go_direct(&last, &next);
        if !direct.is_empty() {
            let targets = direct.join(", ");
            warn!(targets, "targets that went through hops go direct now");
        }
        let generation = next.number();
        self.shared().live().replace(next);
        self.server.keep_warm();
        self.metrics().reloads.applied.fetch_add(1, Relaxed);
        for begun in self.listeners.replace(prepared) {
            self.server.begin(begun);
        }
        if let Some(control) = &self.log {
            control.set(&log);
        }
        info!(generation, changed = changed.join(", "), "config reloaded");
        self.in_force(Outcome::Applied, changed)
    }

    /// Returns the verdict on a configuration that is in force now.
    fn in_force(&self, outcome: Outcome, changed: Vec<String>) -> Verdict {
        let overridden = self.overridden.iter().map(|Overridden { path, option, .. }| {
            OverriddenSetting { path: path.clone(), option: (*option).to_owned() }
        });
        let overridden = overridden.collect();
        let generation = self.shared().live().current().number();
        Verdict { changed, overridden, ..Verdict::new(outcome, generation) }
    }

    fn shared(&self) -> &Arc<Shared> {
        self.server.shared()
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(self.shared().live().current().metrics())
    }

    /// Logs that the configuration on disk is valid again, if the last one was rejected. Returns whether it was.
    fn end_rejection(&mut self) -> bool {
        self.shared().set_rejection(None);
        let was_rejected = self.rejected.take().is_some();
        if was_rejected {
            info!("config valid again");
        }
        was_rejected
    }

    fn reject(&mut self, told: Vec<ToldProblem>, call: Call) -> Verdict {
        let generation = self.shared().live().current().number();
        let problems: Vec<_> = told.iter().map(|problem| problem.brief.clone()).collect();
        let verdict = Verdict { problems: told, ..Verdict::new(Outcome::Rejected, generation) };
        // One save can be seen as several changes; the same problems are logged once.
        if call == Call::Edit && self.rejected.as_ref() == Some(&problems) {
            return verdict;
        }
        error!(generation, problems = problems.join("; "), "config rejected");
        self.metrics().reloads.rejected.fetch_add(1, Relaxed);
        let at = SystemTime::now();
        self.shared().set_rejection(Some(Rejection { at, problems: problems.clone() }));
        self.rejected = Some(problems);
        verdict
    }
}

/// Says in the log what is odd in a configuration that comes in force, and how its chains travel: what goes direct in
/// plain words, all else in detail.
pub(crate) fn announce(config: &Config) {
    for warning in &config.warnings {
        warn!("{}", warning.brief());
    }
    // The first one is `direct`, which says so itself.
    for chain in config.chains.iter().skip(1) {
        let hops = chain.hops.iter().filter_map(|index| config.hops.get(*index));
        let names: Vec<&str> = hops.map(|hop| &*hop.name).collect();
        if !names.is_empty() {
            debug!(chain = %chain.name, hops = names.join(", "), "goes through hops");
        } else if chain.switched_off.is_empty() {
            // Where hops are switched off, a warning has said it.
            info!(chain = %chain.name, "goes direct: it has no hop");
        }
    }
}

/// How often files that change while they are read are read again.
const LOADS_MAX: usize = 20;

async fn next_edit(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn next_request(requests: Option<&mut ReloadRequests>) {
    match requests {
        Some(requests) => requests.next().await,
        None => std::future::pending().await,
    }
}

async fn next_order(orders: Option<&mut mpsc::Receiver<ReloadOrder>>) -> ReloadOrder {
    match orders {
        Some(orders) => match orders.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
