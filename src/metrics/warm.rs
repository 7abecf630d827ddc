//! Counts of spare tunnels.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Counts how often a spare was ready when it was needed.
#[derive(Debug, Default)]
pub(crate) struct WarmCounts {
    /// Connections that took a spare.
    pub hits: AtomicU64,
    /// Connections for which no spare was ready.
    pub misses: AtomicU64,
    /// Spares that were dead when they were taken.
    pub stale: AtomicU64,
    /// Spares that wait now.
    pub waiting: AtomicU64,
}

/// The counts of spare tunnels at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WarmTotals {
    /// Connections that took a spare.
    pub hits: u64,
    /// Connections for which no spare was ready.
    pub misses: u64,
    /// Spares that were dead when they were taken.
    pub stale: u64,
    /// Spares that wait now.
    pub waiting: u64,
}

impl WarmCounts {
    /// Returns the counts now.
    pub(crate) fn totals(&self) -> WarmTotals {
        // Each number is right, but they may belong to slightly different moments.
        WarmTotals {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            stale: self.stale.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
        }
    }
}
