//! Accepts clients and begins a session for each.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    time,
};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    client::{accepted::Accepted, session},
    io::keepalive,
    network::NetworkKeeper,
    proxy::listeners::Begun,
    state::{
        entrance::{Entrance, ListenerTerms},
        shared::{Admission, Shared},
    },
    system::{
        early_timer::EarlyTimer,
        workers::{WorkerSet, Workers},
    },
    upstream::chain::ChainSpares,
};

/// Accepts on listeners and keeps track of the sessions.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    sessions: TaskTracker,
    workers: Arc<WorkerSet>,
}

impl Server {
    /// Returns a server that has no listener yet. It accepts on the runtime of its caller and on those of `workers`.
    pub(crate) fn new(shared: Arc<Shared>, workers: &Workers) -> Self {
        Self { shared, sessions: TaskTracker::new(), workers: workers.set() }
    }

    /// Returns the state that all sessions share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Starts to accept on a listener, until it is closed or the proxy drains.
    pub(crate) fn begin(&self, begun: Begun) {
        let tls = begun.terms.tls().is_some().then_some(true);
        info!(address = %begun.address, tls, "listening");
        // All workers accept from one queue, so the clients of a worker that can't take part go to the others.
        let pause = Arc::<AtomicBool>::default();
        for (worker, runtime) in self.workers.others() {
            // Counted before it is open, so that no client takes its descriptor.
            let counted = CountedAcceptor::new(&self.shared);
            match begun.share(runtime) {
                Ok(shared) => {
                    let pause = Pause::new(Arc::clone(&pause));
                    let worker = (worker, EndMessage::Silent);
                    let accept = accept(self.clone(), (shared, counted), worker, pause);
                    drop(self.sessions.spawn_on(accept, runtime));
                }
                Err(error) => {
                    warn!(address = %begun.address, %error, "a worker can't accept clients of this listener");
                }
            }
        }
        let begun = (begun, CountedAcceptor::new(&self.shared));
        let worker = (0, EndMessage::Logged);
        self.sessions.spawn(accept(self.clone(), begun, worker, Pause::new(pause)));
    }

    /// Returns the number of threads that serve connections.
    pub(crate) fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Starts to keep spare tunnels for the chains of the generation in force that have `warm`.
    pub(crate) fn keep_warm(&self) {
        for (chain, warm) in self.shared.live().current().warm_chains() {
            // The chain is held weakly: a keeper ends with it, and keeps no chain alive that no generation has any
            // more.
            let shared = Arc::clone(&self.shared);
            let fit = move |most| shared.spares_that_fit(most);
            let (keeper, shutdown) = (
                Arc::clone(warm).keep(ChainSpares(Arc::downgrade(chain)), fit),
                self.shared.shutdown().clone(),
            );
            self.sessions.spawn(async move { shutdown.until_draining(keeper).await });
        }
    }

    /// Keeps the facts about the network up to date, until the proxy drains.
    pub(crate) fn keep_facts(&self, keeper: NetworkKeeper) {
        let shutdown = self.shared.shutdown().clone();
        self.sessions.spawn(async move { shutdown.until_draining(keeper.run()).await });
    }

    /// Waits until every session has ended. Sessions that last longer than `deadline`, or until the cut, are cut.
    pub(crate) async fn drain(&self, deadline: Duration) {
        // `wait` ends only for a tracker that is closed.
        self.sessions.close();
        let shutdown = self.shared.shutdown();
        tokio::select! {
            // Sessions that have all ended win over a cut that comes at the same time, so that nothing is reported
            // as cut.
            biased;
            () = self.sessions.wait() => return,
            () = shutdown.cutting() => {}
            () = time::sleep(deadline) => {}
            never = self.log_progress() => match never {},
        }
        warn!(open = self.shared.open(), "cutting what is still open");
        shutdown.cut();
        // A session that is cut ends when it is polled next, which is at once unless the process is starved.
        let _ = time::timeout(CUT_MAX, self.sessions.wait()).await;
    }

