//! The seam: what a hop is, and how it comes from its settings.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    Authority, BuildContext, HopError, InvalidPreferences, InvalidSettings, Refusal, Request,
    Secret, Tunnel,
};

/// One upstream on the way to a target.
///
/// A chain calls [`choose`](Self::choose) once for each connection, then, on what that chose, [`enter`](Self::enter)
/// and [`extend`](Self::extend), on a tunnel that already reaches [`address`](Self::address). Both run under the
/// chain's timeouts; dropping either future drops the tunnel with it, so cancellation is always safe. One hop serves
/// many connections at once.
///
/// Most kinds need `address` and `extend` alone.
#[async_trait]
pub trait Hop: fmt::Debug + Send + Sync {
    /// Where the previous stop must connect to, to reach this hop.
    fn address(&self) -> &Authority;

    /// Where else this hop is reached, in the order in which a chain tries these where the hop before it refuses, by
    /// policy, to connect to [`address`](Self::address).
    fn alternatives(&self) -> &[Authority] {
        &[]
    }

    /// Prepares `tunnel` for talking to this hop, such as by a TLS handshake.
    ///
    /// # Errors
    /// What kept the tunnel from being prepared.
    async fn enter(&self, tunnel: Tunnel) -> Result<Tunnel, HopError> {
        Ok(tunnel)
    }

    /// The protocol that [`enter`](Self::enter) speaks, such as `TLS`, for those who are told of that step; `None`: it has
    /// no name.
    fn entered_by(&self) -> Option<&'static str> {
        None
    }

    /// Extends an entered `tunnel` as far as `next`. Bytes read past the exchange go back with [`Tunnel::unread`].
    ///
    /// # Errors
    /// What kept the hop from reaching `next`; the tunnel is gone then.
    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError>;

    /// How this hop takes plain `http://` requests in absolute-form; `None`: they go through a tunnel, as all else.
    fn forwarding(&self) -> Option<&Forwarding> {
        None
    }

    /// Whether a connection that passes this hop may carry more than one plain request.
    fn reuse(&self) -> Reuse {
        self.forwarding().map(|forwarding| forwarding.reuse).unwrap_or_default()
    }

    /// Whether an answer to a plain request that this hop forwards is the hop's own and no target's. Such an answer is
    /// explained to the client, not passed on; asked for statuses from 400 up. A target may imitate one, so no more than
    /// this answer depends on it.
    fn refuses(&self, refusal: &Refusal) -> bool {
        refusal.is_by_proxy()
    }

    /// Adds to a refusal of this hop what its kind knows, as [`Refusal::detail`], [`Refusal::meaning`] and
    /// [`Refusal::advice`].
    fn explain(&self, _refusal: &mut Refusal) {}

    /// Whether the hop is one that clients may tell their preferences.
    fn takes_preferences(&self) -> bool {
        false
    }

    /// The hop that serves `request` in the place of this one, such as a member of a pool, or this hop with the
    /// credentials for the client's session; `None`: this hop itself.
    ///
    /// # Errors
    /// Which preference can't be met.
    fn choose(&self, _request: &Request<'_>) -> Result<Option<Arc<dyn Hop>>, InvalidPreferences> {
        Ok(None)
    }

    /// Told of a chosen hop that it did its part for a connection.
    fn reached(&self) {}

    /// Told of a chosen hop that it did not do its part, be it that it can't be reached or that it failed: the hop to
    /// take in its place for the same connection, if there is one that was not tried yet.
    fn instead(&self) -> Option<Arc<dyn Hop>> {
        None
    }

    /// What a chosen hop is called below the hop that chose it, such as `members[0]`.
    fn member(&self) -> Option<String> {
        None
    }
}

/// How a hop takes a plain `http://` request itself, in absolute-form (RFC 9112 §3.2.2).
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// Fields that the request gets for this hop, and that the hop keeps to itself, such as `Proxy-Authorization`.
    pub fields: Vec<(&'static str, Secret)>,
    /// Whether a connection may carry one request after another.
    pub reuse: Reuse,
}

/// Whether an upstream connection may carry more than one plain request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// It may, for requests of the same client connection.
    #[default]
    SameClient,
    /// Each request goes on a connection of its own, such as for a new exit address each.
    Never,
}

/// The settings of one kind of hop, as an operator writes them.
///
/// Use `#[serde(deny_unknown_fields)]`, so that a misspelt key is an error and not a silent default. The schema, with the
/// fields' doc comments, is what editors complete and explain; derive it with the [`schemars`] of this
/// crate and `#[schemars(crate = "mooltiroute_hops::schemars")]`.
pub trait HopConfig: DeserializeOwned + JsonSchema + 'static {
    /// The name that stands as `kind:` in the configuration, in kebab-case.
    const KIND: &'static str;

    /// Checks the settings and builds the hop. Opens no connection; may read the files that the settings name.
    ///
    /// # Errors
    /// The settings at fault, without their values where these could be secrets.
    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings>;
}
