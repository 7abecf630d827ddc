//! The table of open connections: each request and tunnel that is under way, with its counts and a way to end it.
//!
//! A row is shared by the task that serves the connection, which adds to its counts, and by readers of the table. The
//! lock of the table is taken when a row comes or goes and while the table is listed, never while bytes move.

mod failures;
mod kill;
mod open_connection;
mod request_method;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use mooltiroute_hops::Authority;
use tokio::time::Instant;

pub(crate) use self::{failures::RecentFailure, open_connection::OpenConnection};
use self::{failures::RecentFailures, kill::KillToken};
use crate::{
    config::Protocol,
    log::DirectLog,
    metrics::ChosenPlace,
    slab::Slab,
    state::generation::{Generation, Way},
};

/// The requests and tunnels that are under way.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    next_id: AtomicU64,
    rows: Mutex<Slab<Arc<OpenConnection>>>,
    failures: RecentFailures,
    log: OnceLock<DirectLog>,
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
            method: method.into(),
            target: target.clone(),
            route: way.route.try_into().unwrap_or(u32::MAX),
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

impl Registration {
    /// Returns the row.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held the lock left a table that is still right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows that are copied while others wait for the lock: about 10 µs of work.
const LOCKED_ROWS_MAX: usize = 128;
