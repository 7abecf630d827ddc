//! The way of a plain request to its upstream.

mod trial;

use std::sync::{Arc, Mutex};

use mooltiroute_hops::{PlainRequest, Preferences, Request, RequestLine};

use self::trial::LastHopTrial;
use crate::{
    client::{
        forward::{
            exchange::AnswerProgress,
            outbound::Outbound,
            upstream::{KeptPlace, Key, Upstream},
        },
        reply::NearTarget,
    },
    http::{AbsoluteTarget, BodyLength, RequestHead, Resource, is_idempotent},
    io::CountBytes,
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
    /// The last hop that the request is sent to, if something chose it, until it answers.
    trial: Mutex<LastHopTrial>,
}

/// The use of a kept connection for another request of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client::forward) enum UseOfKept {
    /// It carries the request.
    Carries,
    /// A new connection carries the request, through the same members of pools.
    GivesPlace,
    /// A new connection carries the request.
    Nothing,
}

/// The schemes that authenticate a connection, and not each request (RFC 4559 §6).
const OF_CONNECTION: [&str; 3] = ["NTLM", "Negotiate", "Kerberos"];

/// How often a request is sent again after a challenge. A wrong password ends it at the first rejection. But a kept connection may
/// want another logon, and a nonce of Digest may be used up or too old.
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
        let (round, trial) = (None, Mutex::default());
        Self { head, resource, chain, generation, upgrade, key, counts, round, trial }
    }

    /// Counts bytes with `counts`, which counts for the chain too.
    #[must_use]
    pub(crate) fn counted_by(self, counts: &'a dyn CountBytes) -> Self {
        Self { counts, ..self }
    }

    /// Counts the request as unanswered in `round`.
    pub(crate) fn count_in(&mut self, round: Option<Round>) {
        self.round = round;
    }

    /// Notes that the request has reached its upstream.
    pub(crate) fn reaches_upstream(&self) {
        if let Some(round) = &self.round {
            round.reached_hop();
        }
    }

    /// Notes that the head of the answer has come, with its `status`.
    pub(crate) fn is_answered(&self, status: u16) {
        // An answer below 400 is not a refusal, as zero is none.
        if status >= 400 {
            self.trial().status = status;
        }
        if let Some(round) = &self.round {
            match status {
                500.. => round.failed(),
                _ => round.served(),
            }
        }
    }

    /// Notes that the client left. That counts only if there was no answer before.
    pub(crate) fn is_left(&self) {
        self.round.iter().for_each(Round::left);
    }

    /// Returns the name of the hop that `upstream` ends at, or of the target.
    pub(crate) fn name_of(&self, upstream: &Upstream) -> String {
        Outbound { plan: self, end: &upstream.end }.next_hop()
    }

    /// Returns a note if the target, such as `localhost`, means another machine to the hop at the end of `upstream`,
    /// and that may be why it answered `status`.
    pub(crate) fn near_target(&self, upstream: &Upstream, status: u16) -> Option<String> {
        let last = upstream.end.hop.as_ref()?;
        let host = self.resource.authority().host();
        let near = NearTarget::of(host).filter(|near| near.is_beyond(&last.link.settings()))?;
        let is_file = self.chain.hops().get(last.position).is_none_or(|hop| hop.url.is_none());
        [403, 502, 503, 504]
            .contains(&status)
            .then(|| near.note(host, &self.name_of(upstream), is_file))
    }

    /// Opens a connection that can carry the request, and reports each step to `trace`. If [`settle`](Self::settle) wanted
    /// another hop, the connection takes one in place of the one that failed. Otherwise it takes the same members of pools as
    /// the connection that had the `place`, if they are in use. `is_again` says whether the hop has just asked for credentials
    /// for the request.
    pub(in crate::client::forward) async fn open(
        &self,
        place: Option<&KeptPlace>,
        is_again: bool,
        trace: &impl Trace,
    ) -> Result<Upstream, ChainError> {
        // A hop that forwards is asked with the absolute URI, which its credentials may depend on
        // (Digest covers method and URI).
        let uri = self.absolute();
        let line = self.line(&uri);
        let end = if self.may_be_forwarded() {
            Destination::Forwarder(PlainRequest { is_again, ..self.plain(line, false) })
        } else {
            Destination::Target
        };
        let request = self.request(line);
        let replaced = self.trial().replaced.take();
        let (connected, unproved) = match replaced {
            Some(failed) => self.chain.open_instead(failed, &request, end, trace).await?,
            None => {
                let before = place.map_or(&[][..], |place| &place.taken);
                self.chain.open(&request, end, before, trace).await?
            }
        };
        let mut trial = self.trial();
        (trial.hop, trial.refusal, trial.status) = (unproved, None, 0);
        Ok(Upstream::of(connected, self).in_place_of(place))
    }

    /// Prepares `kept` for this request. Returns whether it can carry it.
    pub(crate) async fn prepare(&self, kept: &mut Upstream) -> Result<bool, ChainError> {
        let uri = self.absolute();
        let line = self.line(&uri);
        let plain = self.plain(line, kept.is_bound());
        kept.prepare(self.chain, &self.request(line), plain).await
    }

    pub(super) fn request<'l>(&'l self, line: RequestLine<'l>) -> Request<'l> {
        Request::new(self.resource.authority(), &self.key.preferences)
            .marked(self.generation.via.as_deref())
            .with_plain(line)
    }

    pub(super) fn plain<'l>(&'l self, line: RequestLine<'l>, is_bound: bool) -> PlainRequest<'l> {
        let (target, has_body) = (self.resource.authority(), self.has_body());
        PlainRequest { has_body, is_bound, ..PlainRequest::new(line, target) }
    }

    /// Returns whether to send the request again, since the last hop wanted credentials and let it go no further.
    pub(crate) fn goes_on(&self, progress: AnswerProgress) -> bool {
        progress == AnswerProgress::Challenged && !self.has_body()
    }

    /// Returns whether the request has a body. A body is not stored on its way, so it can't be sent a second time.
    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.head.body_length(), BodyLength::Empty | BodyLength::Length(0))
    }

    fn absolute(&self) -> AbsoluteTarget<'_> {
        AbsoluteTarget(self.head, self.resource)
    }

    fn line<'l>(&'l self, uri: &'l AbsoluteTarget<'_>) -> RequestLine<'l> {
        RequestLine { method: self.head.method(), uri }
    }

    /// Returns what `kept` is to this request.
    ///
    /// The upstream may be closing the connection at this very moment, and a request that it never read is lost if it can't
    /// be repeated (RFC 9112 §9.3.1). So such a request gets a new connection, unless another one would not be the same.
    pub(in crate::client::forward) fn use_of(&self, kept: &Upstream) -> UseOfKept {
        let is_too_old = self.chain.rotate_after().is_some_and(|age| kept.is_older_than(age));
        if is_too_old || !kept.serves(self.resource.authority(), self.may_be_forwarded(), &self.key)
        {
            UseOfKept::Nothing
        } else if self.is_repeatable() || kept.is_unlike_others() {
            UseOfKept::Carries
        } else {
            UseOfKept::GivesPlace
        }
    }

    /// Returns whether the request can be sent again if the first copy may have been lost (RFC 9110 §9.2.2).
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.has_body() && is_idempotent(self.head.method())
    }

    /// Returns whether the client logs on to the target by a scheme whose proof holds for its connection only.
    pub(in crate::client::forward) fn logs_on_to_target(&self) -> bool {
        let is_of_connection = |value: &[u8]| {
            let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
            OF_CONNECTION.iter().any(|known| scheme.eq_ignore_ascii_case(known.as_bytes()))
        };
        self.head.fields().values("Authorization").any(is_of_connection)
    }

    /// Returns whether a hop may forward the request. Many proxies drop `Upgrade`, which reaches the origin through a tunnel.
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
