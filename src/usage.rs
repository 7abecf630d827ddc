//! Counts the bytes that providers bill, keeps the counts across restarts, and compares them with budgets.
//!
//! A provider bills every byte that crosses its proxy: CONNECT and its answer, TLS with the proxy itself, and everything in the
//! tunnel. So the bytes of the stream below each hop are counted, and not those that are copied for the client:
//!
//! - [`CountedWire`] counts one stream, for each hop that the stream passes. Moving bytes only adds to two numbers.
//! - [`UsageLedger`] has a [`UsageAccount`] for each hop, chain, route, session and target. The counts of wires are added to
//!   accounts when they end, and every second while bytes move.
//! - [`BudgetUse`] is the part of a hop's [`Budget`] that is used in the current period.
//! - [`UsageFile`] keeps the accounts on disk. A thread of the proxy does both, and sleeps while no bytes move.

mod account;
mod announce;
mod book;
mod budget;
mod store;
mod wire;

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use mooltiroute_hops::Authority;

pub(crate) use self::{
    account::UsageAccount,
    announce::announce,
    budget::BudgetUse,
    store::{BudgetRecord, Sum, UsageFile, UsageRecord, is_no_record},
    wire::{CountedWire, Owner, RecentOwner, owned_by},
};
use self::{book::Book, wire::Wires};
use crate::budget::Budget;

/// All counts of this process. A file keeps them across restarts.
#[derive(Debug)]
pub(crate) struct UsageLedger {
    /// By hop.
    pub hops: Book,
    /// By chain.
    pub chains: Book,
    /// By route, as its targets are written.
    pub routes: Book,
    /// By the session that a client named.
    pub sessions: Book,
    /// By target.
    pub targets: Book<Authority>,
    wires: Wires,
    activity: Arc<Activity>,
    since: Mutex<SystemTime>,
}

/// Wakes the keeper when something is counted. Setting it again while it is set costs one load.
///
/// While a budget that cuts is about to be used up, each count also [asks](Self::begins) its stream to look at budgets. No other
/// count pays for that: the flag that says that the keeper is awake stays unset, so that each count takes the way of a first one.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Whether a count has nothing more to do.
    is_moving: AtomicBool,
    /// Whether the keeper knows that something was counted.
    is_told: AtomicBool,
    /// Whether a budget that cuts is about to be used up.
    is_watching: AtomicBool,
    state: Mutex<ActivityState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct ActivityState {
    is_awake: bool,
    is_urgent: bool,
    is_over: bool,
}

/// Why a wait for activity returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something was counted.
    Active,
    /// It was the last wait.
    Over,
}

impl Default for UsageLedger {
    fn default() -> Self {
        Self {
            hops: Book::default(),
            chains: Book::default(),
            routes: Book::default(),
            sessions: Book::default(),
            targets: Book::default(),
            wires: Wires::default(),
            activity: Arc::default(),
            since: Mutex::new(SystemTime::now()),
        }
    }
}

impl UsageLedger {
    /// Begins to count a new stream.
    pub(crate) fn wire(&self) -> Arc<CountedWire> {
        self.wires.begin(Arc::clone(&self.activity))
    }

    /// Adds the bytes that open streams have moved since the last call to the accounts.
    pub(crate) fn fold(&self) {
        self.wires.fold();
        self.watch_budgets();
    }

    /// Has each count look at the budgets while one that cuts may be used up before the next look from here.
    fn watch_budgets(&self) {
        self.activity.watch(self.hops.all().iter().any(|(_, account)| account.may_cut_soon()));
    }

    /// Returns a number that changes with each byte and each request that is counted.
    pub(crate) fn total(&self) -> u64 {
        self.chains.total().wrapping_add(self.routes.total())
    }

