//! Protection against a lock-out: a wrong password is tried once, not once for every client.

mod rejection;

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

pub(super) use self::rejection::{Hold, Rejection};

/// The last verdict of a proxy about a hop's credentials. It is shared by all connections of the hop, and a reload that
/// changes the hop starts with a new one.
#[derive(Debug)]
pub(super) struct Lockout {
    /// Held by the one request that tries credentials while no verdict about them is known.
    gate: Arc<AsyncMutex<()>>,
    standing: Mutex<Standing>,
    /// The longest that others wait for the answer to a plain request.
    trial_max: Duration,
}

#[derive(Debug, Default)]
struct Standing {
    verdict: LastVerdict,
    /// The rejections since the credentials were last accepted.
    rejected_in_a_row: u32,
    /// Whether the credentials were ever accepted.
    has_accepted: bool,
}

/// The proof that was rejected.
#[derive(Clone, Debug)]
pub(super) enum Tried {
    /// A password, or the keys of a keytab. Its rejection is a failed logon, of which a few lock the account.
    Logon,
    /// A ticket, if it can be told which. The domain has already accepted its user, so no account is locked.
    Ticket(Option<Ticket>),
}

impl Tried {
    /// Returns how long nothing is tried after so many rejections in a row before this one.
    ///
    /// Domains commonly lock an account after five failed logons, some after three, and count a failed logon for 30 min
    /// after it. So a logon is repeated once, in case the proxy's own connection to the domain was broken, and then only
    /// when both are forgotten.
    fn window(&self, rejected_before: u32) -> Duration {
        match self {
            Self::Logon if rejected_before == 0 => WINDOW_MIN,
            Self::Logon => LOGON_WINDOW_MAX,
            Self::Ticket(_) => {
                (WINDOW_MIN * 2_u32.pow(rejected_before.min(DOUBLINGS_MAX))).min(TICKET_WINDOW_MAX)
            }
        }
    }
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
            standing: Mutex::default(),
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
                lockout.presumed_accepted();
            }
            drop(gate);
        };
        #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
        drop(tokio::spawn(verdict));
        Some(Trial { _under_way: under_way })
    }

    /// Returns how long a proxy may be silent before it is taken to have let a request through to its target.
    pub(super) fn silence_max(&self) -> Duration {
        self.trial_max
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
        let mut standing = self.standing();
        standing.has_accepted = true;
        if standing.accept() {
            standing.rejected_in_a_row = 0;
        }
    }

    /// Returns whether the proxy has ever accepted the credentials, so that they were right once.
    pub(super) fn has_accepted(&self) -> bool {
        self.standing().has_accepted
    }

    /// Lets other requests use the credentials, because the proxy has not rejected them for a while. If it does so after
    /// all, the rejections before this one still count.
    fn presumed_accepted(&self) {
        self.standing().accept();
    }

    /// Returns the ticket whose rejection still counts.
    pub(super) fn rejected_ticket(&self) -> Option<Ticket> {
        match &self.standing().verdict {
            LastVerdict::Rejected { ticket, until, .. } if *until > Instant::now() => {
                ticket.clone()
            }
            _ => None,
        }
    }

    /// Notes which ticket was rejected, once that is known.
    pub(super) fn ticket_identified(&self, found: Option<Ticket>) {
        if let LastVerdict::Rejected { ticket, .. } = &mut self.standing().verdict {
            *ticket = found;
        }
    }

    /// Forgets the rejection of `old`, because another ticket is there now.
    pub(super) fn ticket_changed(&self, old: &Ticket) {
        // Between the two calls another request may have met a rejection of the new ticket, which must not be
        // forgotten.
        let mut standing = self.standing();
        if matches!(&standing.verdict, LastVerdict::Rejected { ticket: Some(ticket), .. } if ticket == old)
        {
            *standing = Standing::default();
        }
    }

    /// Ends the wait after a rejection, by an order of the operator. It allows one more try: a further rejection still is
    /// one in a row.
    pub(super) fn release(&self) {
        let mut standing = self.standing();
        if matches!(standing.verdict, LastVerdict::Rejected { .. }) {
            standing.verdict = LastVerdict::Unknown;
        }
    }

    /// Records a rejection, so that nothing tries the credentials for a while. Returns how long they are held back from
    /// now on.
    pub(super) fn rejected(&self, rejection: Rejection, tried: Tried) -> Duration {
        let now = Instant::now();
        let mut standing = self.standing();
        if let LastVerdict::Rejected { until, .. } = &standing.verdict
            && *until > now
        {
            // Several requests can have been on their way with credentials that were good until now.
            return until.saturating_duration_since(now);
        }
        let window = tried.window(standing.rejected_in_a_row);
        let ticket = match tried {
            Tried::Logon => None,
            Tried::Ticket(ticket) => ticket,
        };
        standing.verdict = LastVerdict::Rejected { rejection, ticket, until: now + window };
        standing.rejected_in_a_row = standing.rejected_in_a_row.saturating_add(1);
        window
    }

    /// Returns how long the credentials are still held back, in whole seconds.
    pub(super) fn held_back(&self) -> Option<Duration> {
        self.check().err().map(|hold| hold.wait)
    }

    /// Returns whether the proxy accepted the credentials the last time.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    pub(super) fn is_accepted(&self) -> Result<bool, Hold> {
        match &self.standing().verdict {
            LastVerdict::Unknown => Ok(false),
            LastVerdict::Accepted => Ok(true),
            // The client receives the proxy's own words again, with the time that is left.
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

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // Nothing that panics is done under the lock.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Counts the credentials as accepted, unless a rejection holds them back. Returns whether they are.
    fn accept(&mut self) -> bool {
        // Requests with credentials that were once accepted run at the same time. A slow success may come after a
        // newer rejection, as when the password was changed in between.
        let is_held =
            matches!(&self.verdict, LastVerdict::Rejected { until, .. } if *until > Instant::now());
        if !is_held {
            self.verdict = LastVerdict::Accepted;
        }
        !is_held
    }
}

