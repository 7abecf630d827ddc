//! What is used of a budget.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::lock;
use crate::config::{Budget, Period};

/// The part of a budget that is used, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetUse {
    /// The period, in seconds since 1970.
    pub period: Period,
    /// The bytes so far in this period.
    pub used: u64,
    /// Requests that were refused or sent another way since the process began.
    #[serde(skip)]
    pub refused: u64,
    /// Whether the warning is due or was given.
    pub is_warned: bool,
    /// Whether the budget is used up.
    pub is_reached: bool,
}

/// A budget in force, and what is used of it.
#[derive(Debug)]
pub(super) struct Spending {
    budget: Budget,
    current: Mutex<Current>,
    /// A copy of the one in `current`, so that requests take no lock.
    is_reached: AtomicBool,
    refused: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Current {
    period: Period,
    used: u64,
    /// What the log has been told: a warning, or that the limit is reached.
    told: Told,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    #[default]
    Nothing,
    Warning,
    Limit,
}

impl Spending {
    pub(super) fn new(budget: Budget, now: SystemTime) -> Self {
        let period = budget.per.around(now, &budget.zone);
        let current = Mutex::new(Current { period, ..Current::default() });
        Self { budget, current, is_reached: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns this spending under other terms. The bytes count on if the period is the same.
    pub(super) fn under(&self, budget: Budget) -> Self {
        let next = Self::new(budget, SystemTime::now());
        let old = *lock(&self.current);
        next.adopt(old);
        next.refused.store(self.refused.load(Relaxed), Relaxed);
        next
    }

    fn adopt(&self, old: Current) {
        let mut current = lock(&self.current);
        if current.period == old.period {
            current.used += old.used;
            // A limit that was raised may be reached again, and is told again.
            current.told = old.told.min(self.due(current.used));
        }
        self.is_reached.store(current.used >= self.budget.bytes, Relaxed);
    }

    /// Continues what an earlier process counted, if the period is not over.
    pub(super) fn restore(&self, used: BudgetUse) {
        let told = match used {
            BudgetUse { is_reached: true, .. } => Told::Limit,
            BudgetUse { is_warned: true, .. } => Told::Warning,
            _ => Told::Nothing,
        };
        self.adopt(Current { period: used.period, used: used.used, told });
    }

    /// Adds bytes to the period that `now` is in.
    pub(super) fn add(&self, bytes: u64, now: SystemTime) {
        let mut current = lock(&self.current);
        self.roll(&mut current, now);
        current.used += bytes;
        self.is_reached.store(current.used >= self.budget.bytes, Relaxed);
    }

    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Relaxed)
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Returns what is used in the period that `now` is in.
    pub(super) fn now(&self, now: SystemTime) -> BudgetUse {
        let mut current = lock(&self.current);
        self.roll(&mut current, now);
        BudgetUse {
            period: current.period,
            used: current.used,
            refused: self.refused.load(Relaxed),
            is_warned: current.used >= self.budget.warn,
            is_reached: current.used >= self.budget.bytes,
        }
    }

    /// Returns whether there is something new to log. Each event of a period is returned once.
    pub(super) fn take_news(&self) -> bool {
        let mut current = lock(&self.current);
        let due = self.due(current.used);
        let is_news = due > current.told;
        current.told = due;
        is_news
    }

    fn due(&self, used: u64) -> Told {
        if used >= self.budget.bytes {
            Told::Limit
        } else if used >= self.budget.warn {
            Told::Warning
        } else {
            Told::Nothing
        }
    }

    /// Begins the period that `now` is in, if the last one is over. A clock that was set back begins no new one.
    fn roll(&self, current: &mut Current, now: SystemTime) {
        if current.period.is_over(now) {
            let period = self.budget.per.around(now, &self.budget.zone);
            *current = Current { period, ..Current::default() };
            self.is_reached.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::config::{Consequence, Per, Zone};

    fn budget(bytes: u64) -> Budget {
        Budget {
            bytes,
            per: Per::Hour,
            zone: Zone::default(),
            warn: bytes * 8 / 10,
            then: Consequence::Refuse,
            cuts: false,
        }
    }

    #[test]
    fn a_period_has_one_warning_and_one_limit_and_then_begins_again() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let spending = Spending::new(budget(100), at(3600));
        spending.add(79, at(3601));
        assert!(!spending.take_news() && !spending.is_reached());
        spending.add(1, at(3602));
        assert!(spending.take_news() && !spending.take_news());
        spending.add(20, at(7199));
        assert!(spending.is_reached() && spending.take_news() && !spending.take_news());
        let used = spending.now(at(7199));
        assert_eq!((used.used, used.period), (100, Period { start: 3600, end: 7200 }));
        let next = spending.now(at(7200));
        assert_eq!((next.used, next.is_reached, spending.is_reached()), (0, false, false));
    }

    #[test]
    fn an_edit_keeps_what_was_used_in_the_period() {
        let spending = Spending::new(budget(100), SystemTime::now());
        spending.add(100, SystemTime::now());
        assert!(spending.take_news());
        let raised = spending.under(budget(200));
        assert!(!raised.is_reached());
        raised.add(100, SystemTime::now());
        assert!(raised.is_reached() && raised.take_news());
        let daily = Budget { per: Per::Day, ..budget(100) };
        assert_eq!(raised.under(daily).now(SystemTime::now()).used, 0, "another period");
    }
}
