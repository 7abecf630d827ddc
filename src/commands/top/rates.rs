//! Rates from counts that grow, seen from time to time.

use std::{collections::HashMap, hash::Hash, time::Instant};

/// The counts at the last look, and the rates since the look before it.
#[derive(Debug)]
pub(super) struct Rates<K> {
    at: Option<Instant>,
    counts: HashMap<K, u64>,
    rates: HashMap<K, f64>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { at: None, counts: HashMap::new(), rates: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Rates<K> {
    /// Takes all counts as they are `now`. Those that are not among them are forgotten.
    pub(super) fn update(&mut self, counts: impl Iterator<Item = (K, u64)>, now: Instant) {
        let counts: HashMap<K, u64> = counts.collect();
        let seconds = self.at.map(|at| now.saturating_duration_since(at).as_secs_f64());
        self.rates.clear();
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
            for (key, count) in &counts {
                // A connection that is new since began at zero.
                let before = self.counts.get(key).copied().unwrap_or_default();
                let rate = count.saturating_sub(before) as f64 / seconds;
                self.rates.insert(key.clone(), rate);
            }
        }
        (self.at, self.counts) = (Some(now), counts);
    }

    /// Returns how much the count of `key` grows in a second. Zero before the second look.
    pub(super) fn of(&self, key: &K) -> f64 {
        self.rates.get(key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_the_growth_in_a_second() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        rates.update([("a", 100)].into_iter(), begin);
        assert_eq!(rates.of(&"a"), 0.0, "nothing to compare with yet");
        rates.update([("a", 300), ("b", 50)].into_iter(), begin + Duration::from_secs(2));
        assert_eq!((rates.of(&"a"), rates.of(&"b"), rates.of(&"c")), (100.0, 25.0, 0.0));
        rates.update([("b", 40)].into_iter(), begin + Duration::from_secs(3));
        assert_eq!((rates.of(&"a"), rates.of(&"b")), (0.0, 0.0), "gone, and a count that fell");
    }
}
