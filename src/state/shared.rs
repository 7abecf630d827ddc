//! The state that all sessions share: the generation in force, the count of connections, the steps of the shutdown.

mod admission;
mod went_direct;

use std::{
    hash::Hash,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use mooltiroute_hops::Eventual;
use tokio::{sync::Notify, time::Instant};

pub(crate) use self::{
    admission::Admission,
    went_direct::{DirectTarget, WentDirect},
};
use crate::{
    config::{ProxyAddress, Source, reachable},
    network::Unsettled,
    router::Query,
    state::{
        connections::Connections,
        denials::Denials,
        generation::{Generation, Live, Way},
    },
    system::{memory::Peaks, open_files, shutdown::Shutdown},
    upstream::{
        chain::Chain,
        rounds::{NotAdmitted, Round, RoundLimits, Rounds},
    },
};

/// The state that all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    live: Live,
    connections: Arc<Connections>,
    /// Client connections that are served. There are never more than `limits.connections`.
    served: AtomicUsize,
    /// Client connections over the limit, which are open until they are answered.
    turned_away: AtomicUsize,
    /// How many connections there were.
    admitted: AtomicU64,
    /// Notified when a connection has ended.
    ended: Notify,
    reserved: open_files::Reserved,
    rounds: Arc<Rounds>,
    peaks: Arc<Peaks>,
    shutdown: Shutdown,
    origin: Start,
    rejection: ArcSwapOption<Rejection>,
    went_direct: ArcSwapOption<WentDirect>,
    /// The files that a reload waits for, with the reasons.
    held: ArcSwapOption<Vec<String>>,
    denials: Denials,
    control_socket_error: ArcSwapOption<String>,
    /// The addresses at which clients have to speak TLS.
    tls_listeners: ArcSwap<Vec<SocketAddr>>,
}

/// The start of this proxy: its time, and the source of its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The source of its configuration.
    pub source: Source,
    /// The time of day.
    pub at: SystemTime,
    /// The start by a monotonic clock, for the uptime.
    pub instant: Instant,
}

/// A configuration that was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    /// The time of the rejection.
    pub at: SystemTime,
    /// Everything that is wrong with it, a line each.
    pub problems: Vec<String>,
    /// Explanations of what the proxy can't see, such as a new value of a variable.
    pub notes: Vec<String>,
}

impl Shared {
    /// Begins with `first`, which comes from `source`.
    pub(crate) fn new(first: Generation, source: Source, shutdown: Shutdown) -> Arc<Self> {
        let origin = Start { source, at: SystemTime::now(), instant: Instant::now() };
        let peaks = Arc::clone(first.peaks());
        Arc::new(Self {
            live: Live::new(first),
            connections: Arc::default(),
            served: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
            admitted: AtomicU64::new(0),
            ended: Notify::new(),
            // Before there are clients: listeners, log and watcher have their descriptors by now.
            reserved: open_files::Reserved::measure(),
            rounds: Arc::default(),
            peaks,
            shutdown,
            origin,
            rejection: ArcSwapOption::empty(),
            went_direct: ArcSwapOption::empty(),
            held: ArcSwapOption::empty(),
            denials: Denials::default(),
            control_socket_error: ArcSwapOption::empty(),
            tls_listeners: ArcSwap::default(),
        })
    }

