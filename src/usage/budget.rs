//! The used part of a budget.

use std::{mem, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, BudgetPeriod};

/// The used part of a budget at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetUse {
    /// The period, in seconds since 1970.
    pub period: BudgetPeriod,
    /// The bytes so far in this period.
    pub used: u64,
    /// Requests that were refused since the process began.
    #[serde(skip)]
    pub refused: u64,
    /// Requests that took another chain since the process began.
    #[serde(skip)]
    pub rerouted: u64,
    /// Whether the warning is due or was given.
    pub is_warned: bool,
    /// Whether the budget is used up.
    pub is_reached: bool,
}

/// A budget and its use in the current period.
#[derive(Debug)]
pub(super) struct Spending {
    budget: Budget,
    period: BudgetPeriod,
    used: u64,
    logged: Logged,
    /// Whether the limit was acted on in this period.
    is_enforced: bool,
    refused: u64,
    rerouted: u64,
    /// Other periods, the latest last. A clock that was wrong for a moment returns to one of them.
    left: Vec<LeftPeriod>,
    /// The uses of left periods of this group are parts of the present use.
    group: u32,
}

/// Another period, of this process or of an earlier one, and the use in it.
#[derive(Clone, Copy, Debug)]
struct LeftPeriod {
    period: BudgetPeriod,
    used: u64,
    logged: Logged,
    is_enforced: bool,
    /// Periods of one group have one use, since the clock went back from one to the other.
    group: u32,
}

/// An event in a period that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetEvent {
    /// The threshold of `warn` is passed.
    Warning,
    /// The budget is used up.
    Limit,
}

/// The last event of a period that was logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Logged {
    #[default]
    Nothing,
    Warning,
    Limit,
}

