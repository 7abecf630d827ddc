//! Accepts clients, and begins a session for each.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    config::Source,
    listeners::Begun,
    live::{Generation, Live},
    session,
    shutdown::Shutdown,
};

/// What all sessions share.
#[derive(Debug)]
pub struct Server {
    live: Live,
    open: AtomicUsize,
    sessions: TaskTracker,
    shutdown: Shutdown,
    origin: Origin,
    rejection: ArcSwapOption<Rejection>,
}

/// Where and when this proxy began.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where its configuration comes from.
    pub source: Source,
    /// The time of day.
    pub at: SystemTime,
    /// The same, for a clock that only goes on.
    pub instant: Instant,
}

/// A configuration that was not taken.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// When.
    pub at: SystemTime,
    /// Everything that is wrong with it, a line each.
    pub problems: Vec<String>,
}

/// One connection that counts against `limits.connections`, until it is dropped.
#[derive(Debug)]
pub struct Admission(Arc<Server>);

impl Server {
    /// Serves `first`, which comes from `source`, once there are listeners.
    pub fn new(first: Generation, source: Source, shutdown: Shutdown) -> Arc<Self> {
        let origin = Origin { source, at: SystemTime::now(), instant: Instant::now() };
        let sessions = TaskTracker::new();
        Arc::new(Self {
            live: Live::new(first),
            open: AtomicUsize::new(0),
            sessions,
            shutdown,
            origin,
            rejection: ArcSwapOption::empty(),
        })
    }

    /// The generation in force.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The steps of the proxy's end.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Client connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Where and when it began.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The configuration that was rejected since the last one that was valid.
    pub fn rejection(&self) -> Option<Arc<Rejection>> {
        self.rejection.load_full()
    }

    /// Remembers what was rejected, or that what was is mended.
    pub fn set_rejection(&self, rejection: Option<Rejection>) {
        self.rejection.store(rejection.map(Arc::new));
    }

    /// Accepts on a listener until it is closed or the proxy ends.
    pub fn begin(self: &Arc<Self>, begun: Begun) {
        info!(address = %begun.address, "listening");
        self.sessions.spawn(accept(Arc::clone(self), begun));
    }

    /// Waits until every session has ended. What lasts longer than `deadline`, or than the shutdown's patience, is cut.
    pub async fn drain(&self, deadline: Duration) {
        self.sessions.close();
        let cut = &self.shutdown.cut;
        tokio::select! {
            biased;
            () = self.sessions.wait() => return,
            () = cut.cancelled() => {}
            () = time::sleep(deadline) => {}
            never = self.tell_progress() => match never {},
        }
        warn!(open = self.open(), "cutting what is still open");
        cut.cancel();
        // What is cut ends at its next step, which is at once unless the process is starved.
        let _ = time::timeout(CUT_MAX, self.sessions.wait()).await;
    }

    /// Says how many connections are left, now and then, where that has changed.
    async fn tell_progress(&self) -> Infallible {
        let mut told = self.open();
        loop {
            time::sleep(PROGRESS).await;
            let open = self.open();
            if open != told {
                info!(open, "draining");
                told = open;
            }
        }
    }

    fn welcome(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr) {
        // On Linux it has that from its listener. A socket that is already broken says so at its first use.
        if cfg!(not(target_os = "linux")) {
            let _ = socket.set_nodelay(true);
        }
        let admission = Admission(Arc::clone(self));
        let is_over =
            self.open.fetch_add(1, Ordering::Relaxed) >= self.live.current().limits.connections;
        if is_over {
            self.sessions.spawn(session::turn_away(socket, peer, admission));
        } else {
            self.sessions.spawn(session::run(socket, peer, admission));
        }
    }
}

impl Admission {
    /// The server that admitted the connection.
    pub fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(server: Arc<Server>, begun: Begun) {
    let Begun { listener, address, closed } = begun;
    let mut pause = Pause::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed.cancelled() => break,
            () = server.shutdown.draining.cancelled() => return,
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
