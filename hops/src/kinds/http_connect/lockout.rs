//! Protection against a lock-out: a wrong password is tried once, not once for every client.

mod rejection;
mod remembered;
mod standing;
mod targets;

use std::{
    convert::Infallible,
    future::{self, Future as _},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard, futures::Notified, oneshot},
    time::{self, Instant, error::Elapsed},
};

use mooltiroute_sso::Ticket;

use self::standing::{Access, Standing};
pub(super) use self::{
    rejection::{Hold, Rejection},
    remembered::{LoginKey, lockout_of},
    standing::{Ruling, Tried},
};
use crate::Authority;

/// The last verdict of a proxy about a hop's credentials. It is shared by all connections of the hop. A hop with other
/// credentials or another address starts with a new one.
///
/// Credentials without a verdict are tried by one request, and the others wait. A proxy that is silent has perhaps accepted
/// them and waits for the target of that request, so one other request may try them then. Those two are all that may fail: the
/// others go on waiting, until silence is as good as a verdict.
#[derive(Debug)]
pub(super) struct Lockout {
    /// Held by the one request that tries credentials while no verdict about them is known.
    gate: Arc<AsyncMutex<()>>,
    standing: Mutex<Standing>,
    /// Wakes those who wait for the gate, after a verdict.
    news: Notify,
    /// The time that a request has for all its rounds.
    handshake: Duration,
    key: Option<LoginKey>,
}

/// The permission to send credentials once, kept until there is a verdict about them.
#[derive(Debug)]
pub(super) struct Permit {
    lockout: Arc<Lockout>,
    sent: Sent,
    /// Others wait for as long as this exists.
    gate: Option<OwnedMutexGuard<()>>,
    /// Nothing is sent. Its end shows that the request has ended.
    under_way: Option<oneshot::Sender<Infallible>>,
}

/// The request that credentials were sent with.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) target: Authority,
    pub(super) at: Instant,
    /// Whether the proxy asked for credentials for this very request. If not, it may have let the request through
    /// without a look at them.
    pub(super) was_asked_for: bool,
    /// The number of the try, if no verdict was known. The next acceptance begins with another number.
    pub(super) try_of: Option<u32>,
}

impl Lockout {
    /// Creates the verdict of a proxy that has said nothing yet. A request that waits for its verdict has `handshake` for all.
    pub(super) fn new(handshake: Duration) -> Self {
        Self {
            gate: Arc::default(),
            standing: Mutex::default(),
            news: Notify::new(),
            handshake,
            key: None,
        }
    }

    /// Waits until the credentials may be sent in a request to `target`. `was_asked_for` says whether the proxy has asked
    /// for them in answer to the same request.
    ///
    /// Credentials that the proxy has accepted may be sent by many requests at once. Otherwise one request tries them,
    /// and the others wait for its verdict. After a rejection no request tries them for a while, except one to another
    /// target if the proxy may have meant that target alone.
    ///
    /// # Errors
    /// The rejection of the last try, while it counts.
    pub(super) async fn permit(
        self: &Arc<Self>,
        target: &Authority,
        was_asked_for: bool,
    ) -> Result<Permit, Hold> {
        loop {
            // Before the look at the verdict, so that none between the two is missed.
            let news = self.news.notified();
            let access = self.standing().access(target)?;
            match access {
                Access::Free => return Ok(self.permitted(target, was_asked_for, None)),
                Access::From(instant) => {
                    // Whichever comes first.
                    let _: Result<(), Elapsed> = time::timeout_at(instant, news).await;
                    continue;
                }
                Access::OneAtATime => {}
            }
            // The gate is a lock and not a flag, because a request can be dropped at any point: its guard then opens the
            // gate for the next one.
            let Some(gate) = self.gate_unless(news).await else { continue };
            // The request that held the gate may have brought a verdict.
            let access = self.standing().access(target)?;
            if matches!(access, Access::OneAtATime) {
                return Ok(self.permitted(target, was_asked_for, Some(gate)));
            }
        }
    }

