//! Protection against a lock-out: a wrong password is tried once, not once for every client.

use std::{
    sync::{Mutex, MutexGuard as StdMutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard},
    time::Instant,
};

use crate::Refusal;

/// The last verdict of a proxy about a hop's credentials. It is shared by all connections of the hop, and a reload that
/// changes the hop starts with a new one.
#[derive(Debug, Default)]
pub(super) struct Lockout {
    /// Held by the one request that tries credentials of which no verdict is known.
    gate: AsyncMutex<()>,
    verdict: Mutex<LastVerdict>,
}

#[derive(Debug, Default)]
enum LastVerdict {
    #[default]
    Unknown,
    Accepted,
    Rejected {
        refusal: Box<Refusal>,
        until: Instant,
        window: Duration,
    },
}

/// The permission to send credentials once.
#[derive(Debug)]
pub(super) struct Permit<'l> {
    lockout: &'l Lockout,
    _gate: Option<MutexGuard<'l, ()>>,
}

impl Lockout {
    /// Waits until the credentials may be sent.
    ///
    /// Credentials that the proxy has accepted may be sent by many requests at once. Otherwise one request tries them,
    /// and the others wait for its verdict. After a rejection nobody tries them for a while.
    ///
    /// # Errors
    /// The refusal of the last try, while it counts.
    pub(super) async fn permit(&self) -> Result<Permit<'_>, Box<Refusal>> {
        if self.is_accepted()? {
            return Ok(Permit { lockout: self, _gate: None });
        }
        let gate = self.gate.lock().await;
        // The request that held the gate may have brought a verdict.
        let gate = (!self.is_accepted()?).then_some(gate);
        Ok(Permit { lockout: self, _gate: gate })
    }

    fn is_accepted(&self) -> Result<bool, Box<Refusal>> {
        match &*self.verdict() {
            LastVerdict::Unknown => Ok(false),
            LastVerdict::Accepted => Ok(true),
            LastVerdict::Rejected { refusal, until, .. } => {
                let rest = until.saturating_duration_since(Instant::now());
                if rest.is_zero() {
                    return Ok(false);
                }
                let mut refusal = refusal.clone();
                refusal.retry_after = Some(rest);
                Err(refusal)
            }
        }
    }

    fn verdict(&self) -> StdMutexGuard<'_, LastVerdict> {
        // Nothing that panics is done under the lock.
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Records that the proxy accepted the credentials. A rejection that another request has got meanwhile stands.
    pub(super) fn accepted(self) {
        let mut verdict = self.lockout.verdict();
        let is_recent = |until: &Instant| *until > Instant::now();
        if !matches!(&*verdict, LastVerdict::Rejected { until, .. } if is_recent(until)) {
            *verdict = LastVerdict::Accepted;
        }
    }

    /// Records that the proxy rejected them, so that nobody tries them for 30 s, and twice as long after each further
    /// rejection, up to 5 min.
    pub(super) fn rejected(self, refusal: &Refusal) {
        let now = Instant::now();
        let mut verdict = self.lockout.verdict();
        let window = match &*verdict {
            // Several requests can have been on their way with credentials that were good until now.
            LastVerdict::Rejected { until, .. } if *until > now => return,
            LastVerdict::Rejected { window, .. } => (*window * 2).min(WINDOW_MAX),
            LastVerdict::Unknown | LastVerdict::Accepted => WINDOW_MIN,
        };
        let refusal = Box::new(refusal.clone());
        *verdict = LastVerdict::Rejected { refusal, until: now + window, window };
    }
}

const WINDOW_MIN: Duration = Duration::from_secs(30);
const WINDOW_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;
    use crate::{Meaning, Party};

    fn refusal() -> Refusal {
        Refusal::new(Meaning::Credentials, Party::Hop, "407")
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_counts_for_windows_that_double_up_to_five_minutes() {
        let lockout = Lockout::default();
        for seconds in [30, 60, 120, 240, 300, 300] {
            lockout.permit().await.unwrap().rejected(&refusal());
            let told = lockout.permit().await.unwrap_err();
            assert_eq!(told.retry_after, Some(Duration::from_secs(seconds)));
            time::advance(Duration::from_secs(seconds)).await;
        }
        lockout.permit().await.unwrap().accepted();
        lockout.permit().await.unwrap().rejected(&refusal());
        let told = lockout.permit().await.unwrap_err();
        assert_eq!(told.retry_after, Some(WINDOW_MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn others_wait_for_the_verdict_and_get_it() {
        let lockout = Lockout::default();
        let first = lockout.permit().await.unwrap();
        let (second, ()) = tokio::join!(lockout.permit(), async {
            first.rejected(&refusal());
        });
        assert!(second.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_was_given_up_makes_room_for_the_next() {
        let lockout = Lockout::default();
        drop(lockout.permit().await.unwrap());
        lockout.permit().await.unwrap().accepted();
        let (one, two) = (lockout.permit().await, lockout.permit().await);
        assert!(one.is_ok() && two.is_ok(), "accepted credentials are used by many at once");
    }
}
