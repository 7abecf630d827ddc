//! The table of open connections: each request and tunnel that is under way, with its counts and a way to end it.
//!
//! A row is shared by the task that serves the connection, which adds to its counts, and by readers of the table. The
//! lock of the table is taken when a row comes or goes and while the table is listed, never while bytes move.

mod failures;
mod kill;

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use mooltiroute_hops::Authority;
use tokio::time::Instant;

pub(crate) use self::failures::RecentFailure;
use self::{failures::RecentFailures, kill::KillToken};
use crate::{
    config::Protocol,
    log::DirectLog,
    metrics::{ChosenHops, ChosenPlace, CountBytes},
    slab::Slab,
    state::generation::{Generation, Way},
    upstream::chain::{Chain, Passage, TakenHop, Trace},
};

/// The requests and tunnels that are under way.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    next_id: AtomicU64,
    rows: Mutex<Slab<Arc<OpenConnection>>>,
    failures: RecentFailures,
    log: OnceLock<DirectLog>,
}

/// One request or tunnel.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    /// Its number, which no other connection of this process has.
    pub id: u64,
    /// Bytes from the client that were passed on.
    sent: AtomicU64,
    /// Bytes to the client.
    received: AtomicU64,
    kill: KillToken,
    /// When its client left, in microseconds after it began and one more. Zero while the client is there.
    left: AtomicU64,
    /// When it began.
    pub begun: Instant,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The protocol that the client speaks.
    pub protocol: Protocol,
    /// The method of the request; `CONNECT` for every tunnel.
    pub method: Cow<'static, str>,
    /// The target of the request.
    pub target: Authority,
    /// The route that matched, counted from one.
    pub route: usize,
    /// The chain it takes.
    pub chain: Arc<Chain>,
    /// The configuration it began under.
    pub generation: Arc<Generation>,
    /// The session that the client chose.
    pub session: Option<Box<str>>,
    passage: Mutex<Passage>,
    /// The counts of the hops on its way that the chain does not list.
    chosen: ChosenPlace,
}

/// A row of the table, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    table: Arc<Connections>,
    place: usize,
    row: Arc<OpenConnection>,
}

/// The facts of a connection that is about to be registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionFacts<'a> {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The protocol that the client speaks.
    pub protocol: Protocol,
    /// The method of the request.
    pub method: &'a str,
    /// The target of the request.
    pub target: &'a Authority,
    /// The route and chain it takes.
    pub way: Way<'a>,
    /// The configuration it begins under.
    pub generation: &'a Arc<Generation>,
    /// The session that the client chose.
    pub session: Option<&'a str>,
}

impl Connections {
    /// Sets the log for the lines that end connections. Without it they are events of `tracing`.
    pub(crate) fn set_log(&self, log: DirectLog) {
        // A process has one log, so a second call brings the same one.
        let _ = self.log.set(log);
    }

    /// Adds a connection, which `task` serves.
    pub(crate) fn register(
        self: &Arc<Self>,
        facts: ConnectionFacts<'_>,
        task: &Waker,
    ) -> Registration {
        let ConnectionFacts { peer, protocol, method, target, way, generation, session } = facts;
        // The row has references of its own, since a reader may hold it for longer than the connection lasts.
        let row = Arc::new(OpenConnection {
            id: self.next_id.fetch_add(1, Ordering::Relaxed) + 1,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            kill: KillToken { task: Mutex::new(Some(task.clone())), ..KillToken::default() },
            left: AtomicU64::new(0),
            begun: Instant::now(),
            peer,
            protocol,
            method: without_copy(method),
            target: target.clone(),
            route: way.route,
            chain: Arc::clone(way.chain),
            generation: Arc::clone(generation),
            session: session.map(Box::from),
            passage: Mutex::default(),
            chosen: ChosenPlace::default(),
        });
        // Only now is the lock taken, which all workers share.
        let place = lock(&self.rows).add(Arc::clone(&row));
        Registration { table: Arc::clone(self), place, row }
    }

    /// Returns the connections that are open now, the oldest first.
    ///
    /// One that begins meanwhile may be missing. The table is copied piece by piece, since each connection that begins or
    /// ends needs the lock, and the thread that holds it may have to wait for a processor.
    pub(crate) fn list(&self) -> Vec<Arc<OpenConnection>> {
        let (mut rows, mut first) = (Vec::new(), 0);
        // A row keeps its place, so each one is seen once, whatever happens between two pieces.
        while let Some(part) = lock(&self.rows).part(first, LOCKED_ROWS_MAX) {
            rows.extend(part.cloned());
            first += LOCKED_ROWS_MAX;
        }
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// Returns the recent failures, the newest first.
    pub(crate) fn recent_failures(&self) -> Vec<RecentFailure> {
        self.failures.all()
    }

    /// Ends every connection that `is_meant` picks, and returns their numbers.
    pub(crate) fn kill(&self, is_meant: impl Fn(&OpenConnection) -> bool) -> Vec<u64> {
        // From a copy: `is_meant` may take its time, and a connection that ends takes the lock to remove its row.
        let meant = self.list().into_iter().filter(|row| is_meant(row));
        let kill = |row: Arc<OpenConnection>| {
            row.end();
            row.id
        };
        meant.map(kill).collect()
    }
}

impl OpenConnection {
    /// Returns how many bytes from the client were passed on so far.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the client was sent so far.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns the way that it took through its chain. Until a connection is open, no hop has made a choice.
    pub(crate) fn passage(&self) -> Passage {
        lock(&self.passage).clone()
    }

