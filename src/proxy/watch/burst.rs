//! The events of one edit, which bound the wait for its end.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use tokio::time::Instant;

use super::tick::Tick;

/// The events that came since an edit was noticed.
///
/// An edit may be of many files, as by `git checkout`, and is read when no event comes for a moment. A program that saves
/// the same file again and again never leaves such a moment. The two differ: an edit of many files comes to each of them
/// once. So the wait goes on while files change that had not changed before, and ends soon after the last of them.
///
/// That a wait ends here does not mean that the files are complete: a file that is open for writing is waited for anyway.
#[derive(Debug)]
pub(super) struct Burst {
    begun: Instant,
    /// When a file changed that had not changed before.
    last_new: Instant,
    changed: HashSet<PathBuf>,
}

impl Burst {
    /// Begins now, without events.
    pub(super) fn begin() -> Self {
        let begun = Instant::now();
        Self { begun, last_new: begun, changed: HashSet::new() }
    }

    pub(super) fn note(&mut self, tick: &Tick) {
        if let Tick::Begun(path) | Tick::Written(path) | Tick::Closed(path) | Tick::Renamed(path) =
            tick
            && !self.changed.contains(path)
        {
            self.changed.insert(path.clone());
            self.last_new = Instant::now();
        }
    }

    /// Returns when the wait for quiet ends, if no other file changes.
    pub(super) fn end(&self) -> Instant {
        (self.last_new + REPEATS_MAX).min(self.begun + WAIT_MAX)
    }

    /// Returns whether only files change now that a program saves again and again.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end()
    }
}

/// How long files that have changed already may go on changing.
const REPEATS_MAX: Duration = Duration::from_millis(600);
/// The longest wait for quiet.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_files_that_had_not_changed_prolong_the_wait() {
        let mut burst = Burst::begin();
        let begun = Instant::now();
        let step = Duration::from_millis(500);
        for file in ["a", "b", "c"] {
            burst.note(&Tick::Closed(file.into()));
            advance(step).await;
        }
        for _ in 0..3 {
            burst.note(&Tick::Written("a".into()));
            burst.note(&Tick::Changed);
            advance(step).await;
        }
        assert_eq!(burst.end() - begun, 2 * step + REPEATS_MAX);
        assert!(burst.is_over());
        for file in 0..20 {
            burst.note(&Tick::Renamed(file.to_string().into()));
            advance(step).await;
        }
        assert_eq!(burst.end() - begun, WAIT_MAX);
    }
}
