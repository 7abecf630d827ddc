//! From a changed file to a generation in force: load, build and bind all of it, then replace one pointer.

use std::{convert::Infallible, sync::Arc};

use tokio::task;
use tracing::{debug, error, info, warn};

use crate::{
    config::{Config, Loader},
    listeners::{Listeners, Prepared},
    live::Generation,
    log::LogControl,
    reply::with_causes,
    server::Server,
    shutdown::ReloadRequests,
    watch::Watch,
};

/// Loads the configuration anew whenever that is called for.
#[derive(Debug)]
pub struct Reloads {
    loader: Arc<Loader>,
    listeners: Listeners,
    server: Arc<Server>,
    watch: Option<Watch>,
    requests: Option<ReloadRequests>,
    log: Option<LogControl>,
    /// Why the last attempt was rejected, where it was.
    rejected: Option<String>,
}

/// What called for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Edit,
    Signal,
}

impl Reloads {
    /// Reloads what `server` serves on `listeners`. From now on a signal to reload waits for [`run`](Self::run), where
    /// it would have ended the process; needs a runtime of tokio around it.
    pub fn new(
        loader: Loader,
        listeners: Listeners,
        server: Arc<Server>,
        watch: Option<Watch>,
    ) -> Self {
        let loader = Arc::new(loader);
        let requests = ReloadRequests::new()
            .inspect_err(|error| warn!(%error, "reloads can't be called for by signal"))
            .ok();
        Self { loader, listeners, server, watch, requests, log: None, rejected: None }
    }

    /// Has each reload change the log too.
    pub fn set_log(&mut self, control: LogControl) {
        self.log = Some(control);
    }

    /// Reloads for ever. Dropping the future between two steps leaves the generation in force whole.
    pub async fn run(mut self) -> Infallible {
        loop {
            let call = tokio::select! {
                () = next_edit(self.watch.as_mut()) => Call::Edit,
                () = next_request(self.requests.as_mut()) => Call::Signal,
            };
            self.attempt(call).await;
        }
    }

    async fn attempt(&mut self, call: Call) {
        let loader = Arc::clone(&self.loader);
        let config = match task::spawn_blocking(move || loader.load()).await {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => return self.reject(problems.to_string(), call),
            Err(panicked) => return self.reject(panicked.to_string(), call),
        };
        let current = self.server.live().current();
        let changed = current.outline.changes(&config.outline);
        if changed.is_empty() {
            if self.rejected.take().is_some() || call == Call::Signal {
                info!(generation = current.number(), "config unchanged");
            } else {
                debug!("an edit that changes no meaning");
            }
            return;
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => self.accept(config, prepared, &changed),
            Err(error) => self.reject(with_causes(&error), call),
        }
    }

    /// Everything is built; from here on nothing fails.
    fn accept(&mut self, config: Config, prepared: Prepared, changed: &[String]) {
        self.rejected = None;
        for warning in &config.warnings {
            warn!("{warning}");
        }
        let log = config.log;
        let listening = self.listeners.addresses_after(&prepared);
        let generation = self.server.live().current().number() + 1;
        let next = Generation::new(generation, config, listening);
        next.describe();
        self.server.live().replace(next);
        for begun in self.listeners.replace(prepared) {
            self.server.begin(begun);
        }
        if let Some(control) = &self.log {
            control.set(&log);
        }
        info!(generation, changed = changed.join(", "), "config reloaded");
    }

    fn reject(&mut self, why: String, call: Call) {
        // One save can be seen as several changes; the same reason is said once.
        if call == Call::Edit && self.rejected.as_ref() == Some(&why) {
            return;
        }
        error!(
            generation = self.server.live().current().number(),
            problems = why,
            "config rejected"
        );
        self.rejected = Some(why);
    }
}

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
