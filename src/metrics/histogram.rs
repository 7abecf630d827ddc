//! Counts durations in buckets.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts durations by size. Adding one never waits.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buckets {
    /// The upper bound of each bucket in seconds, and the number of durations in that bucket alone.
    pub counts: Vec<(f64, u64)>,
    /// The number of all durations.
    pub count: u64,
    /// The sum of all seconds.
    pub seconds: f64,
}

impl Histogram {
    /// Adds a duration.
    pub(crate) fn observe(&self, duration: Duration) {
        // A duration that equals a bound belongs to its bucket, as Prometheus defines `le`.
        let bucket = BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < duration);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(duration.as_nanos() as u64, Relaxed);
    }

    /// Returns the counts now.
    pub(crate) fn buckets(&self) -> Buckets {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_millis(*bound).as_secs_f64());
        let loaded = self.buckets.iter().map(|count| count.load(Relaxed));
        let counts: Vec<_> = bounds.chain([f64::INFINITY]).zip(loaded).collect();
        // Computed from the buckets, so that both always agree.
        let count = counts.iter().map(|(_, count)| count).sum();
        let seconds = Duration::from_nanos(self.nanoseconds.load(Relaxed)).as_secs_f64();
        Buckets { counts, count, seconds }
    }
}

/// The upper bounds in milliseconds, from a hop on this machine to one that is about to be given up.
const BOUNDS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 30_000];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(milliseconds: f64, bound: f64) {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_secs_f64(milliseconds / 1e3));
        let buckets = histogram.buckets();
        let found = buckets.counts.iter().find(|(_, count)| *count == 1).map(|(bound, _)| *bound);
        assert_eq!((found, buckets.count), (Some(bound), 1), "{milliseconds}");
        assert!((buckets.seconds - milliseconds / 1e3).abs() < 1e-9);
    }

    #[test]
    fn a_bound_is_in_its_bucket() {
        check(0.0, 0.001);
        check(1.0, 0.001);
        check(1.001, 0.002);
        check(30_000.0, 30.0);
        check(30_001.0, f64::INFINITY);
    }
}
