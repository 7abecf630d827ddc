//! The bytes of one stream on the wire, and the accounts that they count for.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use mooltiroute_hops::{Authority, CountWire, Stream as _, Tunnel};

use super::{Activity, UsageAccount, lock};

/// The accounts of a request beside those of its chain and hops: its route, its target, its session.
pub(crate) type Owner = Arc<[Arc<UsageAccount>]>;

/// The owner of the last request of one client, for the next one, which often asks for the same.
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
/// A stream has one user at a time, so a count needs no atomic addition: it is read, and the sum is written back. That
/// holds with several workers too. A connection stays with the one that accepted it, and a spare tunnel that one worker
/// made and another one uses passes through a lock in between, so the second reads what the first wrote. Everyone else
/// only reads the counts.
#[derive(Debug)]
pub(crate) struct CountedWire {
    sent: AtomicU64,
    received: AtomicU64,
    activity: Arc<Activity>,
    shares: Mutex<Shares>,
    registration: Mutex<Option<WirePlace>>,
}

/// Those who get the bytes of a stream.
#[derive(Debug, Default)]
struct Shares {
    /// The chain, and each hop that the stream passes, with the count up to which it has got its share.
    passed: Vec<(Arc<UsageAccount>, [u64; 2])>,
    /// The request that uses the stream at the moment.
    owner: Option<Owner>,
    owned: [u64; 2],
}

/// The streams that are open.
#[derive(Debug, Default)]
pub(super) struct Wires(Arc<Mutex<Slots>>);

/// A slab: freed places are used again.
#[derive(Debug, Default)]
struct Slots {
    places: Vec<Option<Weak<CountedWire>>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct WirePlace {
    slots: Weak<Mutex<Slots>>,
    place: usize,
}

impl CountedWire {
    /// Counts the bytes from here on for `account` too. `ahead` bytes were read and not yet used: they belong to it.
    pub(crate) fn passes(&self, account: &Arc<UsageAccount>, ahead: usize) {
        let [sent, received] = self.counts();
        let from = [sent, received.saturating_sub(ahead as u64)];
        lock(&self.shares).passed.push((Arc::clone(account), from));
    }

    /// Counts the bytes that no request has got so far, and those to come, for `owner`.
    fn owned_by(&self, owner: &Owner) {
        self.fold();
        lock(&self.shares).owner = Some(Arc::clone(owner));
        self.fold();
    }

    /// Gives each account its share of what was counted since the last time.
    fn fold(&self) {
        let mut shares = lock(&self.shares);
        // Read under the lock, or a thread that was slow to get it would subtract newer counts from older ones.
        let now = self.counts();
        let Shares { passed, owner, owned } = &mut *shares;
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

    fn counts(&self) -> [u64; 2] {
        [self.sent.load(Relaxed), self.received.load(Relaxed)]
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
    let wire = tunnel.bottom_wire().and_then(|wire| wire.as_any().downcast_ref::<CountedWire>());
    if let Some(wire) = wire {
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

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for CountedWire {
    fn drop(&mut self) {
        self.fold();
        if let Some(WirePlace { slots, place }) = lock(&self.registration).take()
            && let Some(slots) = slots.upgrade()
        {
            lock(&slots).remove(place);
        }
    }
}

impl Wires {
    /// Begins to count a stream.
    pub(super) fn begin(&self, activity: Arc<Activity>) -> Arc<CountedWire> {
        let wire = Arc::new(CountedWire {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            activity,
            shares: Mutex::default(),
            registration: Mutex::default(),
        });
        let place = lock(&self.0).add(Arc::downgrade(&wire));
        *lock(&wire.registration) = Some(WirePlace { slots: Arc::downgrade(&self.0), place });
        wire
    }

    pub(super) fn fold(&self) {
        // Upgraded one by one and not under the lock: the last owner of a stream takes the lock when it drops it.
        let open: Vec<_> = lock(&self.0).places.iter().flatten().cloned().collect();
        open.iter().filter_map(Weak::upgrade).for_each(|wire| wire.fold());
    }
}

impl Slots {
    fn add(&mut self, wire: Weak<CountedWire>) -> usize {
        if let Some(place) = self.free.pop()
            && let Some(free) = self.places.get_mut(place)
        {
            *free = Some(wire);
            return place;
        }
        self.places.push(Some(wire));
        self.places.len() - 1
    }

    fn remove(&mut self, place: usize) {
        if let Some(slot) = self.places.get_mut(place) {
            *slot = None;
            self.free.push(place);
        }
        if self.free.len() == self.places.len() {
            *self = Self::default();
        }
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
        assert!(lock(&wires.0).places.is_empty());
    }
}
