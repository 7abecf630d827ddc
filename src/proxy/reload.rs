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
    config::{Config, Loader, Overridden},
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

    /// Has each reload change the log too.
    pub(crate) fn set_log(&mut self, control: LogControl) {
        self.log = Some(control);
    }

    /// Reloads until it is dropped. Dropping the future between two steps leaves the generation in force as it is.
    pub(crate) async fn run(mut self) -> Infallible {
        loop {
            let call = tokio::select! {
                () = next_edit(self.watch.as_mut()) => Call::Edit,
                () = next_request(self.requests.as_mut()) => Call::Signal,
            };
            if let (Call::Signal, Some(watch)) = (call, &mut self.watch) {
                watch.complete().await;
            }
            supervisor::reloading();
            let held = self.shared().peaks().hold();
            self.attempt(call).await;
            drop(held);
            supervisor::ready();
        }
    }

    /// Loads the files, repeatedly until none has changed meanwhile and every file that they name is watched.
    ///
    ///  Returns `None` if they don't come to rest; the next event calls for another attempt.
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
            return Some(loaded.map_err(|problems| {
                problems.0.iter().map(|problem| problem.brief().to_string()).collect()
            }));
        }
        None
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
            if self.end_rejection() || call == Call::Signal {
                info!(generation = current.number(), "config unchanged");
            } else {
                debug!("an edit that changes no meaning");
            }
            return;
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => self.accept(config, prepared, &changed),
            Err(error) => self.reject(vec![with_causes(&error)], call),
        }
    }

    /// Everything is built; from here on nothing fails.
    fn accept(&mut self, config: Config, prepared: Prepared, changed: &[String]) {
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
    }

    fn shared(&self) -> &Shared {
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
