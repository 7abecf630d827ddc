//! The time of day as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns `time` in the form of RFC 3339, in UTC, to the second. A time before 1970 counts as the beginning of 1970, and one
/// after 9999 as the end of that year, since the form has no others.
pub(crate) fn rfc_3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc_3339_of(since.as_secs())
}

/// Returns the time `seconds` after 1970 as [`rfc_3339`] does.
pub(crate) fn rfc_3339_of(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The last second of the year 9999, in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_form() {
        assert_eq!(rfc_3339_of(0), "1970-01-01T00:00:00Z");
        for seconds in [LAST_SECOND, LAST_SECOND + 1, 9_999_999_999_999, u64::MAX] {
            assert_eq!(rfc_3339_of(seconds), "9999-12-31T23:59:59Z");
        }
        let day = Duration::from_secs(86_400);
        assert_eq!(rfc_3339(UNIX_EPOCH + day), "1970-01-02T00:00:00Z");
        assert_eq!(rfc_3339(UNIX_EPOCH - day), "1970-01-01T00:00:00Z");
    }
}