    /// Waits for the gate. Returns `None` if `news` come first.
    async fn gate_unless(&self, news: Notified<'_>) -> Option<OwnedMutexGuard<()>> {
        let (mut gate, mut news) = (pin!(Arc::clone(&self.gate).lock_owned()), pin!(news));
        future::poll_fn(|context| match gate.as_mut().poll(context) {
            Poll::Ready(gate) => Poll::Ready(Some(gate)),
            Poll::Pending => news.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    fn permitted(
        self: &Arc<Self>,
        target: &Authority,
        was_asked_for: bool,
        gate: Option<OwnedMutexGuard<()>>,
    ) -> Permit {
        let try_of = gate.is_some().then(|| self.standing().begin_try());
        let sent = Sent { target: target.clone(), at: Instant::now(), was_asked_for, try_of };
        Permit { lockout: Arc::clone(self), sent, gate, under_way: None }
    }

    /// Returns how long a proxy may be silent before it is taken to have let a request through to its target.
    pub(super) fn silence_max(&self) -> Duration {
        TRIAL_MAX.min(self.handshake / 2)
    }

    /// Fails while a rejection counts for `target`. Waits for nothing.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    pub(super) fn check(&self, target: &Authority) -> Result<(), Hold> {
        self.standing().access(target).map(drop)
    }

    /// Returns the permission to send the credentials to `target`, if many requests may do that at once.
    ///
    /// # Errors
    /// As [`permit`](Self::permit).
    pub(super) fn permit_at_once(
        self: &Arc<Self>,
        target: &Authority,
    ) -> Result<Option<Permit>, Hold> {
        let access = self.standing().access(target)?;
        Ok(matches!(access, Access::Free).then(|| self.permitted(target, false, None)))
    }

    /// Returns whether a request should first be sent without credentials.
    ///
    /// After a rejection of good credentials, only those that the proxy asked for are a proof if it takes them. Many proxies let some targets
    /// pass without a look at the credentials, and each of these would end the wait for a password that is still wrong.
    pub(super) fn wants_proof(&self) -> bool {
        let standing = self.standing();
        standing.has_accepted && standing.rejected_in_a_row > 0
    }

    /// Records that the proxy accepted the credentials. A rejection that another request has met meanwhile still counts.
    pub(super) fn accepted(&self, sent: &Sent) {
        self.standing().accepted(sent);
        self.news.notify_waiters();
    }

    /// Returns whether the proxy has ever accepted the credentials, so that they were right once.
    pub(super) fn has_accepted(&self) -> bool {
        self.standing().has_accepted
    }

    /// Returns the ticket whose rejection still counts.
    pub(super) fn rejected_ticket(&self) -> Option<Ticket> {
        self.standing().rejected_ticket().cloned()
    }

    /// Notes which ticket was rejected, once that is known.
    pub(super) fn ticket_identified(&self, found: Option<Ticket>) {
        self.standing().ticket_identified(found);
    }

    /// Forgets the rejection of `old`, because another ticket is there now.
    pub(super) fn ticket_changed(&self, old: &Ticket) {
        self.standing().ticket_changed(old);
        self.news.notify_waiters();
    }

    /// Ends the wait after a rejection, by an order of the operator. It allows one more try: a further rejection still is
    /// one in a row.
    pub(super) fn release(&self) {
        self.standing().release();
        self.news.notify_waiters();
    }

    /// Records a rejection, so that nothing tries the credentials for a while. Without `sent`, it was the domain that
    /// rejected them, for all targets.
    pub(super) fn rejected(
        self: &Arc<Self>,
        rejection: Rejection,
        tried: Tried,
        sent: Option<&Sent>,
    ) -> Ruling {
        let ruling = self.standing().rejected(rejection, tried, sent);
        self.news.notify_waiters();
        remembered::remember(self);
        ruling
    }

    fn counts_rejections(&self) -> bool {
        self.standing().rejected_in_a_row > 0
    }

    /// Returns how long the credentials are still held back, in whole seconds.
    pub(super) fn held_back(&self) -> Option<Duration> {
        self.standing().held_back()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // Nothing that panics is done under the lock.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Returns the request that the credentials go with.
    pub(super) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Returns whether no verdict was known, so that others may wait for this one.
    pub(super) fn is_try(&self) -> bool {
        self.sent.try_of.is_some()
    }

    /// Notes that the last credentials are sent now, and limits how long others wait for the answer.
    ///
    /// A proxy rejects credentials at once. If it has said nothing for some seconds, it has probably let the request
    /// through and waits for the target, which may take minutes.
    pub(super) fn begin_trial(&mut self, was_asked_for: bool) {
        (self.sent.at, self.sent.was_asked_for) = (Instant::now(), was_asked_for);
        let Some(gate) = self.gate.take() else { return };
        let (under_way, ended) = oneshot::channel::<Infallible>();
        let lockout = Arc::clone(&self.lockout);
        let is_first = lockout.standing().is_first_try();
        let verdict = async move {
            let patience = if is_first { lockout.silence_max() } else { lockout.last_silence() };
            let is_silent = time::timeout(patience, ended).await.is_err();
            // If it does reject them after all, the rejections before that one still count.
            if is_silent && !is_first {
                lockout.standing().presumed_accepted();
            }
            drop(gate);
        };
        #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
        drop(tokio::spawn(verdict));
        self.under_way = Some(under_way);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lockout.standing().end_try(&self.sent);
    }
}

impl Lockout {
    /// Returns how long the last request that may fail delays the others.
    fn last_silence(&self) -> Duration {
        LAST_TRIAL_MAX.min(self.handshake)
    }
}

/// PAM delays a rejection by 2 to 3 s.
const TRIAL_MAX: Duration = Duration::from_secs(5);
/// A slower proxy than that is not worth the wait of all clients.
const LAST_TRIAL_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
