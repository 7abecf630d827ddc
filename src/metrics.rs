//! Counters. Code that moves bytes only adds to numbers, and never waits for a lock.
//!
//! [`Metrics`] has the counts of each chain and hop by name, and outlives generations. Each chain is built with a [`Meter`]
//! that points to its own counts and those of its hops, so that traffic looks up no names.

mod by_name;
mod chosen;
mod histogram;
mod warm;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use mooltiroute_hops::MemberLedger;
use serde::Serialize;

use crate::{
    io::CountBytes, proxy_error::ProxyError, shorten::shortened, timestamp::rfc_3339,
    usage::UsageLedger,
};

pub(crate) use self::{
    by_name::ByName,
    chosen::{ChosenHops, ChosenPlace},
    histogram::{Buckets, Histogram},
    warm::{WarmCounts, WarmTotals},
};

/// All counts of a proxy.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By chain.
    pub chains: ByName<Counts>,
    /// By hop.
    pub hops: ByName<HopCounts>,
    /// Failures at the target itself, and not at a hop.
    pub target: Arc<HopCounts>,
    /// Reloads by outcome.
    pub reloads: ReloadCounts,
    /// The members of hops, by the hop.
    pub members: ByName<MemberLedger>,
    /// Spare tunnels, by chain.
    pub warm: ByName<WarmCounts>,
    /// Bytes on the wire.
    pub usage: Arc<UsageLedger>,
}

/// The traffic of one chain or one hop.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// The traffic of one hop, and its failures.
#[derive(Debug, Default)]
pub(crate) struct HopCounts {
    counts: Counts,
    /// The times that it took to accept a CONNECT.
    pub handshakes: Histogram,
    failures: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    last_failure: Mutex<Option<LastFailure>>,
}

/// Reloads by outcome.
#[derive(Debug, Default)]
pub(crate) struct ReloadCounts {
    /// A new generation took effect.
    pub applied: AtomicU64,
    /// The files had changed, but not their meaning.
    pub unchanged: AtomicU64,
    /// The new configuration was invalid, so the old generation stayed.
    pub rejected: AtomicU64,
}

/// The counts that the traffic of one chain adds to.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    chain: Arc<Counts>,
    hops: Box<[(Arc<str>, Arc<HopCounts>)]>,
    target: Arc<HopCounts>,
}

/// The counts of a chain or a hop at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// Plain requests that began.
    pub requests: u64,
    /// Tunnels that were opened.
    pub tunnels_opened: u64,
    /// The number of tunnels that are open.
    pub tunnels_open: u64,
    /// Tunnels that could not be opened, and requests without a complete answer.
    pub failed: u64,
    /// Bytes from clients.
    pub bytes_sent: u64,
    /// Bytes to clients.
    pub bytes_received: u64,
}

/// The number of failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The step that failed.
    pub stage: &'static str,
    /// The error type of RFC 9209 that was reported to clients.
    pub error: &'static str,
    /// The number of failures.
    pub count: u64,
}

/// The last failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LastFailure {
    /// The time of the failure.
    pub at: String,
    /// The cause in a few words, as the status line of the client has it.
    pub cause: String,
}

impl Metrics {
    /// Returns the meter of the chain `name`, which passes `hops`.
    pub(crate) fn meter(
        &self,
        name: &Arc<str>,
        hops: impl IntoIterator<Item = Arc<str>>,
    ) -> Arc<Meter> {
        // Names are looked up here, once for each chain, and never while traffic is counted.
        let hop = |name: Arc<str>| (Arc::clone(&name), self.hops.of(&name));
        let hops = hops.into_iter().map(hop).collect();
        Arc::new(Meter { chain: self.chains.of(name), hops, target: Arc::clone(&self.target) })
    }
}

impl Counts {
    /// Returns the counts now.
    pub(crate) fn totals(&self) -> Totals {
        // In this order, so that no tunnel counts as closed but not as opened.
        let closed = self.closed.load(Relaxed);
        let opened = self.opened.load(Relaxed);
        Totals {
            requests: self.requests.load(Relaxed),
            tunnels_opened: opened,
            tunnels_open: opened.saturating_sub(closed),
            failed: self.failed.load(Relaxed),
            bytes_sent: self.sent.load(Relaxed),
            bytes_received: self.received.load(Relaxed),
        }
    }
}

impl HopCounts {
    /// Returns the counts now.
    pub(crate) fn totals(&self) -> Totals {
        self.counts.totals()
    }

    /// Returns the failures by kind.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let failures = lock(&self.failures);
        let each = failures.iter();
        each.map(|((stage, error), count)| Failure { stage, error, count: *count }).collect()
    }

    /// Returns the last failure with its cause.
    pub(crate) fn last_failure(&self) -> Option<LastFailure> {
        lock(&self.last_failure).clone()
    }

    fn explain(&self, cause: &str) {
        let cause: String = cause.chars().filter(|one| !one.is_control()).collect();
        let cause = shortened(&cause, CAUSE_CHARS_MAX);
        let failure = LastFailure { at: rfc_3339(SystemTime::now()), cause };
        *lock(&self.last_failure) = Some(failure);
    }

    /// Counts a plain request that begins.
    fn request(&self) {
        self.counts.requests.fetch_add(1, Relaxed);
    }

    /// Counts a tunnel that is open.
    fn opened(&self) {
        self.counts.opened.fetch_add(1, Relaxed);
    }

    /// Counts a tunnel that has closed.
    fn closed(&self) {
        self.counts.closed.fetch_add(1, Relaxed);
    }

    fn sent(&self, bytes: u64) {
        self.counts.sent.fetch_add(bytes, Relaxed);
    }

    fn received(&self, bytes: u64) {
        self.counts.received.fetch_add(bytes, Relaxed);
    }

    fn failed(&self, stage: &'static str, error: &'static str) {
        // Both words come from this program's own lists, so peers can't make the map grow. Failures are rare enough for a
        // lock.
        self.counts.failed.fetch_add(1, Relaxed);
        *lock(&self.failures).entry((stage, error)).or_default() += 1;
    }
}