    /// Begins a request, which counts for `chain` and its hops as well as for its route, target and session.
    ///
    /// `recent` is the owner of the client's previous request. If this request has the same route, target and session, no name
    /// is looked up.
    pub(crate) fn begin_request(
        &self,
        chain: &[Arc<UsageAccount>],
        recent: &mut RecentOwner,
        (route, target, session): (&Arc<UsageAccount>, &Authority, Option<&str>),
    ) -> Owner {
        let owner = recent.owner(route, target, session, || {
            let target = self.targets.account(target);
            let session = session.map(|session| self.sessions.account(session));
            [Arc::clone(route), target].into_iter().chain(session).collect()
        });
        owner.iter().chain(chain).for_each(|account| account.add_request());
        self.activity.begins();
        owner
    }

    /// Returns the accounts as they are now.
    pub(crate) fn record(&self) -> UsageRecord {
        UsageRecord::of(self, *lock(&self.since))
    }

    /// Continues with the accounts of an earlier process.
    pub(crate) fn restore(&self, record: &UsageRecord) {
        self.begun(record.restore_into(self));
    }

    /// Adds the counts of other processes with the same file.
    pub(crate) fn add(&self, record: &UsageRecord) {
        self.begun(record.add_to(self));
    }

    /// Notes that counting began at `since`, unless it began earlier.
    fn begun(&self, since: Option<SystemTime>) {
        let mut begun = lock(&self.since);
        *begun = since.map_or(*begun, |since| since.min(*begun));
    }

    /// Sets these budgets, by hop. A budget that stays the same keeps its use.
    pub(crate) fn set_budgets<'a>(
        &self,
        budgets: impl IntoIterator<Item = (&'a Arc<str>, &'a Budget)>,
    ) {
        let wanted: Vec<_> = budgets.into_iter().collect();
        for (name, account) in self.hops.all() {
            if !wanted.iter().any(|(hop, _)| ***hop == *name) {
                account.set_budget(None);
            }
        }
        for (name, budget) in wanted {
            self.hops.account(name).set_budget(Some(budget.clone()));
        }
        self.watch_budgets();
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Activity {
    /// Notes that something was counted. Returns whether the stream is to look at its budgets.
    pub(crate) fn begins(&self) -> bool {
        !self.is_moving.load(Ordering::Relaxed) && self.tell()
    }

    #[cold]
    fn tell(&self) -> bool {
        if !self.is_told.load(Ordering::Relaxed) {
            self.wake();
        }
        self.is_watching.load(Ordering::Relaxed)
    }

    /// Wakes the waiting thread.
    #[cold]
    pub(crate) fn wake(&self) {
        self.is_told.store(true, Ordering::Relaxed);
        self.is_moving.store(!self.is_watching.load(Ordering::Relaxed), Ordering::Relaxed);
        lock(&self.state).is_awake = true;
        self.changed.notify_all();
    }

    /// Makes the waiter return now, and not after its tick.
    pub(crate) fn hurry(&self) {
        lock(&self.state).is_urgent = true;
        self.wake();
    }

    /// Begins to ask each count for a look at budgets, or ends that.
    fn watch(&self, is_watching: bool) {
        if self.is_watching.swap(is_watching, Ordering::Relaxed) != is_watching {
            self.wake();
        }
    }

    /// Ends all waiting for activity.
    pub(crate) fn end(&self) {
        lock(&self.state).is_over = true;
        self.changed.notify_all();
    }

    /// Waits until something is counted, and then for `tick`, to collect more counts. A budget that cuts and is used up ends
    /// the wait at once. After it returns, the next count is activity again.
    pub(crate) fn wait(&self, tick: Duration) -> Woken {
        let mut state = lock(&self.state);
        while !state.is_awake && !state.is_over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.is_over {
            let waited = self
                .changed
                .wait_timeout_while(state, tick, |state| !state.is_over && !state.is_urgent);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (state.is_awake, state.is_urgent) = (false, false);
        self.is_told.store(false, Ordering::Relaxed);
        self.is_moving.store(false, Ordering::Relaxed);
        if state.is_over { Woken::Over } else { Woken::Active }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The numbers are valid even after a panic under the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
