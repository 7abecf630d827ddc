//! The count of one hop, chain, route, session or target.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use arc_swap::ArcSwapOption;

use super::{BudgetUse, Sum, budget::Spending};
use crate::config::Budget;

/// The requests and bytes of one hop, chain, route, session or target; of a hop with a budget, also what is left of it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    spending: ArcSwapOption<Spending>,
}

impl Account {
    pub(super) fn add_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// Adds bytes in each direction.
    pub(super) fn add(&self, sent: u64, received: u64) {
        if sent + received == 0 {
            return;
        }
        self.sent.fetch_add(sent, Relaxed);
        self.received.fetch_add(received, Relaxed);
        if let Some(spending) = &*self.spending.load() {
            spending.add(sent + received, SystemTime::now());
        }
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

    /// Puts another budget in force, or none. What was used in the current period is kept if the period is the same.
    pub(super) fn set_budget(&self, budget: Option<Budget>) {
        let current = self.spending.load();
        let next = match (budget, &*current) {
            (Some(budget), Some(spending)) if *spending.budget() == budget => return,
            (Some(budget), Some(spending)) => Some(spending.under(budget)),
            (Some(budget), None) => Some(Spending::new(budget, SystemTime::now())),
            (None, _) => None,
        };
        self.spending.store(next.map(Arc::new));
    }

    /// Returns what is used of the budget in the current period, if the hop has one.
    pub(crate) fn budget_use(&self) -> Option<BudgetUse> {
        self.spending.load().as_ref().map(|spending| spending.now(SystemTime::now()))
    }

    /// Returns the budget, if the hop has one.
    pub(crate) fn budget(&self) -> Option<Budget> {
        self.spending.load().as_ref().map(|spending| spending.budget().clone())
    }

    /// Continues a period that an earlier process began.
    pub(super) fn restore_spending(&self, used: BudgetUse) {
        if let Some(spending) = &*self.spending.load() {
            spending.restore(used);
        }
    }

    /// Returns the budget of the hop if it is used up now.
    pub(crate) fn exhausted(&self) -> Option<(Budget, BudgetUse)> {
        let spending = self.spending.load();
        let spending = spending.as_ref().filter(|spending| spending.is_reached())?;
        let now = spending.now(SystemTime::now());
        spending.is_reached().then(|| (spending.budget().clone(), now))
    }

    /// Returns the events of the budget since the last call: that it is nearly used, or used up.
    pub(crate) fn take_news(&self) -> Option<(Budget, BudgetUse)> {
        let spending = self.spending.load();
        let spending = spending.as_ref()?;
        spending.take_news().then(|| (spending.budget().clone(), spending.now(SystemTime::now())))
    }

    /// Counts a request that the budget refused.
    pub(crate) fn refused(&self) {
        if let Some(spending) = &*self.spending.load() {
            spending.refused();
        }
    }
}
