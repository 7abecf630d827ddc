//! Protection against a lock-out: a wrong password is tried once, not once for every client.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot},
    time::{self, Instant},
};

use mooltiroute_sso::Ticket;

use crate::{HeldBack, HopError, MissingCredentials, Refusal};

/// A rejection of credentials, by the proxy or by the domain that issues tickets for it.
#[derive(Clone, Debug)]
pub(super) enum Rejection {
    ByProxy(Box<Refusal>),
    ByDomain(Box<MissingCredentials>),
}

impl Rejection {
    /// Returns the error of the request that was rejected. The credentials are held back for `wait` from now on.
    pub(super) fn met(self, wait: Duration) -> HopError {
        match self {
            Self::ByProxy(mut refusal) => {
                refusal.held_back = Some(wait);
                HopError::Refused(refusal)
            }
            Self::ByDomain(mut missing) => {
                missing.retry_after = Some(wait);
                HopError::NoCredentials(missing)
            }
        }
    }
}

/// A rejection that keeps the credentials of later requests from being sent.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    rejection: Rejection,
    /// The time that is left of it.
    wait: Duration,
}

impl From<Hold> for HopError {
    /// Returns the error of a request that did not send the credentials.
    fn from(Hold { rejection, wait }: Hold) -> Self {
        match rejection {
            Rejection::ByProxy(refusal) => {
                Self::HeldBack(Box::new(HeldBack { wait, refusal: *refusal }))
            }
            Rejection::ByDomain(mut missing) => {
                missing.retry_after = Some(wait);
                missing.details = format!(
                    "credentials not sent: held back for another {} s, after this: {}",
                    wait.as_secs(),
                    missing.details
                );
                Self::NoCredentials(missing)
            }
        }
    }
}

/// The last verdict of a proxy about a hop's credentials. It is shared by all connections of the hop, and a reload that
/// changes the hop starts with a new one.
#[derive(Debug)]
pub(super) struct Lockout {
    /// Held by the one request that tries credentials while no verdict about them is known.
    gate: Arc<AsyncMutex<()>>,
    verdict: Mutex<LastVerdict>,
    /// The longest that others wait for the answer to a plain request.
    trial_max: Duration,
}

#[derive(Debug, Default)]
enum LastVerdict {
    #[default]
    Unknown,
    Accepted,
    Rejected {
        rejection: Rejection,
        /// The ticket that was rejected, if it was one.
        ticket: Option<Ticket>,
        until: Instant,
        window: Duration,
    },
}

/// The permission to send credentials once. Others wait for as long as it exists, unless the credentials were accepted
/// before.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Option<OwnedMutexGuard<()>>,
}

/// A try of credentials by a request whose answer may take long. Others wait while it exists.
#[derive(Debug)]
pub(super) struct Trial {
    /// Nothing is sent. Its end shows that there is a verdict, or that the request was given up.
    _under_way: oneshot::Sender<Infallible>,
}

impl Lockout {
    /// Creates the verdict of a proxy that has said nothing yet. A request that waits for its verdict has `handshake` for all.
    pub(super) fn new(handshake: Duration) -> Self {
        Self {
            gate: Arc::default(),
            verdict: Mutex::default(),
            trial_max: TRIAL_MAX.min(handshake / 2),
        }
    }

    /// Waits until the credentials may be sent.
    ///
    /// Credentials that the proxy has accepted may be sent by many requests at once. Otherwise one request tries them,
    /// and the others wait for its verdict. After a rejection no request tries them for a while.
    ///
    /// # Errors
    /// The rejection of the last try, while it counts.
    pub(super) async fn permit(&self) -> Result<Permit, Hold> {
        if self.is_accepted()? {
            return Ok(Permit { gate: None });
        }
        // The gate is a lock and not a flag, because a request can be dropped at any point: its guard then opens the
        // gate for the next one.
        let gate = Arc::clone(&self.gate).lock_owned().await;
        // The request that held the gate may have brought a verdict.
        let gate = (!self.is_accepted()?).then_some(gate);
        Ok(Permit { gate })
    }

    /// Keeps a permit until the answer to a plain request comes, or for a limited time.
    ///
    /// A proxy rejects credentials at once. If it has said nothing for that long, it has let the request through and
    /// waits for the target, which may take minutes. So the credentials count as accepted then. Returns `None` if others
    /// don't wait for this permit.
    pub(super) fn trial(self: &Arc<Self>, permit: Permit) -> Option<Trial> {
        let gate = permit.gate?;
        let (under_way, ended) = oneshot::channel::<Infallible>();
        let lockout = Arc::clone(self);
        let verdict = async move {
            if time::timeout(lockout.trial_max, ended).await.is_err() {
                lockout.accepted();
            }
            drop(gate);
        };
        #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
        drop(tokio::spawn(verdict));
        Some(Trial { _under_way: under_way })
    }

