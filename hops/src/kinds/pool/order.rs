//! The order in which a connection tries the members of a pool.
//!
//! A pool may have ten thousand members, and a connection takes one of them. So the order is never written down: it is a
//! rule that gives one member after the other, and the first one costs the same however many there are.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    Pick,
    counts::MemberCounts,
    health::{Health, LeftOut, Taken},
};
use crate::{Hop, MemberStatus, Request, member_ledger::Labelled, preferences::stable_number};

/// A member that is switched on.
#[derive(Clone, Debug)]
pub(super) struct PoolMember {
    pub(super) hop: Arc<dyn Hop>,
    /// Its name below the pool, such as `members[0]`.
    pub(super) name: Arc<str>,
    /// Its own name below `hops:`, if it has one.
    pub(super) hop_name: Option<Arc<str>>,
    /// The number by which its health is known. No two members of a process have the same, but a member that stays in a
    /// list keeps its own.
    pub(super) number: usize,
    /// A number that the member has in every process, wherever in the list it is.
    pub(super) identity: u64,
    /// A hash of the line of a list that it comes from, by which it is found in a later list. Zero without a list.
    pub(super) fingerprint: u64,
    /// Whether it is in a list, in which an edit moves others.
    pub(super) is_listed: bool,
    pub(super) takes_preferences: bool,
    pub(super) counts: Arc<MemberCounts>,
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
    /// The index of the member that comes before all others, since an earlier connection of the client had it.
    repeated: Option<usize>,
    /// Whether only members that take preferences will do.
    must_take_preferences: bool,
    /// The members that were taken already: a few, since a connection makes only a few detours.
    taken: Vec<usize>,
    #[cfg(test)]
    looked_at: usize,
}

impl PoolMember {
    /// Creates a member that nothing is known of.
    pub(super) fn new(hop: Arc<dyn Hop>, name: impl Into<Arc<str>>, identity: u64) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let takes_preferences = hop.describe().takes_preferences;
        let (name, hop_name, counts) = (name.into(), None, Arc::default());
        let (fingerprint, is_listed) = (0, false);
        Self {
            hop,
            name,
            hop_name,
            number,
            identity,
            fingerprint,
            is_listed,
            takes_preferences,
            counts,
        }
    }

    /// Notes the member's own name below `hops:`.
    pub(super) fn named(self, hop_name: Option<Arc<str>>) -> Self {
        Self { hop_name, ..self }
    }

    /// Notes that it comes from a line of a list with this hash.
    pub(super) fn listed(self, fingerprint: u64) -> Self {
        Self { fingerprint, is_listed: true, ..self }
    }

    /// Returns what its label is made of. A member that is written in `members` has its place as its label.
    pub(super) fn labelled(&self) -> Labelled {
        let address = || self.hop.describe().address.map(ToString::to_string);
        let usual = self.is_listed.then(address).flatten();
        Labelled { usual, name: Arc::clone(&self.name) }
    }

    /// Describes the member, which may be `left_out`.
    pub(super) fn status(&self, left_out: Option<&LeftOut>) -> MemberStatus {
        let description = self.hop.describe();
        let status = MemberStatus {
            scheme: description.scheme,
            hop: self.hop_name.clone(),
            ..MemberStatus::new(Arc::clone(&self.name), description.address.cloned())
        };
        self.counts.shown_in(LeftOut::shown_in(left_out, Some(&*self.hop), status))
    }
}

impl Order {
    /// Creates the order of `members`. `turn` is the number of connections that have taken their turn already.
    pub(super) fn new(pick: Pick, members: &[PoolMember], turn: usize) -> Self {
        match pick {
            Pick::Failover => Self::Failover,
            Pick::RoundRobin => Self::RoundRobin(AtomicUsize::new(turn)),
            Pick::Random => Self::Random(RandomState::new(), AtomicUsize::new(0)),
            Pick::Sticky => Self::Sticky(Ring::new(members)),
            Pick::LeastUsed => {
                Self::LeastUsed(Mutex::new((0..members.len()).map(|index| (0, index)).collect()))
            }
        }
    }

    /// Returns how many connections have taken their turn, for the order that follows this one.
    pub(super) fn turn(&self) -> usize {
        match self {
            Self::RoundRobin(turns) => turns.load(Ordering::Relaxed),
            _ => 0,
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

    /// Returns the candidates for a `request` that comes back to the member at `index`, if that is in use. It takes no turn.
    pub(super) fn candidates_after(
        &self,
        index: usize,
        request: Request<'_>,
        must_take_preferences: bool,
    ) -> Candidates {
        let (start, stride) = match self {
            Self::RoundRobin(turns) => (turns.load(Ordering::Relaxed), 1),
            Self::Random(..) => (index, 1),
            Self::Failover | Self::LeastUsed(_) | Self::Sticky(_) => {
                let candidates = self.candidates(request, must_take_preferences);
                (candidates.start, candidates.stride)
            }
        };
        let repeated = Some(index);
        Candidates { start, stride, repeated, must_take_preferences, ..Candidates::default() }
    }

    /// Takes the first of `candidates` that is well or may be tried, and removes it from them. Returns its index too.
    pub(super) fn take(
        &self,
        candidates: &mut Candidates,
        members: &[PoolMember],
        health: &Health,
    ) -> Option<(usize, Taken)> {
        let count = members.len();
        let (index, taken) = match self {
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
                let (index, taken) = candidates.take(in_order, members, health)?;
                let used = uses.iter().find(|(_, member)| *member == index).copied();
                if let Some((times, member)) = used {
                    uses.remove(&(times, member));
                    uses.insert((times + 1, member));
                }
                (index, taken)
            }
            Self::Failover | Self::RoundRobin(_) | Self::Random(..) => {
                let (start, stride) = (candidates.start, coprime(candidates.stride, count));
                let at = |step: usize| (start % count + step * stride) % count;
                let (index, taken) = candidates.take((0..count).map(at), members, health)?;
                // The turn goes on behind the member that was taken. Otherwise a member would have the turns of all those
                // before it that are left out.
                if let Self::RoundRobin(turns) = self
                    && candidates.taken.is_empty()
                    && candidates.repeated.is_none()
                {
                    let skipped = (index + count - start % count) % count;
                    turns.fetch_add(skipped, Ordering::Relaxed);
                }
                (index, taken)
            }
        };
        candidates.taken.push(index);
        Some((index, taken))
    }
}

impl Candidates {
    fn take(
        &mut self,
        in_order: impl Iterator<Item = usize> + Clone,
        members: &[PoolMember],
        health: &Health,
    ) -> Option<(usize, Taken)> {
        let is_allowed = |index: &usize| {
            let is_able = members.get(*index).is_some_and(|member| self.allow(member));
            is_able && !self.taken.contains(index)
        };
        #[cfg(test)]
        let looked_at = std::cell::Cell::new(0);
        let allowed = self.repeated.into_iter().chain(in_order).filter(is_allowed);
        #[cfg(test)]
        let allowed = allowed.inspect(|_| looked_at.set(looked_at.get() + 1));
        let number = |index: usize| members.get(index).map_or(usize::MAX, |one| one.number);
        let taken = health.take(allowed, number);
        #[cfg(test)]
        {
            self.looked_at += looked_at.get();
        }
        taken
    }

    /// Returns whether `member` can serve the connection.
    pub(super) fn allow(&self, member: &PoolMember) -> bool {
        !self.must_take_preferences || member.takes_preferences
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
