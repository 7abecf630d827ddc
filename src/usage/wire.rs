//! The bytes of one stream on the wire, and the accounts that they count for.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use mooltiroute_hops::{Authority, CountWire, Stream as _, Tunnel};
use smallvec::SmallVec;

use super::{Activity, UsageAccount, lock};
use crate::slab::Slab;

/// The accounts of a request beside those of its chain and hops: its route, its target, its session.
pub(crate) type Owner = Arc<[Arc<UsageAccount>]>;

/// The owner of a client's last request. The next one often has the same.
#[derive(Debug, Default)]
pub(crate) struct RecentOwner(Option<Recent>);

#[derive(Debug)]
struct Recent {
    target: Authority,
    session: Option<Box<str>>,
    /// The account of the route comes first.
    owner: Owner,
}

/// Counts one stream.
///
/// A stream has only one user at a time, so no atomic addition is needed: a count is read, and the sum is written back. This is
/// true with several workers too. A connection stays with one worker, and a spare tunnel that one worker made passes through a
/// lock before another one uses it. All other threads only read the counts.
#[derive(Debug)]
pub(crate) struct CountedWire {
    sent: AtomicU64,
    received: AtomicU64,
    activity: Arc<Activity>,
    shares: Mutex<Shares>,
    open: Arc<Mutex<Slab<Weak<Self>>>>,
    place: usize,
}

/// The accounts that receive the bytes of a stream.
#[derive(Debug, Default)]
struct Shares {
    /// The chain and each hop that the stream passes, each with the counts up to which its account is up to date.
    passed: SmallVec<[(Arc<UsageAccount>, [u64; 2]); 2]>,
    /// The request that uses the stream at the moment.
    owner: Option<Owner>,
    owned: [u64; 2],
}

/// The streams that are open.
#[derive(Debug, Default)]
pub(super) struct Wires(Arc<Mutex<Slab<Weak<CountedWire>>>>);

impl CountedWire {
    /// Returns the counter behind `wire`, if it is one of these.
    pub(crate) fn of(wire: &Arc<dyn CountWire>) -> Option<&Self> {
        let wire: &dyn Any = &**wire;
        wire.downcast_ref()
    }

    /// Counts later bytes for `account` too, and the `ahead` bytes that were read but not used yet.
    pub(crate) fn passes(&self, account: &Arc<UsageAccount>, ahead: usize) {
        let [sent, received] = self.counts();
        let from = [sent, received.saturating_sub(ahead as u64)];
        lock(&self.shares).passed.push((Arc::clone(account), from));
    }

    /// Counts the bytes from now on for `owner`, and also the earlier ones if no request has claimed them.
    fn owned_by(&self, owner: &Owner) {
        let mut shares = lock(&self.shares);
        let is_same = shares.owner.as_ref().is_some_and(|present| Arc::ptr_eq(present, owner));
        // If the owner is the same, nothing changes. But a budget must include the bytes of the previous request now, and not
        // only at the next regular update.
        if is_same && !shares.passed.iter().any(|(account, _)| account.is_limited()) {
            return;
        }
        if !is_same {
            shares.fold(self.counts());
            shares.owner = Some(Arc::clone(owner));
        }
        shares.fold(self.counts());
    }

    /// Gives each account its share of the bytes that were counted since the last time.
    fn fold(&self) {
        let mut shares = lock(&self.shares);
        // Read under the lock: a thread that had waited for it would otherwise subtract newer counts from older ones.
        shares.fold(self.counts());
    }

    fn counts(&self) -> [u64; 2] {
        [self.sent.load(Relaxed), self.received.load(Relaxed)]
    }
}

impl Shares {
    /// Gives each account its share up to `now`.
    fn fold(&mut self, now: [u64; 2]) {
        let Self { passed, owner, owned } = self;
        for (account, until) in passed {
            account.add(now[0].saturating_sub(until[0]), now[1].saturating_sub(until[1]));
            *until = [now[0].max(until[0]), now[1].max(until[1])];
        }
        if let Some(owner) = owner {
            for account in owner.iter() {
                account.add(now[0] - owned[0], now[1] - owned[1]);
            }
            *owned = now;
        }
    }
}

