//! The authentication of plain requests that the proxy forwards.
//!
//! A request may have a body, which can't be sent twice. So all rounds but the last one are made before it, by requests
//! without a body, and the request itself carries the last credentials. Its answer shows whether they were accepted.
//! NTLM and Negotiate log a connection on, and the requests behind the first one need no credentials then. Each client
//! has connections of its own, so none uses the logon of another.
//!
//! A round that the proxy does not answer by a challenge goes on to the target. After that answer the framing can't be
//! trusted, since some servers answer HEAD with a body. So the request itself then gets a new connection.

use std::{
    any::Any,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    super::{
        attempt::Attempt,
        explanations,
        lockout::{Permit, Rejection, Sent, Tried},
    },
    Authenticator, HopRequest, LoginConnection, Purpose, RoundsEnd,
};
use crate::{
    Authority, Field, HopError, Logon, PlainRequest, Refusal, Tunnel,
    auth::{
        challenge::Challenge,
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

/// Whether a plain request can be sent on a connection, and with which fields.
#[derive(Debug)]
pub(in crate::kinds::http_connect) enum Authorized {
    /// The request, with these fields.
    Ready(Arc<[Field]>),
    /// Nothing: the request needs a new connection. If the proxy was asked whether it wants credentials, that is not to be
    /// repeated there.
    NeedsConnection(Option<ProbeEnd>),
}

/// The outcome of asking a proxy whether it wants credentials for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::http_connect) enum ProbeEnd {
    /// It wants none.
    NotAsked,
    /// There was no usable answer. The request goes with what is known.
    Unanswered,
    /// It wants some, and closed the connection.
    Asked,
}

#[derive(Debug, Default)]
struct LogonState {
    /// The credentials of the request under way.
    attempt: Attempt,
    /// The target of that request, if it has no credentials and the connection is not logged on.
    bare_target: Option<Authority>,
    /// The permission for these credentials. Others may wait for the answer.
    permit: Option<Permit>,
    /// Whether requests on this connection need no credentials any more.
    is_logged_on: bool,
}

impl Authenticator {
    /// Returns whether a plain request can have its fields without any wait: Basic alone, once it was accepted.
    ///
    /// # Errors
    /// The credentials were rejected a short time ago.
    pub(crate) fn is_ready(
        self: &Arc<Self>,
        tunnel: &mut Tunnel,
        target: &Authority,
    ) -> Result<bool, HopError> {
        let permit = match self.lockout.permit_at_once(target)? {
            Some(permit) if !self.takes_rounds() => permit,
            _ => return Ok(false),
        };
        if let Some(basic) = self.basic() {
            self.logon(tunnel).begin(Attempt::Basic(basic.clone()), Some(permit), None);
        }
        Ok(true)
    }

    /// Makes all rounds but the last for a plain request, unless an earlier connection has shown what comes of them.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn authorize(
        self: &Arc<Self>,
        connection: LoginConnection<'_>,
        request: PlainRequest<'_>,
    ) -> Result<Authorized, HopError> {
        let LoginConnection { tunnel, probed, bindings, head_bytes_max } = connection;
        let logon = self.logon(tunnel);
        if logon.is_logged_on() {
            let exchange = Exchange::new(tunnel, head_bytes_max);
            return self.authorize_logged_on(exchange, request).await;
        }
        let PlainRequest { target, has_body, .. } = request;
        let is_exempt =
            probed == Some(ProbeEnd::NotAsked) || self.wishes().exempts(target, has_body);
        // A round between the requests of a logon to the target would end that logon.
        let takes_rounds = matches!(probed, None | Some(ProbeEnd::Asked)) && !request.is_bound;
        let uri = request.line.uri.to_string();
        let is_again = request.is_again || probed == Some(ProbeEnd::Asked);
        let purpose = Purpose {
            method: request.line.method,
            uri: &uri,
            target,
            bindings,
            is_again,
            needs_new_nonce: has_body && takes_rounds && !is_again,
        };
        let opening = if is_exempt { Attempt::None } else { self.opening(purpose).await? };
        let opening = if takes_rounds || opening.is_last() {
            opening
        } else if is_exempt {
            Attempt::None
        } else {
            self.without_rounds()
        };
        // Without a body, the request itself can ask for the challenge. After a rejection it does not: the answer must show
        // whether these credentials are good.
        let asks_itself = !has_body && !self.lockout.wants_proof();
        let is_bare = is_exempt || asks_itself || !takes_rounds;
        let (attempt, permit) = if matches!(opening, Attempt::None) && is_bare {
            (opening, None)
        } else {
            let mut exchange = Exchange::new(tunnel, head_bytes_max);
            match self.rounds(&mut exchange, HopRequest::Plain(request), opening, purpose).await? {
                RoundsEnd::Ready(attempt, permit) => (attempt, permit),
                RoundsEnd::Closes => {
                    return Ok(Authorized::NeedsConnection(Some(ProbeEnd::Asked)));
                }
                // The proxy wants no credentials for this, or knows this machine by its address.
                RoundsEnd::Answered(answer, ..) => {
                    // Only a proxy in trouble fails before it asks.
                    if answer.status() < 500 {
                        self.wishes().note_exempt(target);
                    }
                    return Ok(Authorized::NeedsConnection(Some(ProbeEnd::NotAsked)));
                }
                RoundsEnd::Unanswered => {
                    return Ok(Authorized::NeedsConnection(Some(ProbeEnd::Unanswered)));
                }
            }
        };
        let fields = self.fields(&attempt).into();
        logon.begin(attempt, permit, Some(target));
        Ok(Authorized::Ready(fields))
    }

    /// Returns the fields of a plain request on a connection that is logged on, if the proxy takes it there.
    async fn authorize_logged_on(
        &self,
        mut exchange: Exchange<'_>,
        request: PlainRequest<'_>,
    ) -> Result<Authorized, HopError> {
        let keeps_logons = self.wishes().keeps_logons();
        match keeps_logons {
            // A proxy that asked again on such a connection would do so now too, so each request gets a new one.
            Some(false) => return Ok(Authorized::NeedsConnection(None)),
            // The request could not be sent again if the proxy asked, so a request without a body tries that. Its
            // connection is not used again.
            None if request.has_body && !request.is_bound => {
                if let Some(answer) = self.probe(&mut exchange, HopRequest::Plain(request)).await? {
                    self.wishes().note_kept_logon(answer.status() != 407);
                }
                return Ok(Authorized::NeedsConnection(None));
            }
            Some(true) | None => {}
        }
        Ok(Authorized::Ready(self.fields(&Attempt::None).into()))
    }

    /// Returns the credentials of a request before which the proxy can't be asked for a challenge.
    fn without_rounds(&self) -> Attempt {
        self.basic().map_or(Attempt::None, |basic| Attempt::Basic(basic.clone()))
    }

    /// Records the rejection of a plain request, and notes in it how long the credentials are held back.
    fn hold_back(&self, refusal: &mut Refusal, tried: Tried, sent: Option<&Sent>) {
        let rejection = Rejection::ByProxy(Box::new(refusal.clone()));
        *refusal = self.lockout.rejected(rejection, tried, sent).of(refusal.clone());
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
            // The challenge is not a verdict about credentials, because none were sent.
            let _: DigestVerdict = session.challenged(challenge, None);
        }
        self.methods.iter().any(|method| offered.contains(&method.scheme()))
    }
}

