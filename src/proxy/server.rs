//! Accepts clients and begins a session for each.

mod accept;
mod pause;

use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::time;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::{
    accept::{CountedAcceptor, accept},
    pause::Pause,
};
use crate::{
    client::{accepted::Accepted, session},
    io::keepalive,
    network::NetworkKeeper,
    proxy::listeners::BoundListener,
    state::shared::{Admission, Shared},
    system::workers::{WorkerSet, Workers},
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
    pub(crate) fn begin(&self, begun: BoundListener) {
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
                    let accept = accept(self.clone(), shared, counted, worker, pause);
                    drop(self.sessions.spawn_on(accept, runtime));
                }
                Err(error) => {
                    warn!(address = %begun.address, %error, "a worker can't accept clients of this listener");
                }
            }
        }
        let counted = CountedAcceptor::new(&self.shared);
        self.sessions.spawn(accept(self.clone(), begun, counted, 0, Pause::new(pause)));
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
        let mut logged = self.shared.open();
        loop {
            time::sleep(PROGRESS).await;
            let open = self.shared.open();
            if open != logged {
                info!(open, "draining");
                logged = open;
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

/// How often the progress of the shutdown is logged.
const PROGRESS: Duration = Duration::from_secs(2);
const CUT_MAX: Duration = Duration::from_secs(1);
