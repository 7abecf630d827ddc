//! The way of a plain request to its upstream.

use std::sync::Arc;

use mooltiroute_hops::{PlainRequest, Preferences, Request, RequestLine};

use crate::{
    client::forward::{
        exchange::Hearing,
        upstream::{Key, Upstream},
    },
    http::{AbsoluteTarget, BodyLength, RequestHead, Resource},
    metrics::CountBytes,
    state::generation::Generation,
    upstream::{
        chain::{Chain, ChainError, Destination, Trace},
        rounds::Round,
    },
};

/// The plan for one request.
pub(crate) struct Plan<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) resource: &'a Resource,
    pub(crate) chain: &'a Chain,
    pub(crate) generation: &'a Generation,
    /// The protocols to switch to that the client offers and the configuration allows.
    pub(crate) upgrade: Option<String>,
    pub(in crate::client::forward) key: Key,
    /// Counts the bytes that move.
    pub(crate) counts: &'a dyn CountBytes,
    /// The unanswered request, if it goes through hops, which may lead back here.
    round: Option<Round>,
}

/// How often a request is sent again after a challenge. Clients share a nonce of Digest, so that others may have used up each
/// one that a request is given. A wrong password ends the request at the first rejection.
pub(crate) const CHALLENGES_MAX: usize = 5;

impl<'a> Plan<'a> {
    /// Plans to send the request `head`, which is for `resource`, through `chain`.
    pub(crate) fn new(
        head: &'a RequestHead,
        resource: &'a Resource,
        chain: &'a Arc<Chain>,
        preferences: Preferences,
        generation: &'a Generation,
    ) -> Self {
        // A connection that is kept must not keep a chain that is no longer in force.
        let key = Key { chain: Arc::downgrade(chain), preferences };
        let offered = head.upgrade();
        let upgrade = offered.and_then(|offered| allowed(&offered, &generation.upgrades));
        let counts: &dyn CountBytes = &**chain.meter();
        Self { head, resource, chain, generation, upgrade, key, counts, round: None }
    }

    /// Counts bytes with `counts`, which counts for the chain too.
    #[must_use]
    pub(crate) fn counted_by(self, counts: &'a dyn CountBytes) -> Self {
        Self { counts, ..self }
    }

    /// Counts the request as unanswered in `round`.
    #[must_use]
    pub(crate) fn in_round(self, round: Option<Round>) -> Self {
        Self { round, ..self }
    }

    /// Notes that the request has reached its upstream.
    pub(crate) fn reaches_upstream(&self) {
        if let Some(round) = &self.round {
            round.reached_hop();
        }
    }

    /// Notes that the head of the answer has come.
    pub(crate) fn is_answered(&self) {
        if let Some(round) = &self.round {
            round.answered();
        }
    }

    /// Opens a connection that can carry the request, and reports each step to `trace`.
    pub(crate) async fn open(&self, trace: &impl Trace) -> Result<Upstream, ChainError> {
        // A hop that forwards is asked with the absolute URI, which its credentials may depend on
        // (Digest covers method and URI).
        let uri = self.absolute();
        let line = self.line(&uri);
        let end = if self.may_be_forwarded() {
            Destination::Forwarder(self.plain(line))
        } else {
            Destination::Target
        };
        let connected = self.chain.travel(self.request(line), end, trace).await?;
        Ok(Upstream::of(connected, self))
    }

    /// Prepares `kept` for this request. Returns whether it can carry it.
    pub(crate) async fn prepare(&self, kept: &mut Upstream) -> Result<bool, ChainError> {
        let uri = self.absolute();
        let line = self.line(&uri);
        kept.prepare(self.chain, self.request(line), self.plain(line)).await
    }

    pub(super) fn request<'l>(&'l self, line: RequestLine<'l>) -> Request<'l> {
        Request::new(self.resource.authority(), &self.key.preferences)
            .marked(self.generation.via.as_deref())
            .with_plain(line)
    }

    pub(super) fn plain<'l>(&'l self, line: RequestLine<'l>) -> PlainRequest<'l> {
        PlainRequest { line, target: self.resource.authority(), has_body: self.has_body() }
    }

    /// Whether to send the request again, since the last hop wanted credentials and let it go no further.
    pub(crate) fn goes_on(&self, hearing: Hearing) -> bool {
        hearing == Hearing::Challenged && !self.has_body()
    }

    /// Whether the request has a body. A body is not stored on its way, so it can't be sent a second time.
    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.head.body_length(), BodyLength::Empty | BodyLength::Length(0))
    }

    fn absolute(&self) -> AbsoluteTarget<'_> {
        AbsoluteTarget(self.head, self.resource)
    }

    fn line<'l>(&'l self, uri: &'l AbsoluteTarget<'_>) -> RequestLine<'l> {
        RequestLine { method: self.head.method(), uri }
    }

    /// Whether `kept` can carry the request.
    pub(crate) fn fits(&self, kept: &Upstream) -> bool {
        let is_too_old = self.chain.rotate_after().is_some_and(|age| kept.is_older_than(age));
        !is_too_old && kept.serves(self.resource.authority(), self.may_be_forwarded(), &self.key)
    }

    /// Whether the request can be sent again if the first copy may have been lost (RFC 9110 §9.2.2).
    pub(crate) fn is_repeatable(&self) -> bool {
        const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
        !self.has_body() && IDEMPOTENT.contains(&self.head.method())
    }

    /// Many proxies drop `Upgrade`; through a tunnel it reaches the origin.
    fn may_be_forwarded(&self) -> bool {
        self.upgrade.is_none()
    }
}

/// Returns those of the `offered` protocols that are `allowed`, as the value of an `Upgrade` field.
///
/// An upgrade is an offer that an origin may ignore (RFC 9110 §7.8), but a request that carries one needs a tunnel to the
/// origin, which many proxies refuse to port 80. So an offer that hardly any origin takes up, such as the TLS/1.2 of some
/// HTTP libraries, would break a request that works without it.
pub(super) fn allowed(offered: &str, allowed: &[Box<str>]) -> Option<String> {
    let is_allowed = |protocol: &&str| {
        // An entry without a version allows all versions of its protocol.
        let name = protocol.split('/').next().unwrap_or_default();
        allowed
            .iter()
            .any(|known| known.eq_ignore_ascii_case(protocol) || known.eq_ignore_ascii_case(name))
    };
    let kept: Vec<&str> = offered.split(", ").filter(is_allowed).collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(offered: &str, known: &[&str], expected: Option<&str>) {
        let known: Vec<Box<str>> = known.iter().map(|known| (*known).into()).collect();
        assert_eq!(allowed(offered, &known).as_deref(), expected, "{offered} of {known:?}");
    }

    #[test]
    fn only_allowed_protocols_are_offered_to_the_origin() {
        let websocket = ["websocket"].as_slice();
        check("websocket", websocket, Some("websocket"));
        check("WebSocket", websocket, Some("WebSocket"));
        check("websocket/13", websocket, Some("websocket/13"));
        check("TLS/1.2, websocket, foo", websocket, Some("websocket"));
        for other in ["TLS/1.2", "tls/1.0", "HTTP/2.0", "websockets", "web", "foo, bar/1"] {
            check(other, websocket, None);
        }
        check("websocket", &[], None);
        check("tls/1.2, tls/1.3", &["TLS/1.2"], Some("tls/1.2"));
        check("tls/1.2, IRC/6.9, RTA/x11", &["tls", "irc/6.9"], Some("tls/1.2, IRC/6.9"));
    }
}