    /// Returns the generation in force.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Returns the generation that serves the request of `query`: `generation`, which was in force, or one that has
    /// followed it.
    ///
    /// If a hop on the way depends on the network and its condition is undecided, this waits until it is decided, for
    /// `timeouts.connect` at most. If a hop chooses by a PAC file that has to be fetched first, this waits for it.
    ///
    /// # Errors
    /// The outcome of a condition could not take effect. A request that went on would perhaps go round a hop.
    pub(crate) async fn generation_for(
        &self,
        query: &Query<'_>,
        generation: Arc<Generation>,
    ) -> Result<Arc<Generation>, Unsettled> {
        if !generation.has_to_be_prepared() {
            return Ok(generation);
        }
        // One look-up, and no wait for a target whose hops depend on nothing.
        let is_prepared = |way: Way<'_>| {
            way.dependence.is_none() && matches!(way.chain.prepare(), Eventual::Ready(()))
        };
        if generation.present_way(query).is_none_or(is_prepared) {
            return Ok(generation);
        }
        // Boxed, so that requests that depend on nothing don't keep room for it.
        Box::pin(self.live.prepared(query, generation)).await
    }

    /// Notes at which addresses clients have to speak TLS.
    pub(crate) fn set_tls_listeners(&self, addresses: Vec<SocketAddr>) {
        self.tls_listeners.store(Arc::new(addresses));
    }

    /// Returns an address at which clients of this machine reach the proxy, for examples in the log.
    pub(crate) fn proxy_address(&self) -> Option<ProxyAddress> {
        let address = *self.live.current().listening.first()?;
        let is_tls = self.tls_listeners.load().contains(&address);
        Some(ProxyAddress { socket: reachable(address), is_tls })
    }

    /// Returns the addresses at which clients have to speak TLS.
    pub(crate) fn tls_listeners(&self) -> Arc<Vec<SocketAddr>> {
        self.tls_listeners.load_full()
    }

    /// Notes that there is no control socket, for the reason `error`, or that there is one again. Returns whether that is
    /// news.
    pub(crate) fn note_control_socket_error(&self, error: Option<String>) -> bool {
        let before = self.control_socket_error.swap(error.clone().map(Arc::new));
        before.as_deref() != error.as_ref()
    }

    /// Returns the reason why there is no control socket, if there is none.
    pub(crate) fn control_socket_error(&self) -> Option<Arc<String>> {
        self.control_socket_error.load_full()
    }

    /// Returns the lines that clients caused. Only some of them are logged.
    pub(crate) fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Returns the requests and tunnels that are under way.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Counts an unanswered request for `asked` through `chain`, or waits until there is room for it. Returns `None`
    /// for a chain without hops, which can't lead back here.
    ///
    /// # Errors
    /// No room came in time.
    pub(crate) async fn begin_round(
        &self,
        asked: impl Hash,
        chain: &Chain,
        generation: &Generation,
    ) -> Result<Option<Round>, NotAdmitted> {
        if chain.hops().is_empty() {
            return Ok(None);
        }
        // A request waits for its turn no longer than a hop may take to answer.
        let (connections, patience) =
            (generation.limits.connections, generation.timeouts.handshake);
        let limits = RoundLimits::new(connections, patience);
        self.rounds.begin(asked, limits).await.map(Some)
    }

    /// Returns the steps of the proxy's end.
    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Returns how many client connections are open, with those over the limit that are being turned away.
    pub(crate) fn open(&self) -> usize {
        self.served.load(Ordering::Relaxed) + self.turned_away()
    }

    /// Returns how many client connections over the limit are still open.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Returns how many clients the descriptors of this process allow now.
    pub(crate) fn clients_that_fit(&self) -> usize {
        // Spares need descriptors too, and all that are allowed may be made at any time.
        self.reserved.clients_that_fit(self.spares_wanted())
    }

    /// Returns how many spares a chain that wants `most` may keep now.
    pub(crate) fn spares_that_fit(&self, most: usize) -> usize {
        let wanted = self.spares_wanted().max(most);
        // Each chain gets the same share of its wish.
        let fit = self.reserved.spares_that_fit(wanted);
        if fit == wanted { most } else { most * fit / wanted }
    }

    /// Returns how many spares all chains together want to keep.
    fn spares_wanted(&self) -> usize {
        self.live.current().warm_chains().map(|(_, warm)| warm.limit()).sum()
    }

    /// Returns the descriptors that are not for clients.
    pub(crate) fn reserved(&self) -> &open_files::Reserved {
        &self.reserved
    }

    /// Waits until a client connection has ended, perhaps one that ended before the call.
    pub(crate) async fn one_ended(&self) {
        self.ended.notified().await;
    }

    /// Returns the record of memory peaks.
    pub(crate) fn peaks(&self) -> &Arc<Peaks> {
        &self.peaks
    }

    /// Returns the start of this proxy.
    pub(crate) fn origin(&self) -> &Start {
        &self.origin
    }

    /// Returns the configuration that was rejected since the last valid one.
    pub(crate) fn rejection(&self) -> Option<Arc<Rejection>> {
        self.rejection.load_full()
    }

    /// Records the last rejected configuration; `None` clears it.
    pub(crate) fn set_rejection(&self, rejection: Option<Rejection>) {
        self.rejection.store(rejection.map(Arc::new));
    }

    /// Returns the reasons why a reload waits at the moment, one line each.
    pub(crate) fn held(&self) -> Option<Arc<Vec<String>>> {
        self.held.load_full()
    }

    /// Records what a reload waits for; `None` when it goes on.
    pub(crate) fn set_held(&self, lines: Option<Vec<String>>) {
        self.held.store(lines.map(Arc::new));
    }

    /// Returns the targets that reloads have taken from their hops, if they still go direct.
    pub(crate) fn went_direct(&self) -> Option<Arc<WentDirect>> {
        self.went_direct.load_full()
    }

    /// Records the targets that reloads have taken from their hops.
    pub(crate) fn set_went_direct(&self, targets: Option<WentDirect>) {
        self.went_direct.store(targets.map(Arc::new));
    }
}
