//! The recent failures, each with the paragraph that explains it.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{OpenConnection, lock};
use crate::shorten::shortened;

/// A request or tunnel that failed. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecentFailure {
    /// The time, in seconds since 1970.
    pub at: u64,
    /// The target of the request.
    pub target: String,
    /// The chain.
    pub chain: String,
    /// The status that the client was sent.
    pub status: u16,
    /// The paragraph that explains it.
    pub text: String,
}

/// The last few failures.
#[derive(Debug, Default)]
pub(crate) struct RecentFailures(Mutex<VecDeque<RecentFailure>>);

impl RecentFailures {
    /// Adds the failure of `row`, and drops the oldest one if there are too many.
    pub(super) fn add(&self, row: &OpenConnection, status: u16, text: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Written before the lock is taken, so that failures of other workers don't wait for it.
        let failure = RecentFailure {
            at,
            target: row.target.to_string(),
            chain: row.chain.name().to_string(),
            status,
            text: shortened(text, TEXT_MAX),
        };
        let mut failures = lock(&self.0);
        failures.truncate(FAILURES_MAX - 1);
        failures.push_front(failure);
    }

    /// Returns them, the newest first.
    pub(super) fn all(&self) -> Vec<RecentFailure> {
        lock(&self.0).iter().cloned().collect()
    }
}

/// How many failures are kept.
const FAILURES_MAX: usize = 20;
/// How many characters of a paragraph are kept.
const TEXT_MAX: usize = 2000;