    /// Fails while a rejection counts. Waits for nothing.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    pub(super) fn check(&self) -> Result<(), Hold> {
        self.is_accepted().map(drop)
    }

    /// Records that the proxy accepted the credentials. A rejection that another request has met meanwhile still counts.
    pub(super) fn accepted(&self) {
        let mut verdict = self.verdict();
        // Requests with credentials that were once accepted run at the same time. A slow success may come after a
        // newer rejection, as when the password was changed in between.
        let is_recent = |until: &Instant| *until > Instant::now();
        if !matches!(&*verdict, LastVerdict::Rejected { until, .. } if is_recent(until)) {
            *verdict = LastVerdict::Accepted;
        }
    }

    /// Returns the ticket whose rejection still counts.
    pub(super) fn rejected_ticket(&self) -> Option<Ticket> {
        match &*self.verdict() {
            LastVerdict::Rejected { ticket, until, .. } if *until > Instant::now() => {
                ticket.clone()
            }
            _ => None,
        }
    }

    /// Forgets the rejection of `old`, because another ticket is there now.
    pub(super) fn ticket_changed(&self, old: &Ticket) {
        // Between the two calls another request may have met a rejection of the new ticket, which must not be
        // forgotten.
        let mut verdict = self.verdict();
        if matches!(&*verdict, LastVerdict::Rejected { ticket: Some(ticket), .. } if ticket == old)
        {
            *verdict = LastVerdict::Unknown;
        }
    }

    /// Records a rejection, so that nothing tries the credentials for 30 s, and twice as long after each further
    /// rejection, up to 5 min. `ticket` is the one that was rejected. Returns how long they are held back from now on.
    pub(super) fn rejected(&self, rejection: Rejection, ticket: Option<Ticket>) -> Duration {
        let now = Instant::now();
        let mut verdict = self.verdict();
        let window = match &*verdict {
            // Several requests can have been on their way with credentials that were good until now.
            LastVerdict::Rejected { until, .. } if *until > now => {
                return until.saturating_duration_since(now);
            }
            LastVerdict::Rejected { window, .. } => (*window * 2).min(WINDOW_MAX),
            LastVerdict::Unknown | LastVerdict::Accepted => WINDOW_MIN,
        };
        *verdict = LastVerdict::Rejected { rejection, ticket, until: now + window, window };
        window
    }

    /// Returns whether the proxy accepted the credentials the last time.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    pub(super) fn is_accepted(&self) -> Result<bool, Hold> {
        match &*self.verdict() {
            LastVerdict::Unknown => Ok(false),
            LastVerdict::Accepted => Ok(true),
            // The client receives the proxy's own words again, with the time that is left. A rejection whose time is
            // over is kept until the next verdict, since its window is the base of the next one.
            LastVerdict::Rejected { rejection, until, .. } => {
                let rest = until.saturating_duration_since(Instant::now());
                if rest.is_zero() {
                    return Ok(false);
                }
                // Rounded up, so that a client that comes back after it is not too early.
                let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
                Err(Hold { rejection: rejection.clone(), wait: Duration::from_secs(seconds) })
            }
        }
    }

    fn verdict(&self) -> MutexGuard<'_, LastVerdict> {
        // Nothing that panics is done under the lock.
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const WINDOW_MIN: Duration = Duration::from_secs(30);
const WINDOW_MAX: Duration = Duration::from_secs(300);
/// PAM delays a rejection by 2 to 3 s.
const TRIAL_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;
    use crate::{Meaning, Party};

    fn lockout() -> Lockout {
        Lockout::new(Duration::from_secs(30))
    }

    fn rejection() -> Rejection {
        Rejection::ByProxy(Refusal::new(Meaning::Credentials, Party::Hop, "407").into())
    }

    /// Returns how long the credentials are not tried.
    async fn wait(lockout: &Lockout) -> Option<Duration> {
        Some(lockout.permit().await.unwrap_err().wait)
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_counts_for_windows_that_double_up_to_five_minutes() {
        let lockout = lockout();
        for seconds in [30, 60, 120, 240, 300, 300] {
            drop(lockout.permit().await.unwrap());
            lockout.rejected(rejection(), None);
            assert_eq!(wait(&lockout).await, Some(Duration::from_secs(seconds)));
            time::advance(Duration::from_secs(seconds)).await;
        }
        drop(lockout.permit().await.unwrap());
        lockout.accepted();
        lockout.rejected(rejection(), None);
        assert_eq!(wait(&lockout).await, Some(WINDOW_MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn others_wait_for_the_verdict_and_get_it() {
        let lockout = lockout();
        let first = lockout.permit().await.unwrap();
        let (second, ()) = tokio::join!(lockout.permit(), async {
            lockout.rejected(rejection(), None);
            drop(first);
        });
        assert!(second.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_was_given_up_makes_room_for_the_next() {
        let lockout = lockout();
        drop(lockout.permit().await.unwrap());
        drop(lockout.permit().await.unwrap());
        lockout.accepted();
        let (one, two) = (lockout.permit().await, lockout.permit().await);
        assert!(one.is_ok() && two.is_ok(), "accepted credentials are used by many at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_request_without_an_answer_delays_others_for_a_limited_time() {
        let lockout = Arc::new(lockout());
        let begun = Instant::now();
        let trial = lockout.trial(lockout.permit().await.unwrap());
        assert!(trial.is_some());
        lockout.permit().await.unwrap();
        assert_eq!(begun.elapsed(), TRIAL_MAX);
        assert!(lockout.is_accepted().unwrap());
        lockout.rejected(rejection(), None);
        assert!(lockout.permit().await.is_err(), "a late rejection counts");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rejection_of_a_plain_request_reaches_those_who_wait_at_once() {
        let lockout = Arc::new(lockout());
        let begun = Instant::now();
        let trial = lockout.trial(lockout.permit().await.unwrap());
        let (second, ()) = tokio::join!(lockout.permit(), async {
            lockout.rejected(rejection(), None);
            drop(trial);
        });
        assert!(second.is_err() && begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_ticket_ends_the_rejection_of_the_old_one() {
        let lockout = lockout();
        let ticket = |ends_at| Ticket { principal: "alice@CORP.TEST".into(), ends_at };
        lockout.rejected(rejection(), Some(ticket(1)));
        assert_eq!(lockout.rejected_ticket(), Some(ticket(1)));
        lockout.ticket_changed(&ticket(2));
        assert!(lockout.check().is_err(), "another request has seen to it");
        lockout.ticket_changed(&ticket(1));
        assert!(lockout.check().is_ok());
    }
}
