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
    current: PeriodUse,
    refused: u64,
    rerouted: u64,
    /// The periods before, in the order of their use. A clock that was wrong for a moment returns to one of them.
    left: Vec<PeriodUse>,
}

/// The use in a period.
#[derive(Clone, Copy, Debug)]
struct PeriodUse {
    period: BudgetPeriod,
    used: u64,
    logged: Logged,
    /// Whether the limit was acted on in this period.
    is_enforced: bool,
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
        let current = PeriodUse::none_in(budget.per.around(now, &budget.zone));
        Self { budget, current, refused: 0, rerouted: 0, left: Vec::new() }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Replaces the budget. The use is kept if the period is the same.
    pub(super) fn under(mut self, budget: Budget, now: SystemTime) -> Self {
        self.roll(now);
        let mut next = Self { left: self.left, ..Self::new(budget, now) };
        (next.refused, next.rerouted) = (self.refused, self.rerouted);
        next.adopt(self.current);
        next
    }

    /// Adds `earlier` if it is the use in the current period.
    fn adopt(&mut self, earlier: PeriodUse) {
        if self.current.period == earlier.period {
            self.current.used = self.current.used.saturating_add(earlier.used);
            // If the limit was raised, it may be reached again, which is logged again and acted on again.
            self.current.logged = earlier.logged.min(self.due());
            self.current.is_enforced = earlier.is_enforced && self.current.logged == Logged::Limit;
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
        let earlier = PeriodUse { period: used.period, used: used.used, logged, is_enforced };
        if used.period.is_ahead(now) {
            self.left.push(earlier);
        } else {
            self.adopt(earlier);
        }
    }

    /// Adds bytes to the period at `now`.
    pub(super) fn add(&mut self, bytes: u64, now: SystemTime) {
        self.roll(now);
        self.current.used = self.current.used.saturating_add(bytes);
    }

    /// Adds the use of another process if it belongs to the period at `now`. Each process logs its own events.
    pub(super) fn add_of(&mut self, other: BudgetUse, now: SystemTime) {
        self.roll(now);
        if self.current.period == other.period {
            self.current.used = self.current.used.saturating_add(other.used);
        }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.current.used >= self.budget.bytes
    }

    /// Returns whether the budget cuts, and may be used up by the bytes of a moment. One that is used up counts too, since a new
    /// period may begin at any time.
    pub(super) fn may_cut_soon(&self) -> bool {
        self.budget.cuts && self.budget.bytes.saturating_sub(self.current.used) <= BYTES_OF_A_MOMENT
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
            period: self.current.period,
            used: self.current.used,
            refused: self.refused,
            rerouted: self.rerouted,
            is_warned: self.current.used >= self.budget.warn,
            is_reached: self.is_reached(),
        }
    }

    /// Returns the last event that was not logged yet. Each event is returned at most once in a period. If a single transfer uses
    /// up the rest too, the warning is left out.
    pub(super) fn take_news(&mut self) -> Option<BudgetEvent> {
        let (before, due) = (self.current.logged, self.due());
        self.current.logged = due;
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
        is_reached && !mem::replace(&mut self.current.is_enforced, true)
    }

    fn due(&self) -> Logged {
        if self.is_reached() {
            Logged::Limit
        } else if self.current.used >= self.budget.warn {
            Logged::Warning
        } else {
            Logged::Nothing
        }
    }

    /// Begins the period at `now` if the current one is over or lies in the future.
    ///
    /// A clock that is wrong for a moment, also several times in a row, must neither stop the counting nor lose counts. So
    /// periods are remembered in the order of their use. If the clock returns to one of them, the periods since then were
    /// wrong, and everything in them was used just now: it is added to the use in the right one. The clock may also step back
    /// to an unknown period, because it was set back or was ahead before: then the use moves there, so that a step back never
    /// gives a new budget.
    fn roll(&mut self, now: SystemTime) {
        let before = self.current;
        let is_ahead = before.period.is_ahead(now);
        if !is_ahead && !before.period.is_over(now) {
            return;
        }
        let next = self.budget.per.around(now, &self.budget.zone);
        if let Some(known) = self.left.iter().position(|left| left.period == next) {
            self.current.period = next;
            for left in self.left.drain(known..) {
                self.current.used = self.current.used.saturating_add(left.used);
                self.current.logged = self.current.logged.max(left.logged);
                self.current.is_enforced |= left.is_enforced;
            }
            return;
        }
        if is_ahead {
            self.current.period = next;
            self.left.push(PeriodUse { used: 0, ..before });
        } else {
            // One period follows the other, so the clock is right, and what it said of the future was wrong. Of the
            // periods that follow one another, the last is enough for a small step back.
            if before.period.end == next.start {
                let start = before.period.start;
                self.left.retain(|left| left.period.end < start);
            }
            self.current = PeriodUse::none_in(next);
            self.left.push(before);
        }
        let surplus = self.left.len().saturating_sub(LEFT_MAX);
        self.left.drain(..surplus);
    }
}

impl PeriodUse {
    fn none_in(period: BudgetPeriod) -> Self {
        Self { period, used: 0, logged: Logged::Nothing, is_enforced: false }
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
            assert_ne!(spending.current.period, hour(start));
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
                assert_eq!(used.used, 80, "{first} {second} {third}");
                // The next hour begins at zero.
                assert_eq!(spending.now(at(RIGHT + 3600)).used, 0, "{first} {second} {third}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_by_hours_adds_no_use_of_periods_that_were_over() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut spending = Spending::new(budget(100), at(720_000));
        for hour in 0..5 {
            spending.add(60, at(720_000 + hour * 3600));
        }
        assert_eq!(spending.now(at(720_000 + 3600)).used, 60);
        assert_eq!(spending.now(at(720_000 + 4 * 3600)).used, 60);
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
