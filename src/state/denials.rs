//! Keeps the log from filling with lines about clients that try again and again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The lines that clients caused. At most one line of a sort is logged in each [`PAUSE`].
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeMap<ClientLine, Noted>>);

/// A sort of log line that any client can cause as often as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClientLine {
    /// A request was refused with this status of HTTP.
    Status(u16),
    /// A request was refused with this reply code of SOCKS.
    ReplyCode(u8),
    /// A client names a session or a country, and no hop on its way takes one.
    UnusedPreferences,
}

/// The lines of one sort.
#[derive(Clone, Copy, Debug)]
struct Noted {
    logged: Instant,
    skipped: u64,
}

impl Denials {
    /// Notes a line. If it is to be logged, returns how many of its sort were left out since the last one.
    pub(crate) fn note(&self, line: ClientLine) -> Option<u64> {
        let now = Instant::now();
        // Replaced in one step, so it is valid even after a panic of another holder.
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.get_mut(&line) {
            Some(last) if now - last.logged < PAUSE => {
                last.skipped += 1;
                None
            }
            last => {
                let skipped = last.map_or(0, |last| last.skipped);
                noted.insert(line, Noted { logged: now, skipped: 0 });
                Some(skipped)
            }
        }
    }
}

/// The time between two lines of one sort.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_equal_refusals_one_is_logged_and_the_others_are_counted() {
        use ClientLine::{ReplyCode, Status};

        let denials = Denials::default();
        assert_eq!(
            [Status(400), Status(400), ReplyCode(1), Status(400)].map(|line| denials.note(line)),
            [Some(0), None, Some(0), None]
        );
        time::advance(PAUSE).await;
        assert_eq!([denials.note(Status(400)), denials.note(ReplyCode(1))], [Some(2), Some(0)]);
    }
}