impl Spending {
    pub(super) fn new(budget: Budget, now: SystemTime) -> Self {
        let period = budget.per.around(now, &budget.zone);
        let (used, logged, is_enforced) = (0, Logged::Nothing, false);
        Self {
            budget,
            period,
            used,
            logged,
            is_enforced,
            refused: 0,
            rerouted: 0,
            left: Vec::new(),
            group: 0,
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Replaces the budget. The use is kept if the period is the same.
    pub(super) fn under(mut self, budget: Budget, now: SystemTime) -> Self {
        self.roll(now);
        let (refused, rerouted, left) = (self.refused, self.rerouted, mem::take(&mut self.left));
        let mut next =
            Self { refused, rerouted, left, group: self.group, ..Self::new(budget, now) };
        next.adopt(self.period, self.used, self.logged);
        next.is_enforced = self.is_enforced && next.logged == Logged::Limit;
        next
    }

    fn adopt(&mut self, period: BudgetPeriod, used: u64, logged: Logged) {
        if self.period == period {
            self.used = self.used.saturating_add(used);
            // If the limit was raised, it may be reached again, which is logged again.
            self.logged = logged.min(self.due());
        }
    }

    /// Continues with the counts of an earlier process if the period is not over at `now`.
    ///
    /// A machine without a clock of its own starts with a time of long ago, until it has asked for the right one. So a period
    /// in the future is continued once the clock says that it has begun.
    pub(super) fn restore(&mut self, used: BudgetUse, now: SystemTime) {
        let logged = match used {
            BudgetUse { is_reached: true, .. } => Logged::Limit,
            BudgetUse { is_warned: true, .. } => Logged::Warning,
            _ => Logged::Nothing,
        };
        // No tunnel was open when this process began, so there is none to cut.
        let is_enforced = logged == Logged::Limit;
        if used.period.is_ahead(now) {
            let BudgetUse { period, used, .. } = used;
            self.left.push(LeftPeriod { period, used, logged, is_enforced, group: self.group });
            self.group += 1;
            return;
        }
        self.adopt(used.period, used.used, logged);
        self.is_enforced = self.logged == Logged::Limit;
    }

    /// Adds bytes to the period at `now`.
    pub(super) fn add(&mut self, bytes: u64, now: SystemTime) {
        self.roll(now);
        self.used = self.used.saturating_add(bytes);
    }

    /// Adds the use of another process if it belongs to the period at `now`. Each process logs its own events.
    pub(super) fn add_of(&mut self, other: BudgetUse, now: SystemTime) {
        self.roll(now);
        if self.period == other.period {
            self.used = self.used.saturating_add(other.used);
        }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.used >= self.budget.bytes
    }

    /// Returns whether the budget cuts, and may be used up by the bytes of a moment. One that is used up counts too, since a new
    /// period may begin at any time.
    pub(super) fn may_cut_soon(&self) -> bool {
        self.budget.cuts && self.budget.bytes.saturating_sub(self.used) <= BYTES_OF_A_MOMENT
    }

    /// Counts a request that was refused.
    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    /// Counts a request that took another chain.
    pub(super) fn reroute(&mut self) {
        self.rerouted += 1;
    }

    /// Returns the use in the period at `now`.
    pub(super) fn now(&mut self, now: SystemTime) -> BudgetUse {
        self.roll(now);
        BudgetUse {
            period: self.period,
            used: self.used,
            refused: self.refused,
            rerouted: self.rerouted,
            is_warned: self.used >= self.budget.warn,
            is_reached: self.is_reached(),
        }
    }

    /// Returns the last event that was not logged yet. Each event is returned at most once in a period. If a single transfer uses
    /// up the rest too, the warning is left out.
    pub(super) fn take_news(&mut self) -> Option<BudgetEvent> {
        let (before, due) = (self.logged, self.due());
        self.logged = due;
        match due {
            _ if due <= before => None,
            Logged::Nothing => None,
            Logged::Warning => Some(BudgetEvent::Warning),
            Logged::Limit => Some(BudgetEvent::Limit),
        }
    }

    /// Returns whether the budget is used up, but only once in a period.
    pub(super) fn take_limit(&mut self) -> bool {
        let is_reached = self.is_reached();
        is_reached && !mem::replace(&mut self.is_enforced, true)
    }

    fn due(&self) -> Logged {
        if self.is_reached() {
            Logged::Limit
        } else if self.used >= self.budget.warn {
            Logged::Warning
        } else {
            Logged::Nothing
        }
    }

    /// Begins the period at `now` if the current one is over or lies in the future.
    ///
    /// A clock that is wrong for a moment, also several times in a row, must neither stop the counting nor lose counts. If it
    /// was ahead, this returns to the right period. Everything in the wrong period was used just now, so it is added to the
    /// earlier use in the right period. If the clock was set back for a moment, or was behind when the process began, the use
    /// since then counts too.
    fn roll(&mut self, now: SystemTime) {
        let is_ahead = self.period.is_ahead(now);
        if !is_ahead && !self.period.is_over(now) {
            return;
        }
        let next = self.budget.per.around(now, &self.budget.zone);
        let Self { period, used, logged, is_enforced, group, .. } = *self;
        let current = LeftPeriod { period, used, logged, is_enforced, group };
        self.period = next;
        if let Some(known) = self.left.iter().position(|left| left.period == next) {
            let known = self.left.remove(known);
            // The present use may include it already.
            if known.group != group {
                self.used = used.saturating_add(known.used);
                self.logged = logged.max(known.logged);
                self.is_enforced = is_enforced || known.is_enforced;
                let parts = self.left.iter_mut().filter(|left| left.group == known.group);
                parts.for_each(|left| left.group = group);
            }
            return;
        }
        // A step back keeps the use, and a new period does not.
        if !is_ahead {
            (self.used, self.logged, self.is_enforced) = (0, Logged::Nothing, false);
            for left in self.left.iter_mut().filter(|left| left.group == group) {
                *left = LeftPeriod { period: left.period, ..current };
            }
            self.group += 1;
        }
        // One period follows the other, so the clock is right, and what it said of the future was wrong.
        if next.start == period.end {
            self.left.retain(|left| left.period.start < next.start);
        }
        self.left.push(current);
        let surplus = self.left.len().saturating_sub(LEFT_MAX);
        self.left.drain(..surplus);
    }
}

/// How many other periods are remembered.
const LEFT_MAX: usize = 8;
/// More than all streams move between two looks of the keeper, a second apart.
const BYTES_OF_A_MOMENT: u64 = 16 << 30;

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
        let mut spending = Spending::new(budget(100), at(3600));
        spending.add(79, at(3601));
        assert!(news(&mut spending).is_empty() && !spending.is_reached());
        spending.add(1, at(3602));
        assert_eq!(news(&mut spending), [BudgetEvent::Warning]);
        assert!(news(&mut spending).is_empty() && !spending.take_limit());
        spending.add(20, at(7199));
        assert!(spending.is_reached() && spending.take_limit() && !spending.take_limit());
        assert_eq!(news(&mut spending), [BudgetEvent::Limit]);
        assert!(news(&mut spending).is_empty());
        let used = spending.now(at(7199));
        assert_eq!((used.used, used.period), (100, BudgetPeriod { start: 3600, end: 7200 }));
        let next = spending.now(at(7200));
        assert_eq!((next.used, next.is_reached, spending.is_reached()), (0, false, false));
        spending.add(500, at(7201));
        assert_eq!(news(&mut spending), [BudgetEvent::Limit], "one transfer passes both");
        assert!(spending.take_limit());
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_costs_no_count_and_no_period() {
        const YEAR: u64 = 365 * 24 * 3600;
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let hour = |start| BudgetPeriod { start, end: start + 3600 };
        let begun = YEAR + 3600;
        let start = i64::try_from(begun).unwrap();
        for wrong in [begun + YEAR, begun - YEAR] {
            let mut spending = Spending::new(budget(100), at(begun));
            spending.add(50, at(begun + 10));
            spending.add(40, at(wrong));
            assert_ne!(spending.period, hour(start));
            let used = spending.now(at(begun + 20));
            assert_eq!((used.period, used.used), (hour(start), 90), "{wrong}");
            assert_eq!(news(&mut spending), [BudgetEvent::Warning]);
            spending.add(10, at(begun + 30));
            assert!(spending.is_reached() && spending.take_limit());
            // The next hour begins as always, and the wrong period is not remembered for good.
            let used = spending.now(at(begun + 3600));
            assert_eq!((used.period, used.used), (hour(start + 3600), 0), "{wrong}");
            assert!(!spending.is_reached());
            assert_eq!(spending.now(at(begun + YEAR)).used, 0, "{wrong}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_several_times_in_a_row_costs_no_count_of_the_right_period() {
        const RIGHT: u64 = 720_000;
        const AHEAD: [u64; 2] = [RIGHT + 7200, RIGHT + 72_000];
        const BEHIND: [u64; 2] = [RIGHT - 18_000, RIGHT - 72_000];
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let all = AHEAD.into_iter().chain(BEHIND);
        for first in all.clone() {
            for (second, third) in
                all.clone().flat_map(|two| all.clone().map(move |three| (two, three)))
            {
                let mut spending = Spending::new(budget(100), at(RIGHT));
                spending.add(50, at(RIGHT));
                for wrong in [first, second, third] {
                    spending.add(10, at(wrong));
                }
                let used = spending.now(at(RIGHT + 60));
                // At most a step from one wrong time to a later one costs what was used at the first.
                assert!((60..=80).contains(&used.used), "{first} {second} {third}: {used:?}");
                // The next hour begins at zero.
                assert_eq!(spending.now(at(RIGHT + 3600)).used, 0, "{first} {second} {third}");
            }
        }
    }

    #[test]
    fn an_event_of_a_period_is_logged_once_even_if_the_clock_jumps() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut spending = Spending::new(budget(100), at(7200));
        spending.add(100, at(7200));
        assert_eq!(news(&mut spending), [BudgetEvent::Limit]);
        assert!(spending.take_limit());
        assert!(!spending.now(at(720_000)).is_reached);
        assert!(spending.now(at(7300)).is_reached);
        assert!(news(&mut spending).is_empty() && !spending.take_limit());
    }

    #[test]
    fn a_small_step_back_of_the_clock_keeps_the_new_period() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut spending = Spending::new(budget(100), at(3600));
        spending.add(100, at(3600));
        spending.add(1, at(7200));
        assert_eq!(spending.now(at(7199)).used, 1);
        assert_eq!(spending.now(at(7200 - 300)).used, 1);
        assert_eq!(spending.now(at(7200 - 301)).used, 101);
    }

    #[test]
    fn a_period_that_an_earlier_process_saw_in_the_future_is_not_continued() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut wrong = Spending::new(budget(100), at(720_000));
        wrong.add(100, at(720_000));
        let mut right = Spending::new(budget(100), at(3600));
        right.restore(wrong.now(at(720_000)), at(3600));
        assert!(!right.now(at(3600)).is_reached);
        // Nor much later, when it comes.
        assert!(!right.now(at(7200)).is_reached);
        assert!(!right.now(at(720_000)).is_reached);
    }