    /// Notes the way that it takes. A request may take another one later, if its connection breaks before an answer.
    pub(crate) fn set_passage(&self, passage: Passage) {
        let chosen = self.generation.metrics().chosen(passage.chosen_hops());
        let before = self.chosen.replace(chosen.clone());
        if let Some(chosen) = chosen {
            chosen.request(self.is_tunnel(), before.as_deref());
        }
        *lock(&self.passage) = passage;
    }

    /// Returns whether it passes the hop `name`, which its chain lists or a hop of the chain chose.
    pub(crate) fn passes(&self, name: &str) -> bool {
        lock(&self.passage).has_hop(&self.chain, name)
    }

    /// Returns whether it is a tunnel, or a request for one.
    pub(crate) fn is_tunnel(&self) -> bool {
        self.method == "CONNECT"
    }

    /// Returns the counts of the hops on its way that the chain does not list, if there are any.
    pub(crate) fn chosen_counts(&self) -> Option<Arc<ChosenHops>> {
        self.chosen.get()
    }

    /// Returns the word for its protocol in the log and in lists.
    pub(crate) fn protocol_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5",
            Protocol::Socks4a => "socks4a",
        }
    }

    /// Ends the connection.
    pub(crate) fn end(&self) {
        self.kill.kill();
    }

    /// Notes that its client left at the moment `at`, which may have been noticed later.
    pub(crate) fn client_has_left(&self, at: Instant) {
        let after = at.saturating_duration_since(self.begun).as_micros();
        let after = u64::try_from(after).unwrap_or(u64::MAX).saturating_add(1);
        self.left.store(after, Ordering::Relaxed);
    }

    /// Returns how long it has lasted, or lasted until its client left.
    pub(crate) fn lasted(&self) -> Duration {
        self.left_after().unwrap_or_else(|| self.begun.elapsed())
    }

    fn left_after(&self) -> Option<Duration> {
        self.left.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }

    /// Returns whether it is to end, on request.
    pub(crate) fn is_killed(&self) -> bool {
        self.kill.is_killed.load(Ordering::Acquire)
    }
}

impl CountBytes for OpenConnection {
    fn sent(&self, bytes: u64) {
        if bytes > 0 {
            self.sent.fetch_add(bytes, Ordering::Relaxed);
            self.chain.meter().sent(bytes);
            if let Some(chosen) = self.chosen.get() {
                chosen.sent(bytes);
            }
        }
    }

    fn received(&self, bytes: u64) {
        if bytes > 0 {
            self.received.fetch_add(bytes, Ordering::Relaxed);
            self.chain.meter().received(bytes);
            if let Some(chosen) = self.chosen.get() {
                chosen.received(bytes);
            }
        }
    }
}

impl Trace for OpenConnection {
    /// Notes the choice before the connection is made, so that it can be listed and cut while it waits for its hop.
    fn chosen(&self, taken: &Arc<[TakenHop]>) {
        lock(&self.passage).taken = Some(Arc::clone(taken));
    }

    fn abandoned(&self) -> Option<Instant> {
        Some(self.begun + self.left_after()?)
    }
}

impl Registration {
    /// The row.
    pub(crate) fn row(&self) -> &Arc<OpenConnection> {
        &self.row
    }

    /// Returns the log for the line that ends the connection, if this process writes its log itself.
    pub(crate) fn log(&self) -> Option<&DirectLog> {
        self.table.log.get()
    }

    /// Notes that it failed with `status`, which `text` explains to the client.
    pub(crate) fn failed(&self, status: u16, text: &str) {
        self.table.failures.add(&self.row, status, text);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The row is dropped after the lock is released: it may be the last user of its generation.
        let _row = lock(&self.table.rows).remove(self.place);
    }
}

/// Returns the method, copied only if it is a rare one.
fn without_copy(method: &str) -> Cow<'static, str> {
    const COMMON: [&str; 6] = ["CONNECT", "GET", "POST", "HEAD", "PUT", "DELETE"];
    let known = COMMON.iter().find(|common| **common == method);
    known.map_or_else(|| Cow::Owned(method.to_owned()), |common| Cow::Borrowed(*common))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held the lock left a table that is still right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows that are copied while others wait for the lock: about 10 µs of work.
const LOCKED_ROWS_MAX: usize = 128;
