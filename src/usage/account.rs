//! The counts of one hop, chain, route, session or target.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use super::{
    BudgetUse, Sum,
    budget::{BudgetEvent, Spending},
    lock,
};
use crate::budget::Budget;

/// The requests and bytes of one hop, chain, route, session or target, and the use of its budget if it has one.
///
/// Several workers add to an account at the same time, so its counts are atomic. The use of a budget changes only when bytes
/// are folded in, so a lock is enough: about once a second for each stream, and with each count while a budget that cuts is
/// about to be used up. Requests only need to know whether the budget is used up, which is also kept in an atomic flag.
#[derive(Debug, Default)]
pub(crate) struct UsageAccount {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    spending: Mutex<Option<Spending>>,
    /// Whether there is a budget.
    is_limited: AtomicBool,
    /// Whether there is a budget that is used up, unless its period has ended meanwhile.
    is_reached: AtomicBool,
    /// Whether there is a budget that cuts, and that the bytes of a moment may use up.
    may_cut_soon: AtomicBool,
}

impl UsageAccount {
    /// Adds a request.
    pub(crate) fn add_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Adds bytes in each direction. Returns whether they have used up a budget that cuts.
    pub(super) fn add(&self, sent: u64, received: u64) -> bool {
        if sent + received == 0 {
            return false;
        }
        self.sent.fetch_add(sent, Relaxed);
        self.received.fetch_add(received, Relaxed);
        if !self.is_limited() {
            return false;
        }
        let used_up = |spending: &mut Spending| {
            let was_reached = spending.is_reached();
            spending.add(sent + received, SystemTime::now());
            spending.budget().cuts && !was_reached && spending.is_reached()
        };
        self.spend(used_up).unwrap_or_default()
    }

    /// Returns whether there is a budget that cuts, and that the bytes of a moment may use up.
    pub(super) fn may_cut_soon(&self) -> bool {
        self.may_cut_soon.load(Relaxed)
    }

    /// Returns whether there is a budget.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited.load(Relaxed)
    }

    /// Returns the counts.
    pub(crate) fn sum(&self) -> Sum {
        Sum {
            requests: self.requests.load(Relaxed),
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
        }
    }

    /// Adds the counts of an earlier process.
    pub(super) fn restore(&self, sum: Sum) {
        self.requests.fetch_add(sum.requests, Relaxed);
        self.sent.fetch_add(sum.sent, Relaxed);
        self.received.fetch_add(sum.received, Relaxed);
    }

    /// Sets another budget, or none. The use in the current period is kept if the period is the same.
    pub(super) fn set_budget(&self, budget: Option<Budget>) {
        let is_limited = budget.is_some();
        let mut current = lock(&self.spending);
        *current = match (budget, current.take()) {
            (Some(budget), Some(spending)) if *spending.budget() == budget => Some(spending),
            (Some(budget), Some(spending)) => Some(spending.under(budget, SystemTime::now())),
            (Some(budget), None) => Some(Spending::new(budget, SystemTime::now())),
            // The use is kept in case the budget comes back, for instance because its hop was commented out for a while. The
            // provider has not forgotten it either.
            (None, spending) => spending,
        };
        self.is_limited.store(is_limited, Relaxed);
        self.note(current.as_ref().filter(|_| is_limited));
    }

    /// Keeps the copies for requests and streams up to date.
    fn note(&self, spending: Option<&Spending>) {
        self.is_reached.store(spending.is_some_and(Spending::is_reached), Relaxed);
        self.may_cut_soon.store(spending.is_some_and(Spending::may_cut_soon), Relaxed);
    }

    /// Returns the budget and what is used of it in the current period, if the hop has one.
    pub(crate) fn budget_use(&self) -> Option<(Budget, BudgetUse)> {
        self.spend(|spending| {
            let used = spending.now(SystemTime::now());
            (spending.budget().clone(), used)
        })
    }

    /// Continues a period that an earlier process began.
    pub(super) fn restore_spending(&self, used: BudgetUse) {
        self.spend(|spending| spending.restore(used, SystemTime::now()));
    }

    /// Adds the part of the budget that another process has used.
    pub(super) fn spend_elsewhere(&self, used: BudgetUse) {
        self.spend(|spending| spending.add_of(used, SystemTime::now()));
    }

    /// Returns the budget of the hop if it is used up now.
    ///
    /// Each request calls this. It costs one read unless the budget is used up.
    pub(crate) fn exhausted(&self) -> Option<(Budget, BudgetUse)> {
        if !self.is_reached.load(Relaxed) {
            return None;
        }
        self.spend(|spending| {
            let used = spending.now(SystemTime::now());
            used.is_reached.then(|| (spending.budget().clone(), used))
        })?
    }

    /// Counts a request that the budget refused.
    pub(crate) fn refused(&self) {
        self.spend(Spending::refuse);
    }

    /// Counts a request that the budget sent through another chain.
    pub(crate) fn rerouted(&self) {
        self.spend(Spending::reroute);
    }

    /// Logs with `log` the last event of the budget, if it was not logged yet.
    ///
    /// The lock is held meanwhile, so the event is in the log when this returns, even if another thread logs it.
    pub(super) fn log_news(&self, log: impl Fn(BudgetEvent, &Budget, BudgetUse)) {
        self.spend(|spending| {
            let used = spending.now(SystemTime::now());
            if let Some(event) = spending.take_news() {
                log(event, spending.budget(), used);
            }
        });
    }

    /// Returns the budget if it is used up and this was not returned before.
    pub(crate) fn take_limit(&self) -> Option<Budget> {
        self.spend(|spending| {
            let _ = spending.now(SystemTime::now());
            spending.take_limit().then(|| spending.budget().clone())
        })?
    }

    /// Calls `work` with the use of the budget, if there is one, and updates the flags for requests and streams.
    fn spend<T>(&self, work: impl FnOnce(&mut Spending) -> T) -> Option<T> {
        if !self.is_limited() {
            return None;
        }
        let mut spending = lock(&self.spending);
        let spending = spending.as_mut()?;
        let done = work(spending);
        self.note(Some(spending));
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Consequence, Per, Zone};

    #[test]
    fn a_budget_that_is_taken_away_limits_nothing_and_comes_back_with_its_use() {
        let budget = Budget {
            bytes: 10,
            per: Per::Month,
            zone: Zone::default(),
            warn: 8,
            then: Consequence::Refuse,
            cuts: false,
        };
        let account = UsageAccount::default();
        account.add(100, 0);
        account.set_budget(Some(budget.clone()));
        assert!(account.exhausted().is_none(), "it counts from now on");
        account.add(5, 5);
        assert!(account.take_limit().is_some() && account.take_limit().is_none());
        assert!(account.exhausted().is_some());
        account.refused();
        account.rerouted();
        account.rerouted();
        let used = account.budget_use().unwrap().1;
        assert_eq!((used.refused, used.rerouted), (1, 2));
        account.set_budget(Some(Budget { bytes: 20, ..budget.clone() }));
        assert!(account.exhausted().is_none());
        account.add(10, 0);
        assert!(account.exhausted().is_some());
        account.set_budget(None);
        assert!(account.exhausted().is_none() && account.budget_use().is_none());
        account.set_budget(Some(budget));
        assert_eq!(account.exhausted().unwrap().1.used, 20);
    }
}
