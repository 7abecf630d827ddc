//! Reloads the configuration: loads, builds and binds everything beside what is in force, then replaces one pointer.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use mooltiroute_hops::KeyPath;
use tokio::{sync::mpsc, task};
use tracing::{debug, error, info, warn};

use crate::{
    client::reply::with_causes,
    config::{Config, Environment, Loader, Overridden, source::KeptTexts},
    control::{
        ControlServer,
        verdict::{
            OverriddenSetting, ReloadOrder, ReloadOrders, ReloadOutcome, ReloadVerdict, ToldProblem,
        },
    },
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
        generation::{Generation, is_cut},
        shared::{Rejection, Shared},
    },
    system::{shutdown::ReloadRequests, supervisor},
};

/// Reloads the configuration after an edit, a signal, an order or a change of the network.
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
    /// The files of the configuration in force, if it depends on the network.
    written: Option<Arc<KeptTexts>>,
}

/// The event that called for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Edit,
    Signal,
    Order,
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
            orders: None,
            log: None,
            rejected: None,
            overridden: Vec::new(),
            written: None,
        }
    }

    /// Starts with `overridden`, so that a later edit of one of these settings is noticed.
    #[must_use]
    pub(crate) fn over(self, overridden: Vec<Overridden>) -> Self {
        Self { overridden, ..self }
    }

    /// Starts with `written`, from which the configuration is built again when the network changes.
    #[must_use]
    pub(crate) fn with_written(self, written: Option<Arc<KeptTexts>>) -> Self {
        Self { written, ..self }
    }

    /// Reloads on the signals of `requests` too.
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

    /// Applies the settings of the log with each reload.
    pub(crate) fn set_log(&mut self, control: LogControl) {
        self.log = Some(control);
    }

    /// Reloads until it is dropped. Dropping the future between two steps leaves the generation in force as it is.
    pub(crate) async fn run(mut self) -> Infallible {
        let network = Arc::clone(self.shared().live().current().network());
        loop {
            // The sources keep what comes while another one is handled, in a channel or a `Notify`.
            let mut order = None;
            let call = tokio::select! {
                () = network.changed() => Call::Network,
                () = next_edit(self.watch.as_mut()) => Call::Edit,
                () = next_request(self.requests.as_mut()) => Call::Signal,
                ordered = next_order(self.orders.as_mut()) => {
                    order = Some(ordered);
                    Call::Order
                }
            };
            // `changed` has waited for the writers of an edit. A signal or an order comes at any time, perhaps in
            // the middle of a save.
            let mut unfinished = None;
            match (call, &mut self.watch) {
                (Call::Signal, Some(watch)) => watch.complete().await,
                (Call::Order, Some(watch)) => unfinished = watch.complete_soon().await.err(),
                _ => {}
            }
            // This builds on texts that were read before, so it waits for no writer.
            if call == Call::Network {
                self.follow_network(&network).await;
                continue;
            }
            supervisor::reloading();
            let held = self.shared().peaks().hold();
            let verdict = match unfinished {
                None => self.attempt(call).await,
                Some(unfinished) => self.unsettled(vec![ToldProblem::line(unfinished.to_string())]),
            };
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
            if let Some(watch) = &self.watch
                && !watch.emptied().is_empty()
            {
                let source = self.loader.source();
                let files = watch.emptied().iter();
                return Some(Err(files.map(|file| emptied(&source.as_written(file))).collect()));
            }
            let loader = Arc::clone(&self.loader);
            let (loaded, files) = match task::spawn_blocking(move || loader.load_and_list()).await {
                Ok(loaded) => loaded,
                Err(panicked) => {
                    return Some(Err(vec![ToldProblem::line(panicked.to_string())]));
                }
            };
            if let Some(watch) = &mut self.watch {
                // `set_named` comes first, so that a file that is named is watched even if the files change again.
                // If it was not watched before, or anything differs from the look that was taken before the load,
                // the texts may be of different moments. Their mixture may be valid and mean the wrong thing, so
                // they are dropped.
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

    /// Puts the present outcomes of the conditions of the network in force. Builds on the texts that were read for the
    /// configuration in force, so that an edit that is invalid or still being written can't delay it.
    async fn follow_network(&mut self, network: &Network) {
        // No texts are kept if the configuration in force has no condition. Then there is nothing to switch.
        let (Some(written), causes) = (self.written.clone(), network.causes()) else { return };
        if causes.is_empty() {
            // The network went back before this began.
            return;
        }
        let held = self.shared().peaks().hold();
        let loader = Arc::clone(&self.loader);
        // Reading may block: files that settings name, such as a `password_file`, are read again.
        let loaded = task::spawn_blocking(move || loader.load_kept(written)).await;
        let problems = match loaded {
            Ok(Ok(config)) => self.follow_with(config, causes).err().unwrap_or_default(),
            Ok(Err(problems)) => ToldProblem::all(&problems),
            Err(panicked) => vec![ToldProblem::line(panicked.to_string())],
        };
        if !problems.is_empty() {
            self.reject(problems, Call::Network);
        }
        drop(held);
    }

    /// Returns the verdict on files that are not complete, with the reasons. Their next change starts another attempt.
    fn unsettled(&self, problems: Vec<ToldProblem>) -> ReloadVerdict {
        let generation = self.shared().live().current().number();
        ReloadVerdict { problems, ..ReloadVerdict::new(ReloadOutcome::Unsettled, generation) }
    }

    /// Puts `config` in force, which differs from the one in force only by outcomes.
    fn follow_with(&mut self, config: Config, causes: Vec<String>) -> Result<(), Vec<ToldProblem>> {
        let last = self.shared().live().current();
        let changed = last.outline.changes(&config.outline);
        if changed.is_empty() {
            // The network went back while the configuration was built. Putting the outcomes in force again
            // compares them with the facts once more, so a difference that has come since calls for another
            // reload.
            last.put_outcomes_in_force();
            return Ok(());
        }
        // Outcomes don't change `server.listen`, so this finds every socket open and binds none.
        let prepared = self.listeners.prepare(&config.server.listen);
        let prepared = prepared.map_err(|error| vec![ToldProblem::line(with_causes(&error))])?;
        self.accept(config, prepared, &changed, Some(causes.join("; ")));
        Ok(())
    }

    async fn attempt(&mut self, call: Call) -> ReloadVerdict {
        let config = match self.load().await {
            Some(Ok(config)) => config,
            Some(Err(problems)) => return self.reject(problems, call),
            // The generation in force stays. Files that change this fast change again, which calls for another
            // attempt.
            None => {
                debug!("the files change too fast to be read");
                return self.unsettled(Vec::new());
            }
        };
        // An operator who edits a setting that the command line has would otherwise look for a mistake in the
        // file. Only what this edit changed is said, or each reload would repeat it.
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
            // Only the meaning counts: an edit of a comment makes no generation. The log mentions it if an
            // operator asked for the reload, or if it takes back an edit that was rejected.
            self.metrics().reloads.unchanged.fetch_add(1, Relaxed);
            if self.end_rejection() || call != Call::Edit {
                info!(generation = current.number(), "config unchanged");
            } else {
                debug!("an edit that changes no meaning");
            }
            let warnings = brief_warnings(&config);
            // The operator may have changed the value of a variable, which the files don't show.
            let notes = config.has_variables.then(note_on_variables).into_iter().collect();
            return ReloadVerdict {
                warnings,
                notes,
                ..self.in_force(ReloadOutcome::Unchanged, Vec::new())
            };
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => {
                self.end_rejection();
                self.accept(config, prepared, &changed, None)
            }
            Err(error) => {
                let problem = self.not_bound(with_causes(&error)).await;
                self.reject(vec![problem], call)
            }
        }
    }

    /// Describes an address that can't be listened on, with the place of the setting.
    async fn not_bound(&self, why: String) -> ToldProblem {
        let loader = Arc::clone(&self.loader);
        let path = KeyPath::of(["server", "listen"]);
        let line = ToldProblem::line(format!("{path}: {why}"));
        // The files are read again only to find the line.
        let problem = task::spawn_blocking(move || loader.problem_at(&path, "listen", why)).await;
        problem.map_or(line, |problem| ToldProblem::from(&problem))
    }

    /// Puts `config` in force. Its listeners are bound, so nothing fails from here on. `cause` is the change of the
    /// network that called for it.
    fn accept(
        &mut self,
        config: Config,
        prepared: Prepared,
        changed: &[String],
        cause: Option<String>,
    ) -> ReloadVerdict {
        let changed: Vec<_> = changed.iter().map(|path| with_new_value(path, &config)).collect();
        announce(&config);
        self.written.clone_from(&config.written);
        let (log, workers) = (config.log, config.server.workers.get().get());
        let mut warnings = brief_warnings(&config);
        // The threads and their heaps were set up at the start, so a reload can only say that the number differs.
        if workers != self.server.worker_count() {
            let running = self.server.worker_count();
            warn!(running, configured = workers, "`server.workers` takes effect at the next start");
            warnings.push(format!(
                "`server.workers` takes effect at the next start; until then, {running} run"
            ));
        }
        // The new generation refuses to dial the addresses of this proxy itself, which would be a loop.
        let listening = self.listeners.addresses_after(&prepared);
        let last = self.shared().live().current();
        let next = last.next(config, listening);
        // A route or a hop that is missing by mistake takes targets off their hops, so the log names them.
        let direct = targets_that_go_direct(&last, &next);
        if !direct.is_empty() {
            let targets = direct.join(", ");
            warn!(targets, "targets that went through hops go direct now");
            warnings.push(format!("targets that went through hops go direct now: {targets}"));
        }
        let generation = next.number();
        // From here on requests take the new generation. The outcomes are in force only after that, because a
        // request that waits for them takes the generation that is current then.
        self.shared().live().replace(next);
        let next = self.shared().live().current();
        next.put_outcomes_in_force();
        // Each chain with `warm` gets a keeper, also one that has a keeper already: the older of two ends by
        // itself.
        self.server.keep_warm();
        // After the swap, so that a client that connects again at once takes the new way.
        let cut = self.cut_tunnels_of_hops_that_left(&last, &next);
        self.metrics().reloads.applied.fetch_add(1, Relaxed);
        // After the swap too: a client of a new address must not meet a configuration that does not have it.
        for begun in self.listeners.replace(prepared) {
            self.server.begin(begun);
        }
        if let Some(control) = &self.log {
            // So the line below is written with the new level and format.
            control.set(&log);
        }
        let shown = changed.join(", ");
        info!(generation, changed = shown, cause, "config reloaded");
        if cut > 0 {
            info!(generation, tunnels = cut, "cut the tunnels of hops that were switched off");
        }
        ReloadVerdict { warnings, ..self.in_force(ReloadOutcome::Applied, changed) }
    }

    /// Cuts the tunnels through hops that were on in `last`, are off in `next`, and have `on_leave: cut`. Returns their
    /// number.
    fn cut_tunnels_of_hops_that_left(&self, last: &Generation, next: &Generation) -> usize {
        let left = last.hops_that_leave(next);
        // Most reloads switch no such hop, and need no copy of the table of connections.
        if left.is_empty() {
            return 0;
        }
        let cut = self.shared().connections().kill(|row| is_cut(row, &left));
        cut.len()
    }

    /// Returns the verdict on a configuration that is in force now.
    fn in_force(&self, outcome: ReloadOutcome, changed: Vec<String>) -> ReloadVerdict {
        let overridden = self.overridden.iter().map(|Overridden { path, option, .. }| {
            OverriddenSetting { path: path.clone(), option: (*option).to_owned() }
        });
        let overridden = overridden.collect();
        let generation = self.shared().live().current().number();
        ReloadVerdict { changed, overridden, ..ReloadVerdict::new(outcome, generation) }
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

    fn reject(&mut self, told: Vec<ToldProblem>, call: Call) -> ReloadVerdict {
        let generation = self.shared().live().current().number();
        // The caller gets each problem with its excerpt of the file; the log and the status have one line for
        // each.
        let problems: Vec<_> = told.iter().map(|problem| problem.brief.clone()).collect();
        let is_unset = told.iter().any(|problem| problem.code == "variable");
        let verdict = ReloadVerdict {
            notes: is_unset.then(note_on_variables).into_iter().collect(),
            problems: told,
            ..ReloadVerdict::new(ReloadOutcome::Rejected, generation)
        };
        // One save can be seen as several changes. The same problems are logged and counted once, unless an
        // operator asked for the reload.
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

/// Logs the warnings about a configuration that comes in force, and how its chains travel: those that go direct at
/// `info`, all others at `debug`.
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
            // If hops are switched off, a warning has said so.
            info!(chain = %chain.name, "goes direct: it has no hop");
        }
    }
}

/// Describes a file that has lost its content. Without its settings, targets might go direct.
fn emptied(file: &Path) -> ToldProblem {
    ToldProblem::line(format!(
        "{}: this file was emptied; write it again or remove it. To keep a file without settings, put a comment in it. \
         To send everything direct, write `chains: {{ default: [] }}`",
        file.display()
    ))
}

fn note_on_variables() -> String {
    format!(
        "variables have the values that they had when the proxy was started (process {}): restart it for new ones, or \
         keep a password in a file and name that with `password_file`",
        std::process::id()
    )
}

/// Returns the warnings about `config`, one line each.
fn brief_warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(|warning| warning.brief().to_string()).collect()
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
    if let Some(orders) = orders
        && let Some(order) = orders.recv().await
    {
        return order;
    }
    std::future::pending().await
}
