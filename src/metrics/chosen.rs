//! Counts of hops that a connection passes although its chain does not list them.

use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{HopCounts, Metrics, lock};
use crate::{io::CountBytes, proxy_error::ProxyError, usage::UsageAccount};

/// The counts of the hops that a PAC file or a pool chose for one connection.
///
/// The hops that a chain lists are known when it is built, so it counts for them by its [`Meter`](super::Meter). The hops that
/// those choose differ between connections, so each connection points to their counts itself.
#[derive(Debug)]
pub(crate) struct ChosenHops(Box<[ChosenCounts]>);

/// The place of a connection for its [`ChosenHops`]. Most connections have none, which takes only one load to see.
///
/// Only the task that serves the connection fills the place and counts bytes by it.
#[derive(Debug, Default)]
pub(crate) struct ChosenPlace {
    is_filled: AtomicBool,
    hops: Mutex<Option<Arc<ChosenHops>>>,
}

#[derive(Debug)]
struct ChosenCounts {
    name: Arc<str>,
    counts: Arc<HopCounts>,
    account: Arc<UsageAccount>,
}

impl Metrics {
    /// Returns the counts of the hops with these names, or `None` if there are no names.
    pub(crate) fn chosen<'a>(
        &self,
        names: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<Arc<ChosenHops>> {
        let counts = |name: &Arc<str>| ChosenCounts {
            name: Arc::clone(name),
            counts: self.hops.of(name),
            account: self.usage.hops.account(name),
        };
        let all: Box<[_]> = names.map(counts).collect();
        (!all.is_empty()).then(|| Arc::new(ChosenHops(all)))
    }
}

impl ChosenPlace {
    /// Returns the counts, if there are any.
    pub(crate) fn get(&self) -> Option<Arc<ChosenHops>> {
        if !self.is_filled.load(Relaxed) {
            return None;
        }
        lock(&self.hops).clone()
    }

    /// Puts `next` in the place, and returns the counts that were there.
    pub(crate) fn replace(&self, next: Option<Arc<ChosenHops>>) -> Option<Arc<ChosenHops>> {
        if next.is_none() && !self.is_filled.load(Relaxed) {
            return None;
        }
        let mut hops = lock(&self.hops);
        self.is_filled.store(next.is_some(), Relaxed);
        mem::replace(&mut *hops, next)
    }
}

impl ChosenHops {
    /// Counts a request that takes these hops. `before` are the hops that it tried earlier, which have already counted it.
    pub(crate) fn request(&self, is_tunnel: bool, before: Option<&Self>) {
        let is_known = |name: &Arc<str>| {
            before.is_some_and(|before| before.0.iter().any(|known| known.name == *name))
        };
        for ChosenCounts { name, counts, account } in &self.0 {
            if is_known(name) {
                continue;
            }
            account.add_request();
            // A tunnel counts once it is open.
            if !is_tunnel {
                counts.request();
            }
        }
    }

    /// Counts a tunnel that is open. Each call must be followed by one of [`closed`](Self::closed).
    pub(crate) fn opened(&self) {
        self.0.iter().for_each(|hop| hop.counts.opened());
    }

    /// Counts a tunnel that has closed.
    pub(crate) fn closed(&self) {
        self.0.iter().for_each(|hop| hop.counts.closed());
    }

    /// Counts a failure of these hops.
    pub(crate) fn failed(&self, stage: &'static str, error: ProxyError) {
        self.0.iter().for_each(|hop| hop.counts.failed(stage, error.name()));
    }

    /// Notes the cause of the last failure in a few words.
    pub(crate) fn explain(&self, cause: &str) {
        self.0.iter().for_each(|hop| hop.counts.explain(cause));
    }
}

impl CountBytes for ChosenHops {
    fn sent(&self, bytes: u64) {
        self.0.iter().for_each(|hop| hop.counts.sent(bytes));
    }

    fn received(&self, bytes: u64) {
        self.0.iter().for_each(|hop| hop.counts.received(bytes));
    }
}
