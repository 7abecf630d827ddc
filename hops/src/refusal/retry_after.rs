//! `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calendar::days_before;

/// Reads how long to wait from `now`, which is at most a day. Returns `None` if `value` is neither a number of seconds nor a
/// date.
pub(crate) fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number can have mean a long time.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(WAIT_MAX));
    }
    let at = http_date(value)?;
    // A date in the past means now.
    let wait = at.duration_since(now).unwrap_or_default();
    Some(whole_seconds(wait).min(WAIT_MAX))
}

/// Rounds a wait up to seconds, so that a client that comes back after that time is not too early.
pub(crate) fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// Reads an HTTP-date. One before 1970 counts as the beginning of that year.
pub(crate) fn http_date(value: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let seconds = u64::try_from(date(text)?).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Reads an HTTP-date in any of the three forms of RFC 9110 §5.6.7, as seconds since 1970. The day of the week is
/// redundant and ignored.
fn date(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match *words.as_slice() {
        // `Sun, 06 Nov 1994 08:49:37 GMT` and `Sunday, 06-Nov-94 08:49:37 GMT`
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        // `Sun Nov  6 08:49:37 1994`
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let year = match (number(year)?, year.len()) {
        (year, 4) => year,
        // RFC 9110 §5.6.7 reads a year that seems to be over fifty years ahead as a past one. A fixed border will do, since
        // hardly any server writes this form.
        (year, 2) => year + if year < 70 { 2000 } else { 1900 },
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let day = number(day).filter(|day| (1..=31).contains(day))?;
    let mut parts = time.split(':').map(number);
    let (Some(hour), Some(minute), Some(second), None) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month as i64 + 1) + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str) -> Option<i64> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<u64>) {
        // 1994-11-06 08:49:37 UTC
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = retry_after(value.as_bytes(), now).map(|wait| wait.as_secs());
        assert_eq!(wait, expected, "{value:?}");
    }

    #[test]
    fn seconds_and_dates_are_read() {
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("Sun, 06 Nov 1994 08:51:37 GMT", Some(120));
        check("Sunday, 06-Nov-94 08:51:37 GMT", Some(120));
        check("Sun Nov  6 08:51:37 1994", Some(120));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
    }

    #[test]
    fn a_wait_is_bounded() {
        check("86401", Some(86_400));
        check(&"9".repeat(100), Some(86_400));
        check("Wed, 01 Mar 2000 00:00:00 GMT", Some(86_400));
    }

    #[test]
    fn anything_else_is_no_wait() {
        for value in ["", "-1", "+5", "1.5", "5s", "1,2", "soon", "Sun, 06 Nov 1994 08:49:37"] {
            check(value, None);
        }
        for value in ["Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            check(value, None);
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[0-9A-Za-z :,-]{0,40}") {
            let _ = retry_after(value.as_bytes(), SystemTime::now());
        }
    }
}
