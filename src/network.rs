//! The network that this machine is in, and the conditions on it that switch hops on and off.
//!
//! A [`NetworkCondition`] is what an operator writes as `enabled: { when: … }`. Its leaves are facts: some are read from
//! the system's list of interfaces, others are [questions](Question) to a name server or a TCP port. [`Network`] holds
//! the present facts and says which conditions hold; [`NetworkKeeper`] keeps them up to date.
//!
//! Nothing here reloads anything. A changed outcome is announced by [`Network::changed`], and the reload that follows
//! takes the outcomes as an input, as it takes the files.

mod ask;
mod condition;
mod events;
mod facts;
mod interfaces;
mod keeper;
mod readiness;
mod shown_condition;
mod truth;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

pub(crate) use mooltiroute_hops::Glob;

pub(crate) use self::{
    condition::{NetworkCondition, Question, Requirement},
    keeper::NetworkKeeper,
    shown_condition::ShownCondition,
    truth::Truth,
};
use self::{
    facts::Facts,
    interfaces::Interfaces,
    readiness::{Readiness, Waiting},
};

/// The present facts about the network, shared by everything that depends on them.
///
/// The lock is held for a few instructions, and never across an `.await`.
#[derive(Debug)]
pub(crate) struct Network {
    facts: Mutex<Facts>,
    /// The count of changes in the facts, which each request with a PAC file looks at.
    changes: Arc<AtomicU64>,
    /// Notified when any fact or outcome has changed, for requests that wait.
    moved: Notify,
    /// Notified when an outcome differs from the one in force, for the reload.
    flipped: Notify,
    /// Notified when the keeper has something to do.
    wanted: Notify,
}

/// The conditions that the way of a request depends on.
#[derive(Clone, Debug)]
pub(crate) struct Dependence {
    network: Arc<Network>,
    conditions: Arc<[Arc<NetworkCondition>]>,
}

/// The outcome of a condition is not in force, although it should be by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled;

impl Default for Network {
    fn default() -> Self {
        let facts = Facts::default();
        let (moved, flipped, wanted) = (Notify::new(), Notify::new(), Notify::new());
        let changes = Arc::clone(&facts.changes);
        Self { facts: Mutex::new(facts), changes, moved, flipped, wanted }
    }
}

impl Network {
    /// Returns whether the hop with `condition` is switched on. Reads the list of interfaces if nothing did so far.
    pub(crate) fn is_on(&self, condition: &NetworkCondition) -> bool {
        let mut facts = self.facts();
        facts.complete_interfaces();
        facts.is_on(condition)
    }

    /// Describes `condition` with its present value, and the facts that it depends on.
    pub(crate) fn shown(&self, condition: &NetworkCondition) -> ShownCondition {
        let mut facts = self.facts();
        facts.complete_interfaces();
        ShownCondition::new(condition, &facts)
    }

    /// Asks every question of `conditions` once, and waits for the answers.
    pub(crate) async fn ask_once(&self, conditions: &[Arc<NetworkCondition>]) {
        // All at once, so that the wait is as long as the longest of them and not as their sum.
        let mut asks = tokio::task::JoinSet::new();
        for question in condition::questions(conditions) {
            asks.spawn(async move { (question.clone(), ask::ask(question).await) });
        }
        while let Some(heard) = asks.join_next().await {
            if let Ok((question, answer)) = heard {
                self.facts().heard(question, answer);
            }
        }
    }

    /// Asks the questions of all conditions in force, unless that was done within the last second, and waits for the answers,
    /// but no longer than `patience`.
    pub(crate) async fn refresh(&self, patience: std::time::Duration) {
        let begun = Instant::now();
        if !self.facts().wants_fresh_answers(begun) {
            return;
        }
        self.wanted.notify_one();
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.facts().has_answers_since(begun)
                || timeout_at(begun + patience, moved).await.is_err()
            {
                return;
            }
        }
    }

    /// Waits until an outcome differs from the one in force.
    pub(crate) async fn changed(&self) {
        self.flipped.notified().await;
    }

    /// Returns the reasons for which outcomes differ from those in force, in words for the log.
    pub(crate) fn causes(&self) -> Vec<String> {
        self.facts().causes()
    }

    /// Returns a number that differs after each change of the network. It stays the same if nothing of the configuration
    /// depends on the network.
    pub(crate) fn changes_so_far(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Activates the outcomes of conditions that a configuration was built with. `is_followed` says whether hops have
    /// to hear of changes that no condition depends on.
    pub(crate) fn put_in_force(
        &self,
        outcomes: impl IntoIterator<Item = (Arc<NetworkCondition>, bool)>,
        is_followed: bool,
    ) {
        self.facts().put_in_force(outcomes.into_iter().collect(), is_followed);
        // A fact may have changed since the configuration was built.
        self.announce();
        self.wanted.notify_one();
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        // No code that could panic runs while it is held.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces what has changed: to the reload if an outcome has, and to requests that wait.
    fn announce(&self) {
        // What is decided now counts later, if it can't be decided any more (see `Facts::is_on`).
        let is_flipped = {
            let mut facts = self.facts();
            facts.remember_decided();
            facts.differs()
        };
        if is_flipped {
            self.flipped.notify_one();
        }
        self.moved.notify_waiters();
    }
}

impl Dependence {
    /// Returns what a request depends on, or `None` if that is nothing.
    pub(crate) fn new(
        network: &Arc<Network>,
        conditions: &[Arc<NetworkCondition>],
    ) -> Option<Self> {
        let is_needed = !conditions.is_empty();
        is_needed.then(|| Self { network: Arc::clone(network), conditions: conditions.into() })
    }

    /// Waits until all conditions are decided and their outcomes are in force. If some stay undecided for longer than
    /// `patience`, what their `unknown` says takes effect. Asks again what was asked long ago, without waiting for
    /// the answer.
    ///
    /// # Errors
    /// An outcome could not take effect, since the reload was rejected or takes too long.
    pub(crate) async fn settle(&self, patience: std::time::Duration) -> Result<(), Unsettled> {
        let Self { network, conditions } = self;
        // Both kinds of waiting have a limit: facts are given up after `patience`, and a reload that was rejected
        // would never apply the outcome.
        let mut reload_due = None;
        loop {
            // Registered before the facts are read: a change between the two would otherwise be missed.
            let mut moved = std::pin::pin!(network.moved.notified());
            moved.as_mut().enable();
            let now = Instant::now();
            let Readiness { waiting, asks, gave_up } =
                network.facts().readiness(conditions, now, patience);
            if asks {
                network.wanted.notify_one();
            }
            // Giving up may change the outcome (see `Facts::is_on`), which then calls for a reload.
            if gave_up {
                network.announce();
            }
            let until = match waiting {
                None => return Ok(()),
                Some(Waiting::ForFacts(until)) => until,
                Some(Waiting::ForReload) => {
                    let due = *reload_due.get_or_insert(now + RELOAD_MAX);
                    if due <= now {
                        return Err(Unsettled);
                    }
                    due
                }
            };
            // Both ends are reasons to look again.
            let _ = timeout_at(until, moved).await;
        }
    }

    /// Asks the questions of all conditions again, since a hop that depends on them could not be reached.
    pub(crate) fn hop_failed(&self) {
        if self.network.facts().hop_failed(&self.conditions, Instant::now()) {
            self.network.wanted.notify_one();
        }
    }
}

/// How long a request waits for a reload that its conditions called for.
const RELOAD_MAX: std::time::Duration = std::time::Duration::from_secs(3);
