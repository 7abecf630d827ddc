//! The rounds on one connection, until the proxy answers or closes it.

use tokio::time::timeout;

use super::{Authenticator, Purpose};
use crate::{
    Authority, Field, HopError, PlainRequest, RequestLine,
    auth::challenge::Challenge,
    exchange::{Answer, Exchange},
    kinds::http_connect::{attempt::Attempt, lockout::Permit},
    refusal::RequestSecrets,
};

/// The request by which the proxy is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum HopRequest<'a> {
    /// A CONNECT with these fields.
    Connect(&'a Authority, &'a [Field]),
    /// A request for the target of a plain one, without a body. The plain request itself has the last credentials.
    Plain(PlainRequest<'a>),
}

/// The end of the rounds on one connection.
#[derive(Debug)]
pub(super) enum RoundsEnd {
    /// The proxy has not answered 407 to these credentials. Others wait as long as the permit exists.
    Answered(Answer, Attempt, Option<Permit>),
    /// These credentials go with the plain request.
    Ready(Attempt, Option<Permit>),
    /// The proxy closes the connection.
    Closes,
    /// A plain request without credentials, by which the proxy was to be asked for a challenge, got no answer.
    Unanswered,
}

impl HopRequest<'_> {
    async fn send(
        &self,
        exchange: &mut Exchange<'_>,
        credentials: Vec<Field>,
    ) -> Result<Answer, HopError> {
        match self {
            Self::Connect(next, fields) => {
                exchange.connect(next, &[fields, &credentials[..]].concat()).await
            }
            // A proxy that asks for nothing passes this on to the target, which must do no harm: HEAD changes nothing
            // there (RFC 9110 §9.2.1), and its answer has no body.
            Self::Plain(PlainRequest { line, target, .. }) => {
                let line = RequestLine { method: "HEAD", uri: line.uri };
                exchange.request(line, target, &credentials).await
            }
        }
    }

    /// Returns whether the credentials need no further round, so that the plain request itself can have them.
    fn takes_along(&self, attempt: &Attempt) -> bool {
        matches!(self, Self::Plain(_)) && attempt.is_last()
    }

    /// Returns whether this only asks if the proxy wants credentials for a plain request.
    fn is_probe(&self, attempt: &Attempt) -> bool {
        matches!((self, attempt), (Self::Plain(_), Attempt::None))
    }
}

impl Authenticator {
    /// Sends a request with better credentials each time that the proxy answers 407.
    ///
    /// Each 407 is answered by at most one more request, until one is a rejection. Some proxies close the connection after a 407
    /// without a word, and their end may come before or after the next request. What was learned from the 407 counts on a new
    /// connection too, unless the credentials belong to the old one.
    pub(super) async fn rounds(
        &self,
        exchange: &mut Exchange<'_>,
        asked: HopRequest<'_>,
        opening: Attempt,
        purpose: Purpose<'_>,
    ) -> Result<RoundsEnd, HopError> {
        let mut attempt = opening;
        // The permit lasts for all rounds of this connection. Other connections with untried credentials wait until
        // then, so that a wrong password reaches the proxy once and not once for each client.
        let mut permit: Option<Permit> = None;
        let mut was_asked = false;
        for _ in 0..ROUNDS_MAX {
            // Since the first round, another request may have met a rejection of what was good before.
            if attempt.is_last() && permit.as_ref().is_some_and(|permit| !permit.is_try()) {
                permit = None;
            }
            // A request without credentials needs no permit, so that a proxy that asks for nothing delays no request.
            if permit.is_none() && !matches!(attempt, Attempt::None) {
                permit = Some(self.lockout.permit(purpose.target, was_asked).await?);
            }
            if let Some(permit) = &mut permit
                && attempt.is_last()
            {
                permit.begin_trial(was_asked);
            }
            if asked.takes_along(&attempt) {
                return Ok(RoundsEnd::Ready(attempt, permit));
            }
            // One request is under way at a time: a proxy that refuses this one would read the next one as addressed
            // to itself.
            let answer = if asked.is_probe(&attempt) {
                match self.probe(exchange, asked).await? {
                    Some(answer) => answer,
                    None => return Ok(RoundsEnd::Unanswered),
                }
            } else {
                match asked.send(exchange, self.fields(&attempt)).await {
                    Err(error) if was_asked && is_end(&error) && !attempt.needs_connection() => {
                        return Ok(RoundsEnd::Closes);
                    }
                    answer => answer?,
                }
            };
            if self.takes_rounds() {
                exchange.report_round(attempt.scheme(), attempt.source(), &answer);
            }
            if answer.status() != 407 {
                return Ok(RoundsEnd::Answered(answer, attempt, permit));
            }
            was_asked = true;
            // The answer is found before the body is drained. A rejection needs no further request, and the schemes
            // on offer must be known to the next connection if this one ends now.
            let challenges = Challenge::parse(answer.challenges());
            let sent = RequestSecrets::of(attempt.field().as_slice());
            attempt = match self.after(attempt, &challenges, purpose).await {
                Ok(attempt) => attempt,
                Err(stop) => {
                    let refusal = answer.into_refusal().without(&sent).without(&self.secrets);
                    let sent = permit.as_ref().map(Permit::sent);
                    return Err(self.stopped(stop, refusal, sent).await);
                }
            };
            // A challenge of NTLM or Negotiate holds for its connection only. So what was just made is thrown away,
            // and a new connection begins from the start, with the scheme that is known by now.
            let goes_on = match exchange.finish(&answer).await {
                Err(error) if is_end(&error) => false,
                goes_on => goes_on? && !exchange.is_used_up().await,
            };
            if !goes_on {
                return Ok(RoundsEnd::Closes);
            }
        }
        Err(HopError::Malformed("it keeps asking for credentials"))
    }
}

impl Authenticator {
    /// Sends a plain request without credentials and without a body, to see if the proxy asks for some. Returns `None` if
    /// there is no usable answer.
    ///
    /// A proxy that asks does so at once. If it is silent, or what comes is no answer, it has passed the request on. Then
    /// the target is the reason, which may serve the request itself anyway.
    pub(super) async fn probe(
        &self,
        exchange: &mut Exchange<'_>,
        asked: HopRequest<'_>,
    ) -> Result<Option<Answer>, HopError> {
        let sent = asked.send(exchange, self.fields(&Attempt::None));
        match timeout(self.lockout.silence_max(), sent).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Err(_)
            | Ok(Err(
                HopError::Closed
                | HopError::Io(_)
                | HopError::Malformed(_)
                | HopError::HeadTooLarge { .. },
            )) => Ok(None),
            // Such as TLS where none is expected, which no other connection changes.
            Ok(Err(error)) => Err(error),
        }
    }
}

/// Returns whether the proxy has ended the connection.
fn is_end(error: &HopError) -> bool {
    matches!(error, HopError::Closed | HopError::Io(_))
}

/// The most requests on one connection, so that a proxy which never ends its challenges is given up.
const ROUNDS_MAX: usize = 6;
