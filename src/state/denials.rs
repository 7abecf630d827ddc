//! Keeps the log from filling with refusals of clients that try again and again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Refusals by status. At most one line per status is logged in each [`PAUSE`].
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeMap<u16, Noted>>);

/// The refusals of one status.
#[derive(Clone, Copy, Debug)]
struct Noted {
    logged: Instant,
    skipped: u64,
}

impl Denials {
    /// Notes a refusal with `status`. If it is to be logged, returns how many were left out since the last line.
    pub(crate) fn note(&self, status: u16) -> Option<u64> {
        let now = Instant::now();
        // Replaced in one step, so it is valid even after a panic of another holder.
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(&status) {
            Some(last) if now - last.logged < PAUSE => {
                last.skipped += 1;
                None
            }
            last => {
                let skipped = last.map_or(0, |last| last.skipped);
                noted.insert(status, Noted { logged: now, skipped: 0 });
                Some(skipped)
            }
        }
    }
}

/// The time between two lines about refusals of one status.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_equal_refusals_one_is_logged_and_the_others_are_counted() {
        let denials = Denials::default();
        assert_eq!(
            [400, 400, 407, 400].map(|status| denials.note(status)),
            [Some(0), None, Some(0), None]
        );
        time::advance(PAUSE).await;
        assert_eq!([denials.note(400), denials.note(407)], [Some(2), Some(0)]);
    }
}
