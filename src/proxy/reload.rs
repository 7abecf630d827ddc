//! From a changed file to a generation in force: load, build and bind all of it, then replace one pointer.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use tokio::task;
use tracing::{debug, error, info, warn};

use crate::{
    client::reply::with_causes,
    config::{Config, Loader, NamedHop, OnLeave, Overridden, Problems, source::KeptTexts},
    log::LogControl,
    metrics::Metrics,
    network::Network,
    proxy::{
        changes::{edited_in_vain, with_new_value},
        direct::targets_that_go_direct,
        listeners::{Listeners, Prepared},
        server::Server,
        watch::Watch,
    },
    state::{
        generation::Generation,
        shared::{Rejection, Shared},
    },
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
    log: Option<LogControl>,
    /// The problems of the last attempt, if it was rejected.
    rejected: Option<Vec<String>>,
    /// The values in the files that options of the command line override.
    overridden: Vec<Overridden>,
    /// The files of the configuration in force, if it depends on the network.
    written: Option<Arc<KeptTexts>>,
}

/// The event that called for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Edit,
    Signal,
    /// A condition of the network has another outcome.
    Network,
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
            log: None,
            rejected: None,
            overridden: Vec::new(),
            written: None,
        }
    }

    /// Compares later edits of what the command line has with `overridden`.
    #[must_use]
    pub(crate) fn over(self, overridden: Vec<Overridden>) -> Self {
        Self { overridden, ..self }
    }

    /// Builds other configurations from `written` when the network changes.
    #[must_use]
    pub(crate) fn from_written(self, written: Option<Arc<KeptTexts>>) -> Self {
        Self { written, ..self }
    }

    /// Has signals call for reloads too.
    pub(crate) fn set_requests(&mut self, requests: ReloadRequests) {
        self.requests = Some(requests);
    }

    /// Has each reload change the log too.
    pub(crate) fn set_log(&mut self, control: LogControl) {
        self.log = Some(control);
    }

    /// Reloads until it is dropped. Dropping the future between two steps leaves the generation in force as it is.
    pub(crate) async fn run(mut self) -> Infallible {
        let network = Arc::clone(self.shared().live().current().network());
        loop {
            let call = tokio::select! {
                () = network.changed() => Call::Network,
                () = next_edit(self.watch.as_mut()) => Call::Edit,
                () = next_request(self.requests.as_mut()) => Call::Signal,
            };
            if let (Call::Signal, Some(watch)) = (call, &mut self.watch) {
                watch.complete().await;
            }
            if call == Call::Network {
                self.follow_network(&network).await;
                continue;
            }
            supervisor::reloading();
            let held = self.shared().peaks().hold();
            self.attempt(call).await;
            drop(held);
            supervisor::ready();
        }
    }

    /// Loads the files, again and again until nobody has touched them meanwhile and every file that they name is
    /// watched. Returns `None` if they don't come to rest; the next event calls for another attempt.
    async fn load(&mut self) -> Option<Result<Config, Vec<String>>> {
        for _ in 0..LOADS_MAX {
            let loader = Arc::clone(&self.loader);
            let (loaded, files) = match task::spawn_blocking(move || loader.load_and_list()).await {
                Ok(loaded) => loaded,
                Err(panicked) => return Some(Err(vec![panicked.to_string()])),
            };
            if let Some(watch) = &mut self.watch {
                // Both are asked: what is named must be watched even if it changes again.
                let is_news = watch.set_named(&files);
                if is_news || !watch.is_undisturbed().await {
                    watch.complete().await;
                    continue;
                }
            }
            return Some(loaded.map_err(|problems| briefly(&problems)));
        }
        None
    }

    /// Puts the outcomes in force that the conditions of the network have now. Builds on the files that were read for
    /// the configuration in force, so that an edit that is invalid or still being written can't delay it.
    async fn follow_network(&mut self, network: &Network) {
        let (Some(written), causes) = (self.written.clone(), network.causes()) else { return };
        if causes.is_empty() {
            // The network was back before this began.
            return;
        }
        let held = self.shared().peaks().hold();
        let loader = Arc::clone(&self.loader);
        let loaded = task::spawn_blocking(move || loader.load_kept(&written)).await;
        match loaded {
            Ok(Ok(config)) => {
                let last = self.shared().live().current();
                let changed = last.outline.changes(&config.outline);
                if changed.is_empty() {
                    network.put_in_force(last.outcomes());
                } else {
                    // The addresses are those that are listened on, so nothing has to be bound.
                    match self.listeners.prepare(&config.server.listen) {
                        Ok(prepared) => {
                            self.accept(config, prepared, &changed, Some(causes.join("; ")));
                        }
                        Err(error) => self.reject(vec![with_causes(&error)], Call::Network),
                    }
                }
            }
            Ok(Err(problems)) => self.reject(briefly(&problems), Call::Network),
            Err(panicked) => self.reject(vec![panicked.to_string()], Call::Network),
        }
        drop(held);
    }

    async fn attempt(&mut self, call: Call) {
        let config = match self.load().await {
            Some(Ok(config)) => config,
            Some(Err(problems)) => return self.reject(problems, call),
            None => return debug!("the files change too fast to be read"),
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
            self.shared().set_rejection(None);
            if self.rejected.take().is_some() || call == Call::Signal {
                info!(generation = current.number(), "config unchanged");
            } else {
                debug!("an edit that changes no meaning");
            }
            return;
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => {
                self.rejected = None;
                self.shared().set_rejection(None);
                self.accept(config, prepared, &changed, None);
            }
            Err(error) => self.reject(vec![with_causes(&error)], call),
        }
    }

    /// Everything is built; from here on nothing fails. `cause` is the change of the network that called for it.
    fn accept(
        &mut self,
        config: Config,
        prepared: Prepared,
        changed: &[String],
        cause: Option<String>,
    ) {
        let changed: Vec<_> = changed.iter().map(|path| with_new_value(path, &config)).collect();
        announce(&config);
        let log = config.log;
        self.written.clone_from(&config.written);
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
        let next = self.shared().live().current();
        next.network().put_in_force(next.outcomes());
        self.server.keep_warm();
        let cut = self.cut_tunnels_of_hops_that_left(&last, &next);
        self.metrics().reloads.applied.fetch_add(1, Relaxed);
        for begun in self.listeners.replace(prepared) {
            self.server.begin(begun);
        }
        if let Some(control) = &self.log {
            control.set(&log);
        }
        let changed = changed.join(", ");
        match cause {
            Some(cause) => info!(generation, changed, cause, "config reloaded"),
            None => info!(generation, changed, "config reloaded"),
        }
        if cut > 0 {
            info!(generation, tunnels = cut, "cut the tunnels of hops that were switched off");
        }
    }

    /// Cuts the tunnels through hops that were on in `last`, are off in `next`, and have `on_leave: cut`. Returns their
    /// number.
    fn cut_tunnels_of_hops_that_left(&self, last: &Generation, next: &Generation) -> usize {
        let is_on = |generation: &Generation, name: &str| {
            generation.hops().iter().any(|hop| &*hop.name == name && hop.is_enabled)
        };
        let has_left = |hop: &&NamedHop| {
            hop.on_leave == OnLeave::Cut && hop.is_enabled && !is_on(next, &hop.name)
        };
        let left: Vec<_> = last.hops().iter().filter(has_left).map(|hop| &hop.name).collect();
        if left.is_empty() {
            return 0;
        }
        self.shared().connections().kill(|row| {
            row.method == "CONNECT" && row.chain.hops().iter().any(|hop| left.contains(&&hop.name))
        })
    }

    fn shared(&self) -> &Shared {
        self.server.shared()
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(self.shared().live().current().metrics())
    }

    fn reject(&mut self, problems: Vec<String>, call: Call) {
        // One save can be seen as several changes; the same problems are said once.
        if call == Call::Edit && self.rejected.as_ref() == Some(&problems) {
            return;
        }
        let generation = self.shared().live().current().number();
        error!(generation, problems = problems.join("; "), "config rejected");
        self.metrics().reloads.rejected.fetch_add(1, Relaxed);
        let at = SystemTime::now();
        self.shared().set_rejection(Some(Rejection { at, problems: problems.clone() }));
        self.rejected = Some(problems);
    }
}

/// Returns each problem on one line, for the log.
fn briefly(problems: &Problems) -> Vec<String> {
    problems.0.iter().map(|problem| problem.brief().to_string()).collect()
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