impl ConnectionLogon {
    /// Notes the credentials of the next request.
    fn begin(&self, attempt: Attempt, permit: Option<Permit>, target: Option<&Authority>) {
        let bare_target = target.filter(|_| matches!(attempt, Attempt::None)).cloned();
        let mut state = self.state();
        *state = LogonState { attempt, bare_target, permit, ..mem::take(&mut state) };
    }

    fn state(&self) -> MutexGuard<'_, LogonState> {
        // Replaced in one step, so it is valid even after a panic of another holder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logon for ConnectionLogon {
    fn is_logged_on(&self) -> bool {
        self.state().is_logged_on
    }

    fn accepted(&self) {
        let mut state = self.state();
        let attempt = mem::take(&mut state.attempt);
        if matches!(attempt, Attempt::None) {
            let mut wishes = self.authenticator.wishes();
            match state.bare_target.take() {
                Some(target) => wishes.note_exempt(&target),
                None if state.is_logged_on => wishes.note_kept_logon(true),
                None => {}
            }
        }
        state.is_logged_on |=
            matches!(attempt, Attempt::NtlmAuthenticate(_) | Attempt::Negotiate(_));
        // The verdict comes before the end of the permit, on which others wait for it.
        let permit = state.permit.take();
        self.authenticator.succeeded(&attempt, permit.as_ref().map(Permit::sent));
    }

    fn challenged(&self, challenges: &[&[u8]], refusal: &mut Refusal) -> bool {
        let challenges = Challenge::parse(challenges.iter().copied());
        self.authenticator.leave_secrets_out(refusal);
        // The permit ends with this function, when the verdict is known.
        let LogonState { attempt, bare_target, permit, is_logged_on } =
            mem::take(&mut *self.state());
        let sent = permit.as_ref().map(Permit::sent);
        let Self { authenticator, .. } = self;
        let Some(scheme) = attempt.scheme() else {
            if is_logged_on {
                authenticator.wishes().note_kept_logon(false);
            }
            if let Some(target) = bare_target {
                authenticator.wishes().forget_exempt(&target);
            }
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
            authenticator.hold_back(refusal, Tried::Ticket(None), sent);
            let authenticator = Arc::clone(authenticator);
            // The look at the ticket takes a thread, so it can't be waited for here.
            let record = async move {
                let ticket = authenticator.refused_ticket().await;
                authenticator.lockout.ticket_identified(ticket);
                drop(permit);
            };
            #[expect(clippy::disallowed_methods, reason = "shutdown need not wait for it")]
            drop(tokio::spawn(record));
            return false;
        }
        if authenticator.takes_rounds() {
            *refusal = authenticator.explained_rejection(refusal.clone(), scheme);
        }
        authenticator.hold_back(refusal, Tried::Logon, sent);
        false
    }
}
