//! The periods of a budget: hours, days, weeks and months of a time zone, defined to the second.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{RoundMode, Timestamp, ToSpan as _, Unit, Zoned, ZonedRound, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The length of a budget's period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month to the first of the next.
    Month,
}

/// The time zone in which periods begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A period, in seconds since 1970. The end does not belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BudgetPeriod {
    /// Its first second.
    pub start: i64,
    /// The first second of the next one.
    pub end: i64,
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// Returns the zone that is named `UTC` or as in `Europe/Berlin`.
    ///
    /// # Errors
    /// The system's time zone database does not know the name.
    pub fn named(name: &str) -> Result<Self, jiff::Error> {
        if name == "UTC" { Ok(Self::default()) } else { TimeZone::get(name).map(Self) }
    }

    /// Returns whether the system has a time zone database. Small containers have none.
    pub(crate) fn are_known() -> bool {
        !jiff::tz::db().is_definitively_empty()
    }
}

impl Per {
    /// Returns the period that `now` is in.
    ///
    /// A day may have 23 or 25 hours, so the end comes from the calendar and is not computed in seconds. A time outside the
    /// range of the calendar gets a period of one hour, and so does a time for which a change of the clocks leaves no other.
    pub(crate) fn around(self, now: SystemTime, zone: &Zone) -> BudgetPeriod {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        let bounds = bounds(self, &now.to_zoned(zone.0.clone())).ok();
        let bounds = bounds.map(|(start, end)| (start.timestamp(), end.timestamp()));
        let bounds = bounds.filter(|(start, end)| (start..end).contains(&&now));
        bounds.map_or_else(
            || {
                let start = now.as_second() - now.as_second().rem_euclid(3600);
                BudgetPeriod { start, end: start + 3600 }
            },
            |(start, end)| BudgetPeriod { start: start.as_second(), end: end.as_second() },
        )
    }

    /// Returns the name that operators write.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

fn bounds(per: Per, now: &Zoned) -> Result<(Zoned, Zoned), jiff::Error> {
    let midnight = |date: jiff::civil::Date| date.to_zoned(now.time_zone().clone());
    let today = now.date();
    Ok(match per {
        Per::Hour => {
            let round = ZonedRound::new().smallest(Unit::Hour).mode(RoundMode::Trunc);
            let start = now.round(round)?;
            let end = start.checked_add(1.hour())?;
            if start > *now {
                // Clocks went forward over the full hour, as from 2:45 to 3:45 on Chatham Island. The hour before goes on.
                (start.checked_sub(1.hour())?, start)
            } else if end <= *now {
                // Clocks went back by half an hour, as on Lord Howe Island. The rest of that hour is another period.
                (end, now.round(round.mode(RoundMode::Ceil))?)
            } else {
                (start, end)
            }
        }
        Per::Day => (midnight(today)?, midnight(today.tomorrow()?)?),
        Per::Week => {
            let monday =
                today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days())?;
            (midnight(monday)?, midnight(monday.checked_add(7.days())?)?)
        }
        Per::Month => {
            let first = today.first_of_month();
            (midnight(first)?, midnight(first.checked_add(1.month())?)?)
        }
    })
}

impl BudgetPeriod {
    /// Returns whether the period has ended by `now`.
    pub(crate) fn is_over(self, now: SystemTime) -> bool {
        seconds(now) >= self.end
    }

    /// Returns whether the period begins well after `now`, so that the clock must have been ahead when it was chosen. A clock
    /// that is corrected by a few minutes does not count.
    pub(crate) fn is_ahead(self, now: SystemTime) -> bool {
        self.start.saturating_sub(seconds(now)) > STEP_BACK_MAX
    }