    /// Logs the number of connections that are left, every few seconds if it has changed.
    async fn log_progress(&self) -> Infallible {
        let mut told = self.shared.open();
        loop {
            time::sleep(PROGRESS).await;
            let open = self.shared.open();
            if open != told {
                info!(open, "draining");
                told = open;
            }
        }
    }

    /// Begins the session of a client that `worker` has accepted.
    fn welcome(&self, accepted: Accepted, worker: usize) {
        // On Linux sockets inherit these from the listener. A socket that is already broken fails at its first use.
        if cfg!(not(target_os = "linux")) {
            let _ = accepted.socket.set_nodelay(true);
            let _ = keepalive::probe(&accepted.socket, accepted.peer.ip());
        }
        let admission = Admission::new(Arc::clone(&self.shared));
        // A client over the limit is told so, unless there are too many of them. It counts as open until then.
        if admission.is_over_limit() {
            self.sessions.spawn(session::turn_away(accepted, admission));
            return;
        }
        let (assigned, elsewhere) = self.workers.assign(worker);
        let admission = admission.served_by(assigned);
        let Some(runtime) = elsewhere else {
            self.sessions.spawn(session::run(accepted, admission));
            return;
        };
        match accepted.on_runtime(runtime) {
            Ok(accepted) => {
                self.sessions.spawn_on(session::run(accepted, admission), runtime);
            }
            Err((accepted, error)) => {
                warn!(%error, "can't hand a client over to another worker");
                let admission = admission.served_by(self.workers.assign_to(worker));
                self.sessions.spawn(session::run(accepted, admission));
            }
        }
    }
}

/// Whether a listener logs its end. Of the listeners that share a socket, one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndMessage {
    Logged,
    Silent,
}

/// Accepts on one listener until it is closed or the proxy drains.
async fn accept(
    server: Server,
    (begun, _counted): (Begun, CountedAcceptor),
    (worker, end_message): (usize, EndMessage),
    pause: Pause,
) {
    let Begun { listener, address, terms, closed, is_shared } = begun;
    let timer = EarlyTimer::default();
    let mut acceptor =
        Acceptor { server, worker, listener, is_shared, address, terms, pause, timer, fit: None };
    let shutdown = acceptor.server.shared.shutdown().clone();
    {
        // Made once, since each of these takes a lock when it is made and when it is dropped.
        let (mut closed, mut draining) = (pin!(closed.cancelled()), pin!(shutdown.draining()));
        loop {
            tokio::select! {
                // In this order, so that an end is seen before the next client.
                biased;
                () = &mut closed => break,
                () = &mut draining => return,
                () = acceptor.next() => {}
            }
        }
    }
    // Clients that the system has accepted for a listener that closes are served too, when there is room for them.
    let rest = async { while acceptor.next_waiting().await {} };
    shutdown.until_draining(rest).await;
    if end_message == EndMessage::Logged {
        info!(%address, "not listening any more");
    }
}

/// A socket to accept on. Counts its descriptor until it is dropped.
#[derive(Debug)]
struct CountedAcceptor(Arc<Shared>);

impl CountedAcceptor {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.reserved().add_acceptor();
        Self(Arc::clone(shared))
    }
}

impl Drop for CountedAcceptor {
    fn drop(&mut self) {
        self.0.reserved().remove_acceptor();
    }
}

/// One listener, and how it copes with a lack of descriptors.
#[derive(Debug)]
struct Acceptor {
    server: Server,
    /// The number of the worker that accepts.
    worker: usize,
    listener: Arc<TcpListener>,
    /// Whether another process has this socket too.
    is_shared: bool,
    address: SocketAddr,
    terms: Arc<ListenerTerms>,
    pause: Pause,
    /// Set while clients come.
    timer: EarlyTimer,
    /// How many clients the descriptors allow, as it was when the timer was set.
    fit: Option<usize>,
}

