//! The time of day as text.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns `time` in the form of RFC 3339, in UTC, to the second. A clock before 1970 counts as 1970.
pub(crate) fn rfc_3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time.max(UNIX_EPOCH)).to_string()
}