impl Meter {
    /// Counts a plain request that begins.
    pub(crate) fn request(&self) {
        self.each(|counts| &counts.requests, 1);
    }

    /// Counts a tunnel that is open. Each call must be followed by one of [`closed`](Self::closed).
    pub(crate) fn opened(&self) {
        self.each(|counts| &counts.opened, 1);
    }

    /// Counts a tunnel that has closed.
    pub(crate) fn closed(&self) {
        self.each(|counts| &counts.closed, 1);
    }

    /// Records how long the hop at `position` took to accept a CONNECT.
    pub(crate) fn agreed(&self, position: usize, after: Duration) {
        if let Some((_, hop)) = self.hops.get(position) {
            hop.handshakes.observe(after);
        }
    }

    /// Counts a failure of a tunnel or a request, at `hop` or at the target.
    pub(crate) fn failed(&self, hop: Option<&str>, stage: &'static str, error: ProxyError) {
        // A failure belongs to the chain and to one place: the hop that is responsible, or the target.
        self.chain.failed.fetch_add(1, Relaxed);
        let hop = hop.and_then(|hop| self.hops.iter().find(|(name, _)| **name == *hop));
        hop.map_or(&self.target, |(_, counts)| counts).failed(stage, error.name());
    }

    /// Notes the cause of a failure at `hop` or at the target, in a few words.
    pub(crate) fn explain(&self, hop: Option<&str>, cause: &str) {
        let hop = hop.and_then(|hop| self.hops.iter().find(|(name, _)| **name == *hop));
        hop.map_or(&self.target, |(_, counts)| counts).explain(cause);
    }

    fn each(&self, count: impl Fn(&Counts) -> &AtomicU64, more: u64) {
        // Hops are counted separately, so the counts of a hop in several chains are the sum.
        if more > 0 {
            count(&self.chain).fetch_add(more, Relaxed);
            for (_, hop) in &self.hops {
                count(&hop.counts).fetch_add(more, Relaxed);
            }
        }
    }
}

impl CountBytes for Meter {
    fn sent(&self, bytes: u64) {
        self.each(|counts| &counts.sent, bytes);
    }

    fn received(&self, bytes: u64) {
        self.each(|counts| &counts.received, bytes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The numbers are right even after a panic under the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most characters of a cause. Words of a hop may be in it, and its end says most.
const CAUSE_CHARS_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use super::{by_name::NAMES_MAX, *};

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn a_chain_and_each_of_its_hops_are_counted() {
        let metrics = Metrics::default();
        let both = metrics.meter(&name("both"), [name("a"), name("b")]);
        let one = metrics.meter(&name("one"), [name("b")]);
        both.opened();
        one.opened();
        one.closed();
        both.sent(3);
        one.received(5);
        let totals = |name: &str| {
            let Totals { tunnels_opened, tunnels_open, bytes_sent, bytes_received, .. } =
                metrics.hops.of(&name.into()).totals();
            (tunnels_opened, tunnels_open, bytes_sent, bytes_received)
        };
        assert_eq!((totals("a"), totals("b")), ((1, 1, 3, 0), (2, 1, 3, 5)));
        assert_eq!(metrics.chains.of(&name("both")).totals().tunnels_open, 1);
        assert_eq!(metrics.chains.of(&name("one")).totals().tunnels_open, 0);
    }

    #[test]
    fn a_failure_counts_at_the_place_where_it_happened() {
        let metrics = Metrics::default();
        let meter = metrics.meter(&name("default"), [name("a"), name("b")]);
        meter.failed(Some("b"), "extend", ProxyError::Dns);
        meter.failed(Some("b"), "extend", ProxyError::Dns);
        meter.failed(None, "dial", ProxyError::ConnectionRefused);
        meter.explain(Some("b"), "404\u{1b} Not Found");
        let cause =
            |name_of: &str| metrics.hops.of(&name(name_of)).last_failure().map(|last| last.cause);
        assert_eq!((cause("a"), cause("b")), (None, Some("404 Not Found".to_owned())));
        let expected = Failure { stage: "extend", error: "dns_error", count: 2 };
        assert_eq!(metrics.hops.of(&name("b")).failures(), [expected]);
        assert_eq!(metrics.hops.of(&name("a")).failures(), []);
        assert_eq!(metrics.target.failures().len(), 1);
        assert_eq!(metrics.chains.of(&name("default")).totals().failed, 3);
    }

    #[test]
    fn counts_outlive_what_counted_and_names_are_bounded() {
        let metrics = Metrics::default();
        let kept = metrics.meter(&name("kept"), []);
        metrics.meter(&name("kept"), []).request();
        for number in 0..NAMES_MAX + 10 {
            metrics.meter(&number.to_string().into(), []);
        }
        assert!(metrics.chains.all().len() <= NAMES_MAX);
        assert_eq!(kept.chain.totals().requests, 1);
        assert_eq!(metrics.chains.of(&name("kept")).totals().requests, 1);
    }
}
