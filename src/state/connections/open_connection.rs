//! One request or tunnel of the table, with its counts and a way to end it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mooltiroute_hops::Authority;
use tokio::time::Instant;

use super::{kill::KillToken, lock, request_method::RequestMethod};
use crate::{
    config::Protocol,
    io::CountBytes,
    metrics::{ChosenHops, ChosenPlace},
    state::generation::Generation,
    upstream::chain::{Chain, Passage, TakenHop, Trace},
};

/// One request or tunnel.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    /// Its number, which no other connection of this process has.
    pub id: u64,
    /// Bytes from the client that were passed on.
    pub(super) sent: AtomicU64,
    /// Bytes to the client.
    pub(super) received: AtomicU64,
    pub(super) kill: KillToken,
    /// When its client left, in microseconds after it began and one more. Zero while the client is there.
    pub(super) left: AtomicU64,
    /// When it began.
    pub begun: Instant,
    /// The address of the client.
    pub peer: SocketAddr,
    /// The protocol that the client speaks.
    pub protocol: Protocol,
    /// The method of the request; `CONNECT` for every tunnel.
    pub method: RequestMethod,
    /// The target of the request.
    pub target: Authority,
    /// The route that matched, counted from one.
    pub route: u32,
    /// The chain it takes.
    pub chain: Arc<Chain>,
    /// The configuration it began under.
    pub generation: Arc<Generation>,
    /// The session that the client chose.
    pub session: Option<Box<str>>,
    pub(super) passage: Mutex<Passage>,
    /// The counts of the hops on its way that the chain does not list.
    pub(super) chosen: ChosenPlace,
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
        *self.method == *"CONNECT"
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
