//! Reloads the configuration: loads, builds and binds everything beside what is in force, then replaces one pointer.

mod apply;
mod hold;
mod rejection;
mod triggers;
mod words;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use mooltiroute_hops::SourceKind;
use tokio::{sync::mpsc, task};
use tracing::{debug, info};

pub(crate) use self::words::announce;
use self::{
    triggers::{next_edit, next_order, next_request},
    words::{brief_warnings, emptied, note_on_variables, notes_on_replaced},
};
use crate::{
    client::reply::with_causes,
    config::{Config, Environment, Loader, Overridden, Shadowed, source::KeptTexts},
    control::{
        ControlServer,
        api::Api,
        verdict::{ReloadOrder, ReloadOrders, ReloadOutcome, ReloadVerdict, ToldProblem},
    },
    log::LogControl,
    metrics::Metrics,
    network::Network,
    proxy::{
        changes::{edited_beneath, edited_in_vain},
        direct::direct_now,
        listeners::Listeners,
        server::Server,
        watch::Watch,
    },
    state::{generation::Generation, shared::Shared},
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
    /// The values in the files that later files override.
    shadowed: Vec<Shadowed>,
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
            shadowed: Vec::new(),
            written: None,
        }
    }

    /// Starts with what options and later files override, so that a later edit of one of these settings is noticed.
    #[must_use]
    pub(crate) fn over(self, overridden: Vec<Overridden>, shadowed: Vec<Shadowed>) -> Self {
        Self { overridden, shadowed, ..self }
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
        let api = Api::new(loader, shared, orders, self.listeners.sockets());
        ControlServer::bind(addresses, api, environment)
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
            if let (ReloadOutcome::Applied | ReloadOutcome::Unchanged, Some(watch)) =
                (verdict.verdict, &mut self.watch)
            {
                watch.remember().await;
            }
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
                    watch.complete_again().await;
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

    async fn attempt(&mut self, call: Call) -> ReloadVerdict {
        let mut hold = None;
        let config = loop {
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
            if !self.is_completed_later(&config, call, &mut hold).await {
                break config;
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
        // An operator who has had an account unlocked has nothing to edit.
        let is_by_operator = matches!(call, Call::Signal | Call::Order);
        if is_by_operator {
            self.shared().live().current().built_hops().for_each(|(_, hop)| hop.release());
        }
        let current = self.shared().live().current();
        self.tell_edits_beneath(&config, &current);
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
            let mut warnings = brief_warnings(&config);
            // The watch may have taken the edit before the order for it came, and only the log has this warning then.
            if let Some(direct) = self.shared().went_direct() {
                warnings.push(direct_now(&direct.targets));
            }
            // The operator may have changed the value of a variable, which the files don't show.
            let mut notes = notes_on_replaced(&config);
            notes.extend(config.has_variables.then(note_on_variables));
            // The operator may have changed a list or a PAC file, and not the files here.
            if is_by_operator {
                notes.extend(fetch_documents(&current));
            }
            return ReloadVerdict {
                warnings,
                notes,
                ..self.in_force(ReloadOutcome::Unchanged, Vec::new())
            };
        }
        if let Some((address, why)) = self.listeners.newly_out_of_date(&config.server.listen) {
            let why = format!(
                "`{address}`: {why}, so it does not replace what is in force; {}",
                why.help()
            );
            let problem = self.about_listeners(why).await;
            return self.reject(vec![problem], call);
        }
        match self.listeners.prepare(&config.server.listen) {
            Ok(prepared) => {
                self.end_rejection();
                let mut verdict = self.accept(config, prepared, &changed, None);
                if is_by_operator {
                    verdict.notes.extend(fetch_documents(&self.shared().live().current()));
                }
                verdict
            }
            Err(error) => {
                let problem = self.about_listeners(with_causes(&error)).await;
                self.reject(vec![problem], call)
            }
        }
    }

    /// Logs the settings that were edited in one file while a later file has them.
    fn tell_edits_beneath(&mut self, config: &Config, current: &Generation) {
        let (old, new) = (&self.shadowed, &config.shadowed);
        for edit in edited_beneath(old, new, &current.outline, &config.outline) {
            info!(
                setting = %edit.path,
                file = &*edit.file,
                overridden_by = %edit.by,
                "an edit has no effect: a later file has this setting"
            );
        }
        self.shadowed.clone_from(&config.shadowed);
    }

    fn shared(&self) -> &Arc<Shared> {
        self.server.shared()
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(self.shared().live().current().metrics())
    }
}

/// How often files that change while they are read are read again.
const LOADS_MAX: usize = 20;

/// Fetches the lists and the PAC files at URLs again. Returns a note on each sort of them that there is.
fn fetch_documents(generation: &Generation) -> Vec<String> {
    let askers = generation.hops().iter().filter_map(|hop| Some((hop, hop.asker()?)));
    let fetched = askers.filter(|(_, asker)| asker.fetch_now());
    let (mut lists, mut pac_files) = (Vec::new(), Vec::new());
    for (hop, asker) in fetched {
        let names = match asker.state().kind {
            SourceKind::PacFile => &mut pac_files,
            _ => &mut lists,
        };
        names.push(format!("`{}`", hop.name));
    }
    let note = |(document, names): (&str, Vec<String>)| {
        (!names.is_empty()).then(|| {
            format!(
                "the {document} of {} is fetched now; `mooltiroute status` shows the outcome",
                names.join(", ")
            )
        })
    };
    [("list", lists), ("PAC file", pac_files)].into_iter().filter_map(note).collect()
}
