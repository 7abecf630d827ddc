//! Bounds the connections that one request can take if it keeps coming back to this proxy.
//!
//! Two proxies that are each other's hop pass a request round and round, and each round takes a connection of both. A
//! request that comes back can't be recognised in general: a hop sends its own CONNECT, and this proxy adds no field to
//! mark it unless `server.via` asks for that. But all rounds ask for the same thing, and none of them is answered while
//! the next one is on its way. So requests that go through hops are counted by what they ask for, from their beginning
//! to their answer, and at most a tenth of `limits.connections` may be unanswered at once. One more waits.
//!
//! Heavy traffic to one target meets the same bound, and only waits for its turn, since hops answer. Rounds of a loop
//! differ in three ways: each began after the one before had reached the hop, none is answered, and when the next
//! one waits, nothing else comes. After [`SILENCE_OF_A_LOOP`] of this the waiting request fails as a loop, and its failure
//! passes back through all rounds. Otherwise it waits as long as a hop may take to answer.
//!
//! A loop also outlives its client. When the client leaves, each round ends when it sees the one before it end, and frees a
//! place for a new round, so the loop would go on without a client. To prevent that, the place of a client that left is held
//! for as long as a hop may take to answer, unless the hop serves somebody. The newest round then waits until the end of
//! the others reaches it.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasher as _, Hash},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::chain::{Stage, Trace};

/// The unanswered requests of this process that go through hops, by what they ask for.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    hasher: RandomState,
    unanswered: Mutex<UnansweredRounds>,
}

#[derive(Debug, Default)]
struct UnansweredRounds {
    alike: AlikeByKey,
    /// When places are no longer held, and for which requests. The first to end comes first.
    held: VecDeque<(Instant, u64)>,
}

type AlikeByKey = HashMap<u64, SameRequests, RandomState>;

/// One unanswered request. Dropping it counts as its failure.
#[derive(Debug)]
pub(crate) struct Round {
    rounds: Arc<Rounds>,
    key: u64,
    patience: Duration,
    step: AtomicU8,
}

/// Why a request was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// This many requests for the same look like rounds of a single one.
    Loop(usize),
    /// None of this many requests for the same was answered in time.
    Unanswered(usize),
}

/// How many unanswered requests may ask for the same, and how long one more waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundLimits {
    most: usize,
    patience: Duration,
}

/// Unanswered requests that ask for the same.
#[derive(Debug)]
struct SameRequests {
    running: usize,
    waiting: usize,
    /// Running requests that have not reached a hop.
    unsent: usize,
    /// Whether each request began after all before it had reached a hop, and none was answered.
    is_serial: bool,
    last_begun: Instant,
    last_answered: Option<Instant>,
    /// Until when the places of clients that left are held.
    held: VecDeque<Instant>,
    /// Wakes the requests that wait. Most are never waited for.
    freed: Option<Arc<Notify>>,
}

/// A request in the queue, removed from it when dropped.
struct WaitingRound<'a>(&'a Rounds, u64);

enum Turn {
    Granted,
    WaitUntil(Instant),
    Over(NotAdmitted),
}

impl RoundLimits {
    /// Allows a tenth of `connections`, including one that waits for up to `patience`.
    pub(crate) fn new(connections: usize, patience: Duration) -> Self {
        Self { most: (connections / 10).saturating_sub(1).max(1), patience }
    }
}

impl Rounds {
    /// Counts a request for `asked`, or waits until there is room for it.
    ///
    /// # Errors
    /// No room came in time.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        asked: impl Hash,
        limits: RoundLimits,
    ) -> Result<Round, NotAdmitted> {
        let (key, begun) = (self.hasher.hash_one(asked), Instant::now());
        let (patience, step) = (limits.patience, || AtomicU8::new(UNSENT));
        let round = || Round { rounds: Arc::clone(self), key, patience, step: step() };
        // One look under the lock decides. In the usual case that is all, and nothing is awaited.
        let freed = {
            let mut unanswered = self.lock();
            unanswered.release_held(begun);
            let alike = unanswered.alike.entry(key).or_insert_with(|| SameRequests::new(begun));
            // A round of a loop begins only after the one before has reached its hop, since that is
            // how it comes back. Clients that ask for the same thing at once don't wait for that.
            alike.is_serial &= alike.unsent == 0;
            alike.last_begun = begun;
            // A newcomer does not overtake those who wait.
            if alike.waiting == 0 && alike.has_room(limits) {
                alike.run();
                return Ok(round());
            }
            alike.waiting += 1;
            Arc::clone(alike.freed.get_or_insert_default())
        };
        // Leaves the queue when it is dropped, also if the client goes away while it waits.
        let waiting = WaitingRound(self, key);
        loop {
            let mut changed = pin!(freed.notified());
            // Registered before the look, so that no place that is freed between the look and the
            // wait is missed.
            changed.as_mut().enable();
            match self.turn(key, begun, limits) {
                Turn::Granted => {
                    drop(waiting);
                    return Ok(round());
                }
                Turn::WaitUntil(due) => drop(timeout_at(due, changed).await),
                Turn::Over(error) => return Err(error),
            }
        }
    }

    fn turn(&self, key: u64, begun: Instant, limits: RoundLimits) -> Turn {
        let (mut unanswered, now) = (self.lock(), Instant::now());
        unanswered.release_held(now);
        // The entry is there as long as one request waits.
        let Some(alike) = unanswered.alike.get_mut(&key) else { return Turn::Granted };
        if alike.has_room(limits) {
            alike.run();
            return Turn::Granted;
        }
        let count = alike.running + alike.held.len();
        // In a loop, only the newest round waits, since all others wait for it. If another request
        // waits too, or began a moment ago, this is more than a loop.
        let is_like_a_loop = alike.is_serial && alike.waiting == 1 && count >= EVIDENT_ROUNDS;
        let (due, error) = if is_like_a_loop {
            (alike.last_begun + SILENCE_OF_A_LOOP, NotAdmitted::Loop(count))
        } else {
            // Each answer begins the wait again: a hop that answers others is slow and not dead,
            // and this request gets its turn.
            let since = alike.last_answered.map_or(begun, |answered| answered.max(begun));
            (since + limits.patience, NotAdmitted::Unanswered(count))
        };
        if now >= due {
            return Turn::Over(error);
        }
        Turn::WaitUntil(alike.held.front().map_or(due, |until| due.min(*until)))
    }

    fn lock(&self) -> MutexGuard<'_, UnansweredRounds> {
        // Each change is a single step, so a panic elsewhere leaves the counts right.
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `change` to the requests under `key`, which are forgotten with the last one.
    fn change(&self, key: u64, change: impl FnOnce(&mut SameRequests)) {
        let UnansweredRounds { alike, held } = &mut *self.lock();
        if let Entry::Occupied(mut alike) = alike.entry(key) {
            let held_before = alike.get().held.len();
            change(alike.get_mut());
            // Noted for all requests, since the next one may ask for something else.
            held.extend(alike.get().held.iter().skip(held_before).map(|until| (*until, key)));
            if alike.get().is_over() {
                alike.remove();
            }
        }
    }
}

