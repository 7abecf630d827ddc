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
    /// The chain and each hop that the stream passes.
    passed: SmallVec<[Arc<UsageAccount>; 2]>,
    /// The request that uses the stream at the moment.
    owner: Option<Owner>,
    /// The count up to which all of them have got their share.
    until: [u64; 2],
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
        let mut shares = lock(&self.shares);
        let now = self.counts();
        // The others get what came before, so that from here on all get the same.
        let mut is_used_up = shares.fold(now);
        shares.passed.push(Arc::clone(account));
        is_used_up |= account.add(0, now[1].min(ahead as u64));
        drop(shares);
        self.act_if(is_used_up);
    }

    /// Counts the bytes from now on for `owner`, and also the earlier ones if no request has claimed them.
    fn owned_by(&self, owner: &Owner) {
        let mut shares = lock(&self.shares);
        let is_same = shares.owner.as_ref().is_some_and(|present| Arc::ptr_eq(present, owner));
        // If the owner is the same, nothing changes. But a budget must include the bytes of the previous request now, and not
        // only at the next regular update.
        if is_same && !shares.passed.iter().any(|account| account.is_limited()) {
            return;
        }
        let now = self.counts();
        let mut is_used_up = shares.fold(now);
        if !is_same && shares.owner.replace(Arc::clone(owner)).is_none() {
            for account in owner.iter() {
                is_used_up |= account.add(now[0], now[1]);
            }
        }
        drop(shares);
        self.act_if(is_used_up);
    }

    /// Gives each account its share of the bytes that were counted since the last time. Returns whether a budget that cuts is used
    /// up by that.
    fn fold(&self) -> bool {
        let mut shares = lock(&self.shares);
        // Read under the lock: a thread that had waited for it would otherwise subtract newer counts from older ones.
        shares.fold(self.counts())
    }

    /// Gives each account its share now if one of them has a budget that cuts, and that may be used up soon. Has the keeper act
    /// at once if it is.
    #[cold]
    fn look_at_budgets(&self) {
        let mut shares = lock(&self.shares);
        let is_used_up = shares.passed.iter().any(|account| account.may_cut_soon())
            && shares.fold(self.counts());
        drop(shares);
        self.act_if(is_used_up);
    }

    /// Has the keeper act at once on a budget that is used up.
    fn act_if(&self, is_used_up: bool) {
        if is_used_up {
            self.activity.hurry();
        }
    }

    fn counts(&self) -> [u64; 2] {
        [self.sent.load(Relaxed), self.received.load(Relaxed)]
    }
}

impl Shares {
    /// Gives each account its share up to `now`. Returns whether a budget that cuts is used up by that.
    fn fold(&mut self, now: [u64; 2]) -> bool {
        let Self { passed, owner, until } = self;
        let new = [now[0].saturating_sub(until[0]), now[1].saturating_sub(until[1])];
        if new == [0, 0] {
            return false;
        }
        let mut is_used_up = false;
        for account in passed.iter().chain(owner.iter().flat_map(|owner| owner.iter())) {
            is_used_up |= account.add(new[0], new[1]);
        }
        *until = [until[0] + new[0], until[1] + new[1]];
        is_used_up
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
        if self.activity.begins() {
            self.look_at_budgets();
        }
    }

    fn received(&self, bytes: usize) {
        self.received.store(self.received.load(Relaxed) + bytes as u64, Relaxed);
        if self.activity.begins() {
            self.look_at_budgets();
        }
    }
}

impl Drop for CountedWire {
    fn drop(&mut self) {
        let is_used_up = self.fold();
        self.act_if(is_used_up);
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
        // The keeper acts on budgets right after this.
        for wire in &open {
            wire.fold();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_that_cuts_is_looked_at_with_each_count_and_ends_the_wait_of_the_keeper() {
        use std::time::{Duration, Instant};

        use crate::{
            budget::{Budget, Consequence, Per, Zone},
            usage::{UsageLedger, Woken},
        };

        let usage = UsageLedger::default();
        let budget = |cuts| {
            let (per, zone, then) = (Per::Month, Zone::default(), Consequence::Refuse);
            Budget { bytes: 100, per, zone, warn: 100, then, cuts }
        };
        let name = Arc::from("paid");
        let set = |cuts| usage.set_budgets([(&name, &budget(cuts))]);
        let paid = usage.hops.account("paid");
        let [wire, other] = [usage.wire(), usage.wire()];
        wire.passes(&paid, 0);
        other.passes(&Arc::default(), 0);
        for cuts in [false, true] {
            set(cuts);
            wire.sent(10);
            other.sent(1000);
            wire.received(10);
            let seen = if cuts { 40 } else { 0 };
            assert_eq!(paid.budget_use().unwrap().1.used, seen, "{cuts}");
        }
        wire.sent(60);
        let begun = Instant::now();
        let tick = Duration::from_secs(60);
        assert_eq!(usage.activity().wait(tick), Woken::Active);
        assert!(begun.elapsed() < tick / 2, "it waited for the next tick");
        assert!(paid.take_limit().is_some());
        // Without it, the next count after the first one asks for nothing.
        set(false);
        assert!(!usage.activity().begins() && !usage.activity().begins());
    }

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
