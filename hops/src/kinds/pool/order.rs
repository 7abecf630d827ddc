//! The order in which a connection tries the members of a pool.
//!
//! A pool may have ten thousand members, and a connection takes one of them. So the order is never written down: it is a
//! rule that gives one member after the other, and the first one costs the same however many there are.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    Pick,
    health::{Health, Taken},
};
use crate::{Hop, MemberStatus, Request, preferences::stable_number};

/// A member that is switched on.
#[derive(Debug)]
pub(super) struct PoolMember {
    pub(super) hop: Arc<dyn Hop>,
    /// Its name below the pool, such as `members[0]`.
    pub(super) name: Box<str>,
    /// Its own name below `hops:`, if it has one.
    pub(super) hop_name: Option<Arc<str>>,
    /// A number that the member keeps if others come and go.
    identity: u64,
    pub(super) takes_preferences: bool,
    /// Connections that it carried.
    pub(super) reached: AtomicU64,
    /// Connections that it failed.
    pub(super) failed: AtomicU64,
}

/// The rule by which a pool orders its members.
#[derive(Debug)]
pub(super) enum Order {
    Failover,
    RoundRobin(AtomicUsize),
    Random(RandomState, AtomicUsize),
    Sticky(Ring),
    LeastUsed(Mutex<BTreeSet<Use>>),
}

/// How many connections a member carried, and its index: the least of these is the one to take.
type Use = (u64, usize);

/// Members on a circle, each at several points. A key belongs to the next point behind it, so a member that leaves the
/// list moves its own keys and no others.
#[derive(Debug)]
pub(super) struct Ring(Vec<(u64, u32)>);

/// The members that one connection may still take.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    /// The place in the order to begin at, and the stride from one member to the next.
    start: usize,
    stride: usize,
    /// Whether only members that take preferences will do.
    must_take_preferences: bool,
    /// The members that were taken already: a few, since a connection makes only a few detours.
    taken: Vec<usize>,
    #[cfg(test)]
    looked_at: usize,
}

impl PoolMember {
    pub(super) fn new(hop: Arc<dyn Hop>, name: Box<str>, identity: u64) -> Self {
        let takes_preferences = hop.describe().takes_preferences;
        let (reached, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { hop, name, hop_name: None, identity, takes_preferences, reached, failed }
    }

    /// Notes the member's own name below `hops:`.
    pub(super) fn named(self, hop_name: Option<Arc<str>>) -> Self {
        Self { hop_name, ..self }
    }

    /// Describes the member, which is `left_out` for that long.
    pub(super) fn status(&self, left_out: Option<Duration>) -> MemberStatus<'_> {
        let description = self.hop.describe();
        MemberStatus {
            scheme: description.scheme,
            reached: self.reached.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            left_out,
            ..MemberStatus::new(&self.name, description.address)
        }
    }
}

impl Order {
    pub(super) fn new(pick: Pick, members: &[PoolMember]) -> Self {
        match pick {
            Pick::Failover => Self::Failover,
            Pick::RoundRobin => Self::RoundRobin(AtomicUsize::new(0)),
            Pick::Random => Self::Random(RandomState::new(), AtomicUsize::new(0)),
            Pick::Sticky => Self::Sticky(Ring::new(members)),
            Pick::LeastUsed => {
                Self::LeastUsed(Mutex::new((0..members.len()).map(|index| (0, index)).collect()))
            }
        }
    }

    /// Returns the candidates for `request`.
    pub(super) fn candidates(
        &self,
        request: Request<'_>,
        must_take_preferences: bool,
    ) -> Candidates {
        let (start, stride) = match self {
            Self::Failover | Self::LeastUsed(_) => (0, 1),
            Self::RoundRobin(turns) => (turns.fetch_add(1, Ordering::Relaxed), 1),
            Self::Random(seed, turns) => {
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                (seed.hash_one(turn) as usize, seed.hash_one((turn, "stride")) as usize)
            }
            Self::Sticky(ring) => (ring.place_of(&key(request)), 1),
        };
        Candidates { start, stride, must_take_preferences, ..Candidates::default() }
    }

