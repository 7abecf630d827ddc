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

use std::{
    collections::{HashMap, hash_map::Entry},
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
    alike: Mutex<AlikeByKey>,
}

type AlikeByKey = HashMap<u64, SameRequests, RandomState>;

/// One unanswered request. Dropping it counts as its answer.
#[derive(Debug)]
pub(crate) struct Round {
    rounds: Arc<Rounds>,
    key: u64,
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
        let round = || Round { rounds: Arc::clone(self), key, step: AtomicU8::new(UNSENT) };
        // One look under the lock decides. In the usual case that is all, and nothing is awaited.
        let freed = {
            let mut alike = self.lock();
            let alike = alike.entry(key).or_insert_with(|| SameRequests::new(begun));
            // A round of a loop begins only after the one before has reached its hop, since that is
            // how it comes back. Clients that ask for the same thing at once don't wait for that.
            alike.is_serial &= alike.unsent == 0;
            alike.last_begun = begun;
            // A newcomer does not overtake those who wait.
            if alike.waiting == 0 && alike.running < limits.most {
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
        let mut alike = self.lock();
        // The entry is there as long as one request waits.
        let Some(alike) = alike.get_mut(&key) else { return Turn::Granted };
        if alike.running < limits.most {
            alike.run();
            return Turn::Granted;
        }
        // In a loop, only the newest round waits, since all others wait for it. If another request
        // waits too, or began a moment ago, this is more than a loop.
        let is_like_a_loop =
            alike.is_serial && alike.waiting == 1 && alike.running >= EVIDENT_ROUNDS;
        let (due, error) = if is_like_a_loop {
            (alike.last_begun + SILENCE_OF_A_LOOP, NotAdmitted::Loop(alike.running))
        } else {
            // Each answer begins the wait again: a hop that answers others is slow and not dead,
            // and this request gets its turn.
            let since = alike.last_answered.map_or(begun, |answered| answered.max(begun));
            (since + limits.patience, NotAdmitted::Unanswered(alike.running))
        };
        if Instant::now() < due { Turn::WaitUntil(due) } else { Turn::Over(error) }
    }

    fn lock(&self) -> MutexGuard<'_, AlikeByKey> {
        // Each change is a single step, so a panic elsewhere leaves the counts right.
        self.alike.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `change` to the requests under `key`, which are forgotten with the last one.
    fn change(&self, key: u64, change: impl FnOnce(&mut SameRequests)) {
        if let Entry::Occupied(mut alike) = self.lock().entry(key) {
            change(alike.get_mut());
            // Nothing is kept about what is not under way, so a client can't fill the memory with
            // names.
            if alike.get().running + alike.get().waiting == 0 {
                alike.remove();
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

    /// Notes that the request was answered, or has failed.
    pub(crate) fn answered(&self) {
        // Called when the answer comes and again when the round is dropped, and counts once.
        let step = self.step.swap(ANSWERED, Relaxed);
        if step == ANSWERED {
            return;
        }
        self.rounds.change(self.key, |alike| {
            alike.running -= 1;
            alike.unsent -= usize::from(step == UNSENT);
            // One answer rules a loop out: its rounds are answered only after the newest one was.
            alike.is_serial = false;
            alike.last_answered = Some(Instant::now());
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
        self.answered();
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
            freed: None,
        }
    }

    fn run(&mut self) {
        self.running += 1;
        self.unsent += 1;
    }
}

const UNSENT: u8 = 0;
const SENT: u8 = 1;
const ANSWERED: u8 = 2;
/// Fewer requests in a row say nothing.
const EVIDENT_ROUNDS: usize = 8;
/// How long nothing must happen before a row of requests is taken for a loop.
const SILENCE_OF_A_LOOP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn limits(connections: usize) -> RoundLimits {
        RoundLimits::new(connections, PATIENCE)
    }

    async fn fill(rounds: &Arc<Rounds>, count: usize, is_serial: bool) -> Vec<Round> {
        let mut begun = Vec::new();
        for _ in 0..count {
            let round = rounds.begin("a", limits(200)).await.unwrap();
            if is_serial {
                round.reached_hop();
            }
            begun.push(round);
        }
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_of_one_request_fail_after_a_short_silence() {
        let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
        let begun = fill(&rounds, 19, true).await;
        assert_eq!(rounds.begin("a", limits(200)).await.unwrap_err(), NotAdmitted::Loop(19));
        assert_eq!(start.elapsed().as_secs(), SILENCE_OF_A_LOOP.as_secs());
        assert!(rounds.begin("b", limits(200)).await.is_ok());
        drop(begun);
        assert!(rounds.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn heavy_traffic_to_one_target_waits_for_its_turn() {
        let rounds = Arc::new(Rounds::default());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let rounds = Arc::clone(&rounds);
            tasks.spawn(async move {
                let round = rounds.begin("a", limits(200)).await.unwrap();
                sleep(Duration::from_millis(900)).await;
                round.reached_hop();
                sleep(Duration::from_millis(100)).await;
                round.answered();
            });
        }
        let start = Instant::now();
        tasks.join_all().await;
        assert_eq!(start.elapsed().as_secs(), 500_u64.div_ceil(19));
        assert!(rounds.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_hop_is_no_loop_while_others_ask_too() {
        let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
        let begun = fill(&rounds, 19, true).await;
        let (one, other) =
            tokio::join!(rounds.begin("a", limits(200)), rounds.begin("a", limits(200)));
        let unanswered = NotAdmitted::Unanswered(19);
        // The first one gone leaves a single one, after the silence.
        assert_eq!(one.unwrap_err(), unanswered);
        assert!(other.is_err() && start.elapsed() == PATIENCE);
        drop(begun);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_once_are_no_loop() {
        let (rounds, start) = (Arc::new(Rounds::default()), Instant::now());
        let _begun = fill(&rounds, 19, false).await;
        assert_eq!(rounds.begin("a", limits(200)).await.unwrap_err(), NotAdmitted::Unanswered(19));
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_the_queue_leaves_nothing() {
        let rounds = Arc::new(Rounds::default());
        let begun = fill(&rounds, 19, true).await;
        let short = Duration::from_secs(1);
        assert!(tokio::time::timeout(short, rounds.begin("a", limits(200))).await.is_err());
        drop(begun);
        assert!(rounds.lock().is_empty());
    }
}
