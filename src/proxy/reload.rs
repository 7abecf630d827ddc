//! Reloads the configuration: loads, builds and binds everything beside what is in force, then replaces one pointer.

mod apply;
mod attempt;
mod hold;
mod load;
mod messages;
mod rebind;
mod rejection;
mod triggers;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use mooltiroute_hops::thread_pool;
use tokio::sync::{Notify, mpsc};

pub(crate) use self::{
    hold::HOLD,
    messages::{Announced, announce},
};
use self::{
    rebind::{Rebind, next_rebind},
    rejection::{LastRejected, next_due},
    triggers::{AskedMeanwhile, next_edit, next_order, next_request},
};
use crate::{
    config::{Environment, Loader, Overridden, Shadowed, source::KeptTexts},
    control::{
        ControlServer,
        api::{Api, FilesOnDisk},
        verdict::{ReloadOrder, ReloadOrders, ReloadOutcome, ToldProblem},
    },
    log::LogControl,
    metrics::Metrics,
    network::Network,
    proxy::{listeners::Listeners, server::Server, watch::Watch},
    state::shared::Shared,
    system::{shutdown::ReloadRequests, supervisor},
};

/// Reloads the configuration after an edit, a signal, an order or a change of the network or of the free addresses.
#[derive(Debug)]
pub(crate) struct Reloads {
    loader: Arc<Loader>,
    listeners: Listeners,
    server: Server,
    watch: Option<Watch>,
    requests: Option<ReloadRequests>,
    orders: Option<mpsc::Receiver<ReloadOrder>>,
    asked: AskedMeanwhile,
    log: Option<LogControl>,
    /// Notified with each reload, so that a control socket whose file is gone is made again.
    socket_renewal: Arc<Notify>,
    /// The last attempt, if it was rejected.
    rejected: Option<LastRejected>,
    /// The listeners of the last attempt, if they can't be bound yet.
    rebind: Option<Rebind>,
    /// The values in the files that options of the command line override.
    overridden: Vec<Overridden>,
    /// The values in the files that later files override.
    shadowed: Vec<Shadowed>,
    /// The files of the configuration in force, if it depends on the network.
    written: Option<Arc<KeptTexts>>,
    /// The lines that the log has about the configuration in force.
    announced: Announced,
}

/// The event that called for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Edit,
    Signal,
    Order,
    /// A condition of the network has another outcome.
    Network,
    /// The addresses of a rejected configuration may be free now.
    Rebind,
}

impl Call {
    /// Returns whether an operator has asked for the reload.
    fn is_of_operator(self) -> bool {
        matches!(self, Self::Signal | Self::Order)
    }
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
            asked: AskedMeanwhile::default(),
            log: None,
            socket_renewal: Arc::default(),
            rejected: None,
            rebind: None,
            overridden: Vec::new(),
            shadowed: Vec::new(),
            written: None,
            announced: Announced::default(),
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

    /// Starts with `announced`, the lines that the log has about the first configuration.
    #[must_use]
    pub(crate) fn with_announced(self, announced: Announced) -> Self {
        Self { announced, ..self }
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
    ) -> ControlServer {
        let (orders, received) = ReloadOrders::channel();
        self.orders = Some(received);
        let (loader, shared) = (Arc::clone(&self.loader), Arc::clone(self.shared()));
        let api = Api::new(loader, shared, orders, self.listeners.sockets());
        let files = self.watch.as_ref().map(Watch::files_taken);
        let api = api.with_files(files.map(|files| Arc::new(files) as Arc<dyn FilesOnDisk>));
        let server = ControlServer::bind(addresses, api, environment);
        self.socket_renewal = server.renewal();
        server
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
                () = next_request(self.requests.as_mut(), &mut self.asked.is_signalled) => Call::Signal,
                ordered = next_order(self.orders.as_mut(), &mut self.asked.order) => {
                    order = Some(ordered);
                    Call::Order
                }
                () = next_rebind(self.rebind.as_ref()) => {
                    if !self.rebind.as_mut().is_some_and(|rebind| rebind.is_worthwhile(&self.listeners)) {
                        continue;
                    }
                    Call::Rebind
                }
                () = next_due(self.rejected.as_ref()) => {
                    self.tell_still_rejected();
                    continue;
                }
            };
            self.socket_renewal.notify_one();
            // `changed` has waited for the writers of an edit. Anything else comes at any time, perhaps in the middle of a
            // save.
            let mut unfinished = None;
            match (call, &mut self.watch) {
                (Call::Signal | Call::Rebind, Some(watch)) => watch.complete().await,
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
            // Again, since this reload may have taken an edit that came after the look at its beginning.
            self.socket_renewal.notify_one();
            if let Some(ReloadOrder(asked)) = order {
                // The client may not have waited.
                let _ = asked.send(verdict);
            }
        }
    }

    /// Puts the present outcomes of the conditions of the network in force. Builds on the texts that were read for the
    /// configuration in force, and on the files that they name, so that an edit that is invalid or still being written can
    /// neither delay it nor be served.
    async fn follow_network(&mut self, network: &Network) {
        // No texts are kept if the configuration in force has no condition. Then there is nothing to switch.
        let (Some(written), causes) = (self.written.clone(), network.causes()) else { return };
        if causes.is_empty() {
            // The network went back before this began.
            return;
        }
        let held = self.shared().peaks().hold();
        let loader = Arc::clone(&self.loader);
        // Reading may block: a file that only an outcome of before left out is not kept.
        let loaded = thread_pool::run(move || loader.load_kept(written)).await;
        let problems = match loaded {
            Ok(Ok(config)) => self.follow_with(config, causes).err().unwrap_or_default(),
            Ok(Err(problems)) => ToldProblem::all(&problems),
            Err(panicked) => vec![ToldProblem::line(panicked.to_string())],
        };
        if !problems.is_empty() {
            self.reject(problems, Call::Network).await;
        }
        drop(held);
    }

    fn shared(&self) -> &Arc<Shared> {
        self.server.shared()
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(self.shared().live().current().metrics())
    }
}