    #[test]
    fn a_period_is_continued_once_a_clock_that_was_behind_at_the_start_is_right() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for behind in [3600, 720_000 - 3600] {
            let mut before = Spending::new(budget(100), at(720_000));
            before.add(80, at(720_000));
            let mut spending = Spending::new(budget(100), at(behind));
            spending.restore(before.now(at(720_000)), at(behind));
            spending.add(15, at(behind));
            assert_eq!(spending.now(at(behind)).used, 15);
            let edited = spending.under(budget(96), at(behind + 10));
            let mut spending = edited.under(budget(100), at(behind + 20));
            assert_eq!(spending.now(at(720_060)).used, 95, "{behind}");
            assert!(news(&mut spending).is_empty(), "the warning was logged before");
            spending.add(5, at(720_070));
            assert_eq!(news(&mut spending), [BudgetEvent::Limit]);
        }
    }

    fn news(spending: &mut Spending) -> Vec<BudgetEvent> {
        spending.take_news().into_iter().collect()
    }

    #[test]
    fn an_edit_keeps_the_use_in_the_period() {
        let mut spending = Spending::new(budget(100), SystemTime::now());
        spending.add(100, SystemTime::now());
        assert_eq!(news(&mut spending), [BudgetEvent::Limit]);
        let mut raised = spending.under(budget(200), SystemTime::now());
        assert!(!raised.is_reached());
        raised.add(100, SystemTime::now());
        assert!(raised.is_reached() && raised.take_limit());
        assert_eq!(news(&mut raised), [BudgetEvent::Limit]);
        let daily = Budget { per: Per::Day, ..budget(100) };
        assert_eq!(
            raised.under(daily, SystemTime::now()).now(SystemTime::now()).used,
            0,
            "another period"
        );
    }
}