    /// Returns how long it lasts from `now` on, in whole seconds and at least one.
    pub(crate) fn left(self, now: SystemTime) -> Duration {
        Duration::from_secs(self.end.saturating_sub(seconds(now)).max(1).unsigned_abs())
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a clock may be set back in a period that has just begun, in seconds.
const STEP_BACK_MAX: i64 = 300;

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(per: Per, zone: &str, now: &str, expected: [&str; 2]) {
        let now: Timestamp = now.parse().unwrap();
        let period = per.around(now.into(), &Zone::named(zone).unwrap());
        let seconds = expected.map(|text| text.parse::<Timestamp>().unwrap().as_second());
        assert_eq!([period.start, period.end], seconds, "{per} of {zone} at {now}");
    }

    #[test]
    fn periods_begin_and_end_by_the_calendar() {
        check(
            Per::Hour,
            "UTC",
            "2026-11-26T03:59:59.9Z",
            ["2026-11-26T03:00:00Z", "2026-11-26T04:00:00Z"],
        );
        check(
            Per::Day,
            "UTC",
            "2026-11-26T00:00:00Z",
            ["2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"],
        );
        check(
            Per::Week,
            "UTC",
            "2026-11-26T12:00:00Z",
            ["2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"],
        );
        check(
            Per::Month,
            "UTC",
            "2026-12-31T23:59:59Z",
            ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"],
        );
    }

    #[test]
    fn a_day_of_a_zone_is_as_long_as_that_day() {
        if TimeZone::get("Europe/Berlin").is_err() {
            return;
        }
        let zone = "Europe/Berlin";
        check(
            Per::Day,
            zone,
            "2026-03-29T12:00:00Z",
            ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"],
        );
        check(
            Per::Day,
            zone,
            "2026-10-25T12:00:00Z",
            ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"],
        );
        check(
            Per::Month,
            zone,
            "2026-10-31T23:30:00Z",
            ["2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"],
        );
    }

    /// At 15:00 UTC, clocks go back from 2:00 to 1:30.
    #[test]
    fn an_hour_in_which_clocks_go_back_by_half_an_hour_ends_then() {
        let zone = "Australia/Lord_Howe";
        if TimeZone::get(zone).is_err() {
            return;
        }
        let before = ["2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"];
        check(Per::Hour, zone, "2026-04-04T14:59:59Z", before);
        let rest = ["2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"];
        check(Per::Hour, zone, "2026-04-04T15:00:00Z", rest);
        check(Per::Hour, zone, "2026-04-04T15:29:59Z", rest);
        let after = ["2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"];
        check(Per::Hour, zone, "2026-04-04T15:30:00Z", after);
    }

    /// At 14:00 UTC, clocks go forward from 2:45 to 3:45.
    #[test]
    fn an_hour_goes_on_when_clocks_go_forward_over_its_end() {
        let zone = "Pacific/Chatham";
        if TimeZone::get(zone).is_err() {
            return;
        }
        let hour = ["2026-09-26T13:15:00Z", "2026-09-26T14:15:00Z"];
        check(Per::Hour, zone, "2026-09-26T13:59:59Z", hour);
        check(Per::Hour, zone, "2026-09-26T14:00:00Z", hour);
        check(Per::Hour, zone, "2026-09-26T14:14:59Z", hour);
        let next = ["2026-09-26T14:15:00Z", "2026-09-26T15:15:00Z"];
        check(Per::Hour, zone, "2026-09-26T14:15:00Z", next);
    }

    #[test]
    fn every_time_near_a_change_of_clocks_is_in_its_period() {
        let from: Timestamp = "2009-01-01T00:00:00Z".parse().unwrap();
        for name in jiff::tz::db().available() {
            let Ok(zone) = Zone::named(name.as_str()) else { continue };
            for change in zone.0.following(from).take(6) {
                for offset in [-1, 0, 900, 1800, 3599] {
                    let now = change.timestamp() + offset.seconds();
                    for per in [Per::Hour, Per::Day, Per::Week, Per::Month] {
                        let BudgetPeriod { start, end } = per.around(now.into(), &zone);
                        assert!(
                            (start..end).contains(&now.as_second()),
                            "{per} of {name} at {now}"
                        );
                    }
                }
            }
        }
    }
}
