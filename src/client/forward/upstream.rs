//! The upstream connection of a client, which may be kept from one request to the next.

use std::sync::Arc;

use bytes::BytesMut;
use mooltiroute_hops::{Authority, Forwarding, Hop, Preferences, Reuse, Tunnel};

use super::outbound::Plan;
use crate::upstream::{chain::Arrival, warm};

/// A connection that takes plain requests.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(super) tunnel: Tunnel,
    /// Bytes read ahead.
    pub(super) seen: BytesMut,
    pub(super) end: End,
    key: Key,
}

/// What a connection is good for.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The last hop, where that forwards requests for any origin; `None`: the connection ends at `origin`.
    pub(super) hop: Option<Arc<dyn Hop>>,
    origin: Authority,
    /// Whether it may carry more than one request.
    pub(super) reuse: Reuse,
}

/// What a request needs of a connection, so that another request can tell whether it can use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// A new generation has connections of its own.
    pub(super) generation: u64,
    pub(super) chain: Arc<str>,
    /// Whoever prefers another exit must not come out at this one.
    pub(super) preferences: Preferences,
}

impl Upstream {
    fn new(arrival: Arrival, origin: Authority, key: Key) -> Self {
        let Arrival { tunnel, last, is_at_hop, reuse } = arrival;
        let hop = last.filter(|_| is_at_hop);
        Self { tunnel, seen: BytesMut::new(), end: End { hop, origin, reuse }, key }
    }

    /// The connection at which `arrival` has come for the request of `plan`.
    pub(crate) fn of(arrival: Arrival, plan: &Plan<'_>) -> Self {
        Self::new(arrival, plan.resource.authority().clone(), plan.key.clone())
    }

    /// Whether it ends at a hop that forwards requests, and not at an origin.
    pub(crate) fn is_at_hop(&self) -> bool {
        self.end.hop.is_some()
    }

    /// Whether it can carry a request for `origin`; `may_be_forwarded`: by a hop, too.
    pub(super) fn serves(&self, origin: &Authority, may_be_forwarded: bool, key: &Key) -> bool {
        let leads_there = match &self.end.hop {
            Some(_) => may_be_forwarded,
            None => self.end.origin == *origin,
        };
        self.key == *key && leads_there
    }

    /// The same until its next request: without the room that the body of the last answer has needed.
    pub(super) fn rested(mut self) -> Self {
        if self.seen.is_empty() {
            self.seen = BytesMut::new();
        }
        self
    }

    /// Whether nothing has come where nothing was asked for. If something did, even its end, the connection is of no
    /// more use (RFC 9112 §6.3).
    pub(super) async fn is_quiet(&mut self) -> bool {
        self.seen.is_empty() && warm::is_quiet(&mut self.tunnel).await
    }

    pub(super) fn into_tunnel(mut self) -> Tunnel {
        self.tunnel.unread(self.seen.freeze());
        self.tunnel
    }
}

impl End {
    /// The end of a connection to `origin` itself.
    #[cfg(test)]
    pub(super) fn at_origin(origin: Authority) -> Self {
        Self { hop: None, origin, reuse: Reuse::SameClient }
    }

    /// How the hop takes requests, if it is one that the connection ends at.
    pub(super) fn forwarding(&self) -> Option<&Forwarding> {
        self.hop.as_ref()?.forwarding()
    }
}