    /// Takes the first of `candidates` that is well or may be tried, and removes it from them.
    pub(super) fn take(
        &self,
        candidates: &mut Candidates,
        members: &[PoolMember],
        health: &Health,
    ) -> Option<Taken> {
        let count = members.len();
        let taken = match self {
            Self::Sticky(Ring(points)) => {
                let start = candidates.start;
                let place = |offset: usize| (start + offset) % points.len();
                let at = |offset| points.get(place(offset)).map(|(_, member)| *member as usize);
                candidates.take((0..points.len()).filter_map(at), members, health)?
            }
            Self::LeastUsed(uses) => {
                // One that panicked while it held the lock left a set that is still right.
                let mut uses = uses.lock().unwrap_or_else(PoisonError::into_inner);
                let in_order = uses.iter().map(|(_, member)| *member);
                let taken = candidates.take(in_order, members, health)?;
                let used = uses.iter().find(|(_, member)| *member == taken.member).copied();
                if let Some((times, member)) = used {
                    uses.remove(&(times, member));
                    uses.insert((times + 1, member));
                }
                taken
            }
            Self::Failover | Self::RoundRobin(_) | Self::Random(..) => {
                let (start, stride) = (candidates.start, coprime(candidates.stride, count));
                let at = |step: usize| (start % count + step * stride) % count;
                candidates.take((0..count).map(at), members, health)?
            }
        };
        candidates.taken.push(taken.member);
        Some(taken)
    }
}

impl Candidates {
    fn take(
        &mut self,
        in_order: impl Iterator<Item = usize> + Clone,
        members: &[PoolMember],
        health: &Health,
    ) -> Option<Taken> {
        let is_allowed = |index: &usize| {
            let is_able = !self.must_take_preferences
                || members.get(*index).is_some_and(|member| member.takes_preferences);
            is_able && !self.taken.contains(index)
        };
        #[cfg(test)]
        let looked_at = std::cell::Cell::new(0);
        let allowed = in_order.filter(is_allowed);
        #[cfg(test)]
        let allowed = allowed.inspect(|_| looked_at.set(looked_at.get() + 1));
        let taken = health.take(allowed);
        #[cfg(test)]
        {
            self.looked_at += looked_at.get();
        }
        taken
    }

    /// Returns how many members were looked at so far.
    #[cfg(test)]
    pub(super) fn looked_at(&self) -> usize {
        self.looked_at
    }
}

impl Ring {
    fn new(members: &[PoolMember]) -> Self {
        let points = members.iter().zip(0_u32..).flat_map(|(member, index)| {
            (0..POINTS)
                .map(move |point| (stable_number(&format!("{} {point}", member.identity)), index))
        });
        let mut points: Vec<_> = points.collect();
        points.sort_unstable();
        Self(points)
    }

    /// Returns the place of the point that `key` belongs to.
    fn place_of(&self, key: &str) -> usize {
        let number = stable_number(key);
        self.0.partition_point(|(point, _)| *point < number)
    }
}

/// Returns what decides on the member of a request, if equal requests are to take the same one.
fn key(request: Request<'_>) -> String {
    match &request.preferences.session {
        Some(session) => format!("session {session}"),
        None => format!("host {}", request.target.host()).to_ascii_lowercase(),
    }
}

/// Returns a stride near `stride` by which each of `count` places is reached before any of them comes again.
fn coprime(stride: usize, count: usize) -> usize {
    let mut stride = stride % count.max(1);
    while greatest_common_divisor(stride, count) > 1 {
        stride += 1;
    }
    stride.max(1)
}

fn greatest_common_divisor(one: usize, other: usize) -> usize {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// The points of a member on the ring. With more of them the shares are more equal, and the ring takes more memory: with
/// 32, a share differs from the mean by about a fifth.
const POINTS: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stride_reaches_every_place() {
        for count in 1..60 {
            for stride in 0..70 {
                let stride = coprime(stride, count);
                let reached: BTreeSet<_> = (0..count).map(|step| step * stride % count).collect();
                assert_eq!(reached.len(), count, "{stride} of {count}");
            }
        }
    }
}
