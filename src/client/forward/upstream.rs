//! The upstream connection of a client, which may be kept from one request to the next.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::BytesMut;
use mooltiroute_hops::{Authority, Field, PlainRequest, Preferences, Request, Reuse, Tunnel};
use tokio::time::Instant;

use super::outbound::Plan;
use crate::upstream::{
    chain::{Chain, ChainError, Connected, LastHop, Passage, TakenHop},
    warm,
};

/// A connection that takes plain requests.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(super) tunnel: Tunnel,
    /// Bytes read ahead.
    pub(super) seen: BytesMut,
    pub(super) end: UpstreamEnd,
    key: Key,
    /// When the client came to this place among the exits: when this connection was opened, or an earlier one in its place.
    since: Instant,
    passage: Passage,
    /// The number of requests that it has carried after the first one.
    reused: u32,
    /// Whether a client has begun to log on to the target over it, by a scheme whose proof holds for this connection only.
    is_bound: bool,
}

/// The end of a connection, which decides what it can carry.
#[derive(Clone, Debug)]
pub(super) struct UpstreamEnd {
    /// The last hop, if that forwards requests for any origin. Otherwise the connection ends at `origin`.
    pub(super) hop: Option<LastHop>,
    /// The fields that this hop needs in the next request.
    pub(super) fields: Arc<[Field]>,
    origin: Authority,
    /// Whether it may carry more than one request.
    pub(super) reuse: Reuse,
}

/// A client's place in the pools of a chain, which is all that its next connection takes over.
#[derive(Clone, Debug)]
pub(super) struct KeptPlace {
    /// The choices of the hops.
    pub(super) taken: Arc<[TakenHop]>,
    /// When the client came to it.
    since: Instant,
}

/// The demands of a request on its connection, so that another request can tell whether it can use it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// A reload keeps each chain that it does not change, so that a connection which the origin has authenticated (as by
    /// NTLM) outlives it; a changed chain has connections of its own. Weak, since a connection that waits for its next
    /// request must not keep a chain that is no longer in force.
    pub(super) chain: Weak<Chain>,
    /// A client that prefers another exit must not use this connection.
    pub(super) preferences: Preferences,
}

impl Upstream {
    /// Takes over the connection that was made for the request of `plan`.
    pub(crate) fn of(connected: Connected, plan: &Plan<'_>) -> Self {
        let Connected { tunnel, last, is_at_hop, fields, reuse, passage } = connected;
        // A last hop that opened a tunnel to the origin does not see the requests, so they are not
        // written for it.
        let hop = last.filter(|_| is_at_hop);
        let origin = plan.resource.authority().clone();
        let end = UpstreamEnd { hop, fields, origin, reuse };
        let (key, since) = (plan.key.clone(), Instant::now());
        let (seen, reused, is_bound) = (BytesMut::new(), 0, false);
        Self { tunnel, seen, end, key, since, passage, reused, is_bound }
    }

    /// Counts the age of the client's exit from the time that it came to `place`, if this connection has that place too.
    #[must_use]
    pub(super) fn in_place_of(self, place: Option<&KeptPlace>) -> Self {
        let is_same = |place: &&KeptPlace| self.passage.taken.as_ref() == Some(&place.taken);
        let since = place.filter(is_same).map_or(self.since, |place| place.since);
        Self { since, ..self }
    }

    /// Returns the way that it took, for the request that it was opened for.
    pub(crate) fn passage(&self) -> &Passage {
        &self.passage
    }

    /// Counts another request. Returns whether the client should be told now that it keeps its exit.
    pub(super) fn is_reused(&mut self) -> bool {
        self.reused = self.reused.saturating_add(1);
        self.reused == REQUESTS_WITH_ONE_EXIT - 1
    }

    /// Returns whether it ends at a hop that forwards requests, and not at an origin.
    pub(crate) fn is_at_hop(&self) -> bool {
        self.end.hop.is_some()
    }

    /// Returns whether the client is logging on to the target over it, or has done so.
    pub(super) fn is_bound(&self) -> bool {
        self.is_bound
    }

    /// Returns whether a new connection would not serve the client as this one does: somebody is logged on to this one, or its
    /// hop gives each connection an exit of its own. A member of a pool is no such exit, since it can be chosen again.
    pub(super) fn is_unlike_others(&self) -> bool {
        self.is_bound
            || self.tunnel.logon().is_some_and(|logon| logon.is_logged_on())
            || self.passage.without_session.is_some()
    }

    /// Returns the place of the client in the pools of its chain, which a new connection can take over. `None` without a pool.
    pub(super) fn place(&self) -> Option<KeptPlace> {
        let taken = self.passage.taken.clone()?;
        let has_choice = taken.iter().any(|taken| !taken.numbers.is_empty());
        has_choice.then_some(KeptPlace { taken, since: self.since })
    }

    /// Prepares the connection for another request. Returns whether it can carry one.
    ///
    /// # Errors
    /// The last hop takes no request.
    pub(super) async fn prepare(
        &mut self,
        chain: &Chain,
        request: &Request<'_>,
        plain: PlainRequest<'_>,
    ) -> Result<bool, ChainError> {
        if !chain.agrees(request, &self.passage).await {
            return Ok(false);
        }
        // Only a hop may want new fields for each request, or a new connection.
        let Some(hop) = &self.end.hop else { return Ok(true) };
        let fields = chain.authorize(hop, &mut self.tunnel, request, plain).await?;
        let is_ready = fields.is_some();
        self.end.fields = fields.unwrap_or_default();
        Ok(is_ready)
    }

    /// Returns whether it can carry a request for `origin`. `may_be_forwarded` says whether a hop may forward that
    /// request.
    pub(super) fn serves(&self, origin: &Authority, may_be_forwarded: bool, key: &Key) -> bool {
        // A hop that forwards leads to every origin, a tunnel to one.
        let leads_there = match &self.end.hop {
            Some(_) => may_be_forwarded,
            None => self.end.origin == *origin,
        };
        self.key == *key && leads_there
    }

    /// Returns whether the client has had its exit for longer than `age`.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        self.since.elapsed() > age
    }

    /// Releases the buffer of the last body, and notes what the request of `plan` made of the connection, before that waits
    /// for its next request.
    pub(super) fn rest(&mut self, plan: &Plan<'_>) {
        self.is_bound |= plan.logs_on_to_target();
        // If bytes came behind the answer, they are kept: `is_quiet` then rejects the connection.
        if self.seen.is_empty() {
            self.seen = BytesMut::new();
        }
    }

    /// Returns whether nothing has arrived between requests. A connection on which anything did, even its end, can't be
    /// used any more (RFC 9112 §6.3).
    pub(super) async fn is_quiet(&mut self) -> bool {
        self.seen.is_empty() && warm::is_quiet(&mut self.tunnel).await
    }

    /// Makes closing the connection send a reset.
    pub(super) fn reset(&self) {
        self.tunnel.reset_on_close();
    }

    pub(super) fn into_tunnel(mut self) -> Tunnel {
        self.tunnel.unread(self.seen.freeze());
        self.tunnel
    }
}

/// After this many requests over one connection, the client probably wants to keep the connection, and may not know that it
/// keeps its exit too.
const REQUESTS_WITH_ONE_EXIT: u32 = 10;

impl UpstreamEnd {
    /// Returns the end of a connection to `origin` itself.
    #[cfg(test)]
    pub(super) fn at_origin(origin: Authority) -> Self {
        Self { hop: None, fields: Arc::default(), origin, reuse: Reuse::SameClient }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.chain.ptr_eq(&other.chain) && self.preferences == other.preferences
    }
}