/// The wait after the first rejection.
const WINDOW_MIN: Duration = Duration::from_secs(30);
/// The wait after each further failed logon. It is longer than the 30 min for which domains commonly count one: one after
/// less than that would extend the count, and so add up to a lock-out.
const LOGON_WINDOW_MAX: Duration = Duration::from_secs(35 * 60);
/// The longest wait after a rejected ticket.
const TICKET_WINDOW_MAX: Duration = Duration::from_secs(300);
/// After so many, the longest wait is reached.
const DOUBLINGS_MAX: u32 = 4;
/// PAM delays a rejection by 2 to 3 s.
const TRIAL_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;
    use crate::{Meaning, Party, Refusal};

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
    async fn a_client_that_never_stops_asking_makes_two_failed_logons_in_thirty_minutes() {
        let (lockout, begun) = (lockout(), Instant::now());
        let mut logons = Vec::new();
        while begun.elapsed() < Duration::from_secs(2 * 3600) {
            if lockout.permit().await.is_ok() {
                logons.push(begun.elapsed().as_secs());
                lockout.rejected(rejection(), Tried::Logon);
            }
            time::advance(Duration::from_secs(4)).await;
        }
        assert_eq!(logons[..2], [0, 32]);
        assert!(logons.len() > 3, "they are tried again some day: {logons:?}");
        // A domain forgets failed logons only if 30 min pass without any.
        assert!(logons[1..].windows(2).all(|pair| pair[1] - pair[0] > 30 * 60), "{logons:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_acceptance_begins_the_count_again_and_a_presumed_one_does_not() {
        let lockout = Arc::new(lockout());
        for _ in 0..3 {
            lockout.rejected(rejection(), Tried::Logon);
            assert_eq!(wait(&lockout).await, Some(WINDOW_MIN));
            time::advance(WINDOW_MIN).await;
            lockout.accepted();
        }
        lockout.rejected(rejection(), Tried::Logon);
        time::advance(WINDOW_MIN).await;
        // A proxy that takes longer than this to reject a password.
        let trial = lockout.trial(lockout.permit().await.unwrap());
        drop(lockout.permit().await.unwrap());
        lockout.rejected(rejection(), Tried::Logon);
        drop(trial);
        assert_eq!(wait(&lockout).await, Some(LOGON_WINDOW_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_of_the_operator_allows_one_more_try() {
        let lockout = lockout();
        lockout.rejected(rejection(), Tried::Logon);
        lockout.release();
        drop(lockout.permit().await.unwrap());
        lockout.rejected(rejection(), Tried::Logon);
        assert_eq!(wait(&lockout).await, Some(LOGON_WINDOW_MAX));
        lockout.release();
        assert!(lockout.held_back().is_none());
        lockout.accepted();
        lockout.release();
        assert!(lockout.is_accepted().unwrap(), "there is nothing to end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_ticket_counts_for_windows_that_double_up_to_five_minutes() {
        let lockout = lockout();
        for seconds in [30, 60, 120, 240, 300, 300] {
            drop(lockout.permit().await.unwrap());
            lockout.rejected(rejection(), Tried::Ticket(None));
            assert_eq!(wait(&lockout).await, Some(Duration::from_secs(seconds)));
            time::advance(Duration::from_secs(seconds)).await;
        }
        drop(lockout.permit().await.unwrap());
        lockout.accepted();
        lockout.rejected(rejection(), Tried::Ticket(None));
        assert_eq!(wait(&lockout).await, Some(WINDOW_MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn others_wait_for_the_verdict_and_get_it() {
        let lockout = lockout();
        let first = lockout.permit().await.unwrap();
        let (second, ()) = tokio::join!(lockout.permit(), async {
            lockout.rejected(rejection(), Tried::Logon);
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
        lockout.rejected(rejection(), Tried::Logon);
        assert!(lockout.permit().await.is_err(), "a late rejection counts");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rejection_of_a_plain_request_reaches_those_who_wait_at_once() {
        let lockout = Arc::new(lockout());
        let begun = Instant::now();
        let trial = lockout.trial(lockout.permit().await.unwrap());
        let (second, ()) = tokio::join!(lockout.permit(), async {
            lockout.rejected(rejection(), Tried::Logon);
            drop(trial);
        });
        assert!(second.is_err() && begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_ticket_ends_the_rejection_of_the_old_one() {
        let lockout = lockout();
        let ticket = |ends_at| Ticket { principal: "alice@CORP.TEST".into(), ends_at };
        lockout.rejected(rejection(), Tried::Ticket(None));
        assert_eq!(lockout.rejected_ticket(), None);
        lockout.ticket_identified(Some(ticket(1)));
        assert_eq!(lockout.rejected_ticket(), Some(ticket(1)));
        lockout.ticket_changed(&ticket(2));
        assert!(lockout.check().is_err(), "another request has seen to it");
        lockout.ticket_changed(&ticket(1));
        assert!(lockout.check().is_ok());
    }
}
