//! Accepts clients, and begins a session for each.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    client::session,
    io::keepalive,
    proxy::listeners::Begun,
    state::shared::{Admission, Shared},
    upstream::chain::ChainSpares,
};

/// Accepts on listeners, and keeps track of the sessions that this begins.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    sessions: TaskTracker,
}

impl Server {
    /// Serves what `shared` holds, once there are listeners.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, sessions: TaskTracker::new() }
    }

    /// What its sessions share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Accepts on a listener until it is closed or the proxy ends.
    pub(crate) fn begin(&self, begun: Begun) {
        info!(address = %begun.address, "listening");
        self.sessions.spawn(accept(self.clone(), begun));
    }

    /// Keeps the chains of the generation in force warm, those that are to be.
    pub(crate) fn keep_warm(&self) {
        for (chain, warm) in self.shared.live().current().warm_chains() {
            let (keeper, draining) = (
                Arc::clone(warm).keep(ChainSpares(Arc::downgrade(chain))),
                self.shared.shutdown().draining.clone(),
            );
            self.sessions.spawn(async move { draining.run_until_cancelled(keeper).await });
        }
    }

    /// Waits until every session has ended. What lasts longer than `deadline`, or than the shutdown's patience, is cut.
    pub(crate) async fn drain(&self, deadline: Duration) {
        self.sessions.close();
        let cut = &self.shared.shutdown().cut;
        tokio::select! {
            biased;
            () = self.sessions.wait() => return,
            () = cut.cancelled() => {}
            () = time::sleep(deadline) => {}
            never = self.tell_progress() => match never {},
        }
        warn!(open = self.shared.open(), "cutting what is still open");
        cut.cancel();
        // What is cut ends at its next step, which is at once unless the process is starved.
        let _ = time::timeout(CUT_MAX, self.sessions.wait()).await;
    }

    /// Says how many connections are left, now and then, where that has changed.
    async fn tell_progress(&self) -> Infallible {
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

    fn welcome(&self, socket: TcpStream, peer: SocketAddr) {
        // On Linux it has these from its listener. A socket that is already broken says so at its first use.
        if cfg!(not(target_os = "linux")) {
            let _ = socket.set_nodelay(true);
            let _ = keepalive::probe(&socket);
        }
        let admission = Admission::new(Arc::clone(&self.shared));
        if admission.is_over_limit() {
            self.sessions.spawn(session::turn_away(socket, peer, admission));
        } else {
            self.sessions.spawn(session::run(socket, peer, admission));
        }
    }
}

async fn accept(server: Server, begun: Begun) {
    let Begun { listener, address, closed } = begun;
    let mut pause = Pause::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            () = server.shared.shutdown().draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause.end(address);
                server.welcome(socket, peer);
            }
            Err(error) => pause.after(&error, address).await,
        }
    }
    // Clients that the system had already let in find no closed door.
    while let Ok(Ok((socket, peer))) = time::timeout(Duration::ZERO, listener.accept()).await {
        server.welcome(socket, peer);
    }
    info!(%address, "not listening any more");
}

/// Waits when the system has no more to give, and says so once and not for each try.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
}

impl Pause {
    async fn after(&mut self, error: &io::Error, address: SocketAddr) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if self.failures == 0 {
            warn!(%address, %error, "can't accept connections now; trying again until it works");
        }
        self.failures = self.failures.saturating_add(1);
        time::sleep(PAUSE_FIRST.saturating_mul(1 << self.failures.min(5)).min(PAUSE_MAX)).await;
    }

    fn end(&mut self, address: SocketAddr) {
        if self.failures > 0 {
            info!(%address, failures = self.failures, "accepting connections again");
            self.failures = 0;
        }
    }
}

/// How often the end says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
const CUT_MAX: Duration = Duration::from_secs(1);
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);