impl RecentOwner {
    /// Returns the owner of a request, which `look_up` finds if the previous request had another one.
    pub(super) fn owner(
        &mut self,
        route: &Arc<UsageAccount>,
        target: &Authority,
        session: Option<&str>,
        look_up: impl FnOnce() -> Owner,
    ) -> Owner {
        let is_same = |recent: &&Recent| {
            recent.owner.first().is_some_and(|account| Arc::ptr_eq(account, route))
                && recent.target == *target
                && recent.session.as_deref() == session
        };
        if let Some(recent) = self.0.as_ref().filter(is_same) {
            return Arc::clone(&recent.owner);
        }
        let (target, session) = (target.clone(), session.map(Box::from));
        let recent = self.0.insert(Recent { target, session, owner: look_up() });
        Arc::clone(&recent.owner)
    }
}

/// Counts the bytes of the connection below `tunnel` for `owner` from now on, and those that it opened with.
pub(crate) fn owned_by(tunnel: &Tunnel, owner: &Owner) {
    if let Some(wire) = tunnel.bottom_wire().and_then(CountedWire::of) {
        wire.owned_by(owner);
    }
}

impl CountWire for CountedWire {
    fn sent(&self, bytes: usize) {
        self.sent.store(self.sent.load(Relaxed) + bytes as u64, Relaxed);
        self.activity.begins();
    }

    fn received(&self, bytes: usize) {
        self.received.store(self.received.load(Relaxed) + bytes as u64, Relaxed);
        self.activity.begins();
    }
}

impl Drop for CountedWire {
    fn drop(&mut self) {
        self.fold();
        lock(&self.open).remove(self.place);
    }
}

impl Wires {
    /// Begins to count a stream.
    pub(super) fn begin(&self, activity: Arc<Activity>) -> Arc<CountedWire> {
        Arc::new_cyclic(|wire| CountedWire {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            activity,
            shares: Mutex::default(),
            open: Arc::clone(&self.0),
            place: lock(&self.0).add(Weak::clone(wire)),
        })
    }

    /// Gives the accounts their shares of all open streams.
    pub(super) fn fold(&self) {
        // The lock is released first, since dropping the last reference to a stream takes it.
        let open: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        open.iter().for_each(|wire| wire.fold());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(account: &UsageAccount) -> (u64, u64) {
        let sum = account.sum();
        (sum.sent, sum.received)
    }

    #[test]
    fn each_hop_gets_the_bytes_from_its_own_connect_on() {
        let (wires, activity) = (Wires::default(), Arc::<Activity>::default());
        let wire = wires.begin(Arc::clone(&activity));
        let [first, second, route]: [Arc<UsageAccount>; 3] = Default::default();
        wire.passes(&first, 0);
        wire.sent(10);
        wire.received(7);
        // Two bytes of the seven came behind the first hop's answer.
        wire.passes(&second, 2);
        wire.sent(5);
        wire.owned_by(&vec![Arc::clone(&route)].into());
        assert_eq!((sum(&first), sum(&second), sum(&route)), ((15, 7), (5, 2), (15, 7)));
        wire.received(1);
        wires.fold();
        wires.fold();
        assert_eq!((sum(&first), sum(&second), sum(&route)), ((15, 8), (5, 3), (15, 8)));
        let later: Arc<UsageAccount> = Arc::default();
        wire.owned_by(&vec![Arc::clone(&later)].into());
        wire.sent(1);
        drop(wire);
        assert_eq!((sum(&first), sum(&route), sum(&later)), ((16, 8), (15, 8), (1, 0)));
        assert_eq!(lock(&wires.0).iter().count(), 0);
    }
}
