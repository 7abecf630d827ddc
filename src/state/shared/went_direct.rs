//! The targets that go direct since a reload.

use std::time::SystemTime;

use mooltiroute_hops::Authority;

/// The targets that reloads have taken from their hops, and that go direct now.
#[derive(Clone, Debug)]
pub(crate) struct WentDirect {
    /// The time of the first of these reloads.
    pub at: SystemTime,
    /// The targets, at least one.
    pub targets: Vec<DirectTarget>,
}

/// The targets of one pattern.
#[derive(Clone, Debug)]
pub(crate) struct DirectTarget {
    /// The pattern, and the chain that it took before.
    pub shown: String,
    /// A target that stands for the pattern.
    pub example: Authority,
}

impl DirectTarget {
    /// Returns the first of the `targets` in words, as many as a line has room for.
    pub(crate) fn in_words(targets: &[Self]) -> Vec<String> {
        let mut shown: Vec<_> =
            targets.iter().take(SHOWN_MAX).map(|target| target.shown.clone()).collect();
        let more = targets.len().saturating_sub(SHOWN_MAX);
        shown.extend((more > 0).then(|| format!("{more} more")));
        shown
    }
}

/// As many targets as anyone reads.
const SHOWN_MAX: usize = 10;
