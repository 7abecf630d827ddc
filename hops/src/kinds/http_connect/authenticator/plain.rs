//! The authentication of plain requests that the proxy forwards.
//!
//! A request may have a body, which can't be sent twice. So all rounds but the last one are made before it, by requests
//! without a body, and the request itself carries the last credentials. Its answer shows whether they were accepted.
//! NTLM and Negotiate log a connection on, and the requests behind the first one need no credentials then. Each client
//! has connections of its own, so none uses the logon of another.

use std::{
    any::Any,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use super::{
    super::{
        attempt::Attempt,
        explanations,
        lockout::{Permit, Rejection, Trial, Tried},
    },
    Authenticator, HopRequest, Purpose, RoundsEnd,
};
use crate::{
    Field, HopError, Logon, PlainRequest, Refusal, Tunnel,
    auth::{
        challenge::Challenge,
        channel_bindings::ChannelBindings,
        digest::{DigestChallenge, DigestVerdict},
    },
    exchange::Exchange,
};

/// The knowledge about one connection to the proxy.
#[derive(Debug)]
struct ConnectionLogon {
    authenticator: Arc<Authenticator>,
    state: Mutex<LogonState>,
}

#[derive(Debug, Default)]
struct LogonState {
    /// The credentials of the request under way.
    attempt: Attempt,
    /// If others wait for the answer to it.
    trial: Option<Trial>,
    /// Whether requests on this connection need no credentials any more.
    is_logged_on: bool,
}

impl Authenticator {
    /// Returns whether a plain request can have its fields without any wait: Basic alone, once it was accepted.
    ///
    /// # Errors
    /// The credentials were rejected a short time ago.
    pub(crate) fn is_ready(self: &Arc<Self>, tunnel: &mut Tunnel) -> Result<bool, HopError> {
        let is_ready = self.lockout.is_accepted()? && !self.takes_rounds();
        if is_ready && let Some(basic) = self.basic() {
            self.logon(tunnel).begin(Attempt::Basic(basic.clone()), None);
        }
        Ok(is_ready)
    }

    /// Makes all rounds but the last for a plain request. Returns the fields with which the request makes the last one, or
    /// `None` if the proxy closes the connection.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn authorize(
        self: &Arc<Self>,
        tunnel: &mut Tunnel,
        request: PlainRequest<'_>,
        (head_bytes_max, bindings): (usize, Option<&ChannelBindings>),
    ) -> Result<Option<Arc<[Field]>>, HopError> {
        let logon = self.logon(tunnel);
        if logon.state().is_logged_on {
            // A proxy that asked again on such a connection would do so now too, so each request gets a new one.
            let is_kept = !self.asks_for_each_request.load(Relaxed);
            return Ok(is_kept.then(|| self.fields(&Attempt::None).into()));
        }
        let uri = request.line.uri.to_string();
        let purpose = Purpose { method: request.line.method, uri: &uri, bindings };
        let opening = match self.opening(purpose).await? {
            // The nonce may be used up, and the request could not be sent again. So the proxy is asked for a new one.
            Attempt::Digest(_) if request.has_body => Attempt::None,
            opening => opening,
        };
        // Without a body, the request itself can ask for the challenge.
        let can_ask = !request.has_body || self.offered().is_some_and(|offered| offered.is_empty());
        let (attempt, permit) = if matches!(opening, Attempt::None) && can_ask {
            (opening, None)
        } else {
            let mut exchange = Exchange::new(tunnel, head_bytes_max);
            match self.rounds(&mut exchange, HopRequest::Plain(request), opening, purpose).await? {
                RoundsEnd::Ready(attempt, permit) => (attempt, permit),
                RoundsEnd::Closes => return Ok(None),
                // The proxy wants no credentials for this, or knows this machine by its address.
                RoundsEnd::Answered(answer, _) => {
                    self.set_offered(Vec::new());
                    if !exchange.finish(&answer).await? {
                        return Ok(None);
                    }
                    (Attempt::None, None)
                }
            }
        };
        let fields = self.fields(&attempt).into();
        logon.begin(attempt, permit);
        Ok(Some(fields))
    }

    /// Records the rejection of a plain request, and notes in it how long the credentials are held back.
    fn hold_back(&self, refusal: &mut Refusal, tried: Tried) {
        let rejection = Rejection::ByProxy(Box::new(refusal.clone()));
        refusal.held_back = Some(self.lockout.rejected(rejection, tried));
    }

    /// Returns the logon of a connection. A new connection gets one.
    fn logon(self: &Arc<Self>, tunnel: &mut Tunnel) -> Arc<ConnectionLogon> {
        let known = tunnel.logon().map(|known| Arc::clone(known) as Arc<dyn Any + Send + Sync>);
        if let Some(Ok(known)) = known.map(Arc::downcast) {
            return known;
        }
        let authenticator = Arc::clone(self);
        let logon = Arc::new(ConnectionLogon { authenticator, state: Mutex::default() });
        tunnel.set_logon(Arc::clone(&logon) as Arc<dyn Logon>);
        logon
    }

    /// Learns from a challenge to a request without credentials. Returns whether the next one can have some.
    fn learn(&self, challenges: &[Challenge]) -> bool {
        let offered = self.note_offer(challenges);
        if let (Some((_, session)), Ok(challenge)) =
            (self.digest(), DigestChallenge::strongest(challenges))
        {
            // The challenge is no verdict about credentials, because none were sent.
            let _: DigestVerdict = session.challenged(challenge, None);
        }
        self.methods.iter().any(|method| offered.contains(&method.scheme()))
    }
}