impl UnansweredRounds {
    /// Frees the places that were held until `now`, and the oldest ones if there are too many.
    fn release_held(&mut self, now: Instant) {
        while let Some(&(until, key)) = self.held.front()
            && (until <= now || self.held.len() > HELD_PLACES_MAX)
        {
            self.held.pop_front();
            if let Entry::Occupied(mut alike) = self.alike.entry(key) {
                alike.get_mut().held.retain(|held| *held > until);
                if alike.get().is_over() {
                    alike.remove();
                }
            }
        }
    }
}

impl Round {
    /// Notes that the request has reached a hop.
    pub(crate) fn reached_hop(&self) {
        // Called after each step of the way. Only the first one that ends moves the count.
        if self.step.compare_exchange(UNSENT, SENT, Relaxed, Relaxed).is_ok() {
            self.rounds.change(self.key, |alike| alike.unsent -= 1);
        }
    }

    /// Notes that the hops served the request.
    pub(crate) fn served(&self) {
        self.end(|alike| {
            alike.was_answered();
            // The hops serve this target, so those who left had no part in a loop.
            alike.held.clear();
            if let Some(freed) = &alike.freed {
                freed.notify_waiters();
            }
        });
    }

    /// Notes that the request was refused, or has failed.
    pub(crate) fn failed(&self) {
        self.end(SameRequests::was_answered);
    }

    /// Notes that the client left before an answer.
    pub(crate) fn left(&self) {
        let until = Instant::now() + self.patience;
        self.end(|alike| alike.held.push_back(until));
    }

    /// Ends the round, and makes `change` to those like it. Only the first end counts: an answer comes before the drop.
    fn end(&self, change: impl FnOnce(&mut SameRequests)) {
        let step = self.step.swap(ENDED, Relaxed);
        if step == ENDED {
            return;
        }
        self.rounds.change(self.key, |alike| {
            alike.running -= 1;
            alike.unsent -= usize::from(step == UNSENT);
            change(alike);
            if let Some(freed) = &alike.freed {
                freed.notify_one();
            }
        });
    }
}

impl Trace for Round {
    fn passed(&self, _: impl FnOnce() -> Stage) {
        self.reached_hop();
    }

    fn logged_on(&self, _: impl FnOnce() -> Stage) {
        self.reached_hop();
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.failed();
    }
}

impl Drop for WaitingRound<'_> {
    fn drop(&mut self) {
        self.0.change(self.1, |alike| alike.waiting -= 1);
    }
}

impl SameRequests {
    fn new(now: Instant) -> Self {
        Self {
            running: 0,
            waiting: 0,
            unsent: 0,
            is_serial: true,
            last_begun: now,
            last_answered: None,
            held: VecDeque::new(),
            freed: None,
        }
    }

    /// Returns whether one more may be under way.
    fn has_room(&self, limits: RoundLimits) -> bool {
        // Few places would be held up by one impatient client, and more of them still end a loop.
        self.running < limits.most
            && self.running + self.held.len() < limits.most.max(HELD_ROUNDS_MIN)
    }

    /// Returns whether nothing is to be remembered. Little is kept about what is not under way, so a client can't fill the
    /// memory with names.
    fn is_over(&self) -> bool {
        self.running + self.waiting == 0 && self.held.is_empty()
    }

    fn was_answered(&mut self) {
        // One answer rules a loop out: its rounds are answered only after the newest one was.
        self.is_serial = false;
        self.last_answered = Some(Instant::now());
    }

    fn run(&mut self) {
        self.running += 1;
        self.unsent += 1;
    }
}

const UNSENT: u8 = 0;
const SENT: u8 = 1;
const ENDED: u8 = 2;
/// Fewer requests in a row say nothing.
const EVIDENT_ROUNDS: usize = 8;
/// How many places are held for all requests. A client that asks for many names and leaves takes this much memory at most.
const HELD_PLACES_MAX: usize = 10_000;
/// How many places can be held for clients that left, if there are fewer at once.
const HELD_ROUNDS_MIN: usize = 16;
/// How long nothing must happen before a row of requests is taken for a loop.
const SILENCE_OF_A_LOOP: Duration = Duration::from_secs(2);