impl Acceptor {
    /// Accepts the next client and begins its session. Dropping the future loses no client.
    async fn next(&mut self) {
        let accepted = loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Some(accepted) => break accepted,
                None => self.room().await,
            }
        };
        // For a client that was accepted, no `await` lies between here and the start of its session.
        self.welcome(accepted).await;
    }

    /// Accepts a client, or returns `None` if there is no room for one.
    ///
    /// It looks for room each time it is woken, since other listeners and workers may have taken it during the wait.
    ///
    /// Processes that share a socket also share the flag by which `accept` does not block. systemd clears it each time it
    /// starts one of them, unless the unit has `NonBlocking=yes`, so it is set each time. Otherwise one `accept`
    /// without a client would stop all of the worker's tunnels.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        if !self.has_room() {
            return Poll::Ready(None);
        }
        if self.is_shared
            && let Err(error) = SockRef::from(&*self.listener).set_nonblocking(true)
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(Some(ready!(self.listener.poll_accept(cx))))
    }

    /// Accepts a client if one waits. Returns whether one did, or may.
    async fn next_waiting(&mut self) -> bool {
        // The timeout polls once before it expires, so it accepts a client only if one waits already.
        let accept = poll_fn(|cx| self.poll_accept(cx));
        match time::timeout(Duration::ZERO, accept).await {
            Ok(Some(accepted)) => {
                let is_client = accepted.is_ok();
                self.welcome(accepted).await;
                is_client
            }
            Ok(None) => {
                self.room().await;
                true
            }
            Err(_) => false,
        }
    }

    /// Waits until the descriptors for one more client and its upstream connection are free.
    async fn room(&mut self) {
        while !self.has_room() {
            let shared = &self.server.shared;
            let open = shared.open();
            self.pause.begin(self.address, &format_args!("{open} clients leave no open files"));
            // The limit may be raised from outside, and no event tells of that.
            let _ = time::timeout(PAUSE_MAX, shared.one_ended()).await;
        }
    }

    fn has_room(&mut self) -> bool {
        let shared = &self.server.shared;
        let open = shared.open();
        // Another process may change the limit, and to read it is a system call. Well below it, a number that is a
        // second old will do.
        let fit = match self.fit {
            Some(fit) if open < fit / 2 => fit,
            _ => *self.fit.insert(shared.clients_that_fit()),
        };
        open < fit
    }

    async fn welcome(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((socket, peer)) => {
                let shared = &self.server.shared;
                // Only well below the limit, or each client that ends would bring a line.
                if self.pause.is_announced() && shared.open() < shared.clients_that_fit() / 4 * 3 {
                    self.pause.end(self.address);
                }
                self.pause.failures = 0;
                if self.timer.set() {
                    self.fit = None;
                }
                let accepted = Accepted { socket, peer, entrance: Entrance::by(&self.terms) };
                self.server.welcome(accepted, self.worker);
            }
            Err(error) => self.pause.after(&error, self.address).await,
        }
    }
}

/// A time in which there are no descriptors for more clients. The log says once that it begins, and once that it ends.
#[derive(Debug)]
struct Pause {
    /// Whether the log has said that it began. All workers that share a listener share this.
    announced: Arc<AtomicBool>,
    /// How often accepting has failed in a row.
    failures: u32,
}

impl Pause {
    fn new(announced: Arc<AtomicBool>) -> Self {
        Self { announced, failures: 0 }
    }

    fn is_announced(&self) -> bool {
        self.announced.load(Relaxed)
    }

    fn begin(&self, address: SocketAddr, error: &dyn fmt::Display) {
        if !self.announced.swap(true, Relaxed) {
            warn!(%address, %error, "can't accept connections now; trying again until it works");
        }
    }

    /// Waits before the next attempt, longer each time.
    async fn after(&mut self, error: &io::Error, address: SocketAddr) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        // These are about one client that has gone, not about a lack, so the next one is accepted at once.
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        self.begin(address, error);
        self.failures = self.failures.saturating_add(1);
        time::sleep(PAUSE_FIRST.saturating_mul(1 << self.failures.min(5)).min(PAUSE_MAX)).await;
    }

    fn end(&self, address: SocketAddr) {
        if self.announced.swap(false, Relaxed) {
            info!(%address, "accepting connections again");
        }
    }
}

/// How often the progress of the shutdown is logged.
const PROGRESS: Duration = Duration::from_secs(2);
const CUT_MAX: Duration = Duration::from_secs(1);
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);