impl ConnectionLogon {
    /// Notes the credentials of the next request. With a permit, others wait for the answer to it.
    fn begin(&self, attempt: Attempt, permit: Option<Permit>) {
        let trial = permit.and_then(|permit| self.authenticator.lockout.trial(permit));
        let mut state = self.state();
        *state = LogonState { attempt, trial, ..mem::take(&mut state) };
    }

    fn state(&self) -> MutexGuard<'_, LogonState> {
        // Replaced in one step, so it is valid even after a panic of another holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logon for ConnectionLogon {
    fn accepted(&self) {
        let mut state = self.state();
        let attempt = mem::take(&mut state.attempt);
        state.is_logged_on |=
            matches!(attempt, Attempt::NtlmAuthenticate(_) | Attempt::Negotiate(_));
        // The verdict comes before the end of the trial, on which others wait for it.
        self.authenticator.succeeded(&attempt);
        state.trial = None;
    }

    fn challenged(&self, challenges: &[&[u8]], refusal: &mut Refusal) -> bool {
        let challenges = Challenge::parse(challenges.iter().copied());
        self.authenticator.leave_secrets_out(refusal);
        // The trial ends with this function, when the verdict is known.
        let LogonState { attempt, trial, is_logged_on } = mem::take(&mut *self.state());
        let Self { authenticator, .. } = self;
        let Some(scheme) = attempt.scheme() else {
            authenticator.asks_for_each_request.fetch_or(is_logged_on, Relaxed);
            let can_go_on = authenticator.learn(&challenges);
            *refusal = if can_go_on {
                explanations::asked_late(refusal.clone())
            } else {
                explanations::nothing_in_common(&authenticator.methods, refusal.clone())
            };
            return can_go_on;
        };
        // A target can answer 407 too, and must not be able to block the hop. Proxies don't pass on its challenges,
        // which are for the next client only (RFC 9110 §11.7.1).
        if challenges.is_empty() {
            return false;
        }
        if let Attempt::Digest(sent) = &attempt
            && let Some((_, session)) = authenticator.digest()
            && let Ok(challenge) = DigestChallenge::strongest(&challenges)
            && session.challenged(challenge, Some(sent)) == DigestVerdict::Answer
        {
            return true;
        }
        if let Attempt::Negotiate(round) = &attempt
            && round.is_first()
        {
            *refusal = authenticator.explained_ticket(refusal.clone());
            authenticator.hold_back(refusal, Tried::Ticket(None));
            let authenticator = Arc::clone(authenticator);
            // The look at the ticket takes a thread, so it can't be waited for here.
            let record = async move {
                let ticket = authenticator.ticket().await;
                authenticator.lockout.ticket_identified(ticket);
                drop(trial);
            };
            #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
            drop(tokio::spawn(record));
            return false;
        }
        if authenticator.takes_rounds() {
            *refusal = authenticator.explained_rejection(refusal.clone(), scheme);
        }
        authenticator.hold_back(refusal, Tried::Logon);
        false
    }
}
