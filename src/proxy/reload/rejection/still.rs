//! Edits that are rejected for the same problems as the previous one.

use std::{collections::BTreeSet, future::pending, path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::proxy::watch::ContentHashes;

/// A rejected configuration, and the edits since then that were rejected for the same problems.
///
/// Each such edit gets a line in the log. A program that rewrites a file all the time would fill the log, so there is at most
/// one line per [`PAUSE`], which counts the edits since the line before.
#[derive(Debug)]
pub(in crate::proxy::reload) struct LastRejected {
    problems: Vec<String>,
    files: ContentHashes,
    /// The time of the last line about such edits.
    logged: Option<Instant>,
    /// The edits that are not logged yet.
    untold: Edits,
}

/// Edits that left the problems as they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Edits {
    /// The number of edits.
    pub(super) count: u64,
    /// The files that they changed.
    pub(super) files: BTreeSet<PathBuf>,
}

impl LastRejected {
    /// Returns the rejection of `files` for `problems`, which comes after that of `last`.
    pub(super) fn new(problems: Vec<String>, files: ContentHashes, last: Option<Self>) -> Self {
        // The pause goes on: problems that alternate must not fill the log either.
        let logged = last.and_then(|last| last.logged);
        Self { problems, files, logged, untold: Edits::default() }
    }

    /// Returns the number of edits that are not logged yet.
    pub(super) fn untold(&self) -> u64 {
        self.untold.count
    }

    /// Returns the problems, one line each.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Notes that `files` have the same problems. Returns whether an edit has changed any of them.
    pub(super) fn note(&mut self, files: ContentHashes) -> bool {
        let changed = files.changed_since(&self.files);
        self.files = files;
        let is_edit = !changed.is_empty();
        self.untold.count += u64::from(is_edit);
        self.untold.files.extend(changed);
        is_edit
    }

    /// Takes the edits to log now, if there are any and the last line is long enough ago.
    pub(super) fn take_due(&mut self) -> Option<Edits> {
        let due = self.due()?;
        // The first line is due now, so the clock is read after that.
        let now = Instant::now();
        if due > now {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    fn due(&self) -> Option<Instant> {
        let due = self.logged.map_or_else(Instant::now, |logged| logged + PAUSE);
        (self.untold.count > 0).then_some(due)
    }
}

/// Waits until edits of `last` are due to be logged. Never ends if it has none.
pub(in crate::proxy::reload) async fn next_due(last: Option<&LastRejected>) {
    match last.and_then(LastRejected::due) {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::tempdir;
    use tokio::time::{advance, timeout};

    use super::*;

    fn edit(last: &mut LastRejected, file: &Path, text: &str) -> bool {
        fs::write(file, text).unwrap();
        last.note(ContentHashes::of([file].into_iter()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_rewritten_all_the_time_gets_a_line_in_ten_seconds() {
        let home = tempdir().unwrap();
        let file = home.path().join("a.yaml");
        let mut last = LastRejected::new(Vec::new(), ContentHashes::default(), None);
        assert!(edit(&mut last, &file, "12MB"));
        let told = |count| Some(Edits { count, files: [file.clone()].into() });
        assert_eq!(last.take_due(), told(1), "the first edit is told at once");
        assert!(!edit(&mut last, &file, "12MB"));
        assert!(timeout(2 * PAUSE, next_due(Some(&last))).await.is_err(), "nothing was edited");
        for text in ["13MB", "14MB", "15MB"] {
            assert!(edit(&mut last, &file, text));
        }
        assert_eq!(last.take_due(), told(3), "the pause was over");
        assert!(edit(&mut last, &file, "16MB"));
        assert_eq!(last.take_due(), None);
        advance(PAUSE / 2).await;
        assert!(edit(&mut last, &file, "17MB"));
        assert_eq!(last.take_due(), None);
        timeout(PAUSE, next_due(Some(&last))).await.expect("the last edit is told too");
        assert_eq!(last.take_due(), told(2));
        assert_eq!(last.take_due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn other_problems_do_not_end_the_pause() {
        let home = tempdir().unwrap();
        let file = home.path().join("a.yaml");
        let mut last = LastRejected::new(Vec::new(), ContentHashes::default(), None);
        assert!(edit(&mut last, &file, "12MB"));
        assert!(last.take_due().is_some());
        assert!(edit(&mut last, &file, "13MB"));
        assert_eq!(last.untold(), 1, "the line about the next problems counts it");
        let files = ContentHashes::of([&*file].into_iter());
        let mut next = LastRejected::new(vec!["another".into()], files, Some(last));
        assert!(edit(&mut next, &file, "14MB"));
        assert_eq!(next.take_due(), None);
        advance(PAUSE).await;
        assert!(next.take_due().is_some());
    }
}
