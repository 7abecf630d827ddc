//! The second half of the seam: how one upstream carries a connection.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Authority, Eventual, Field, HopError, PassHeaders, Readiness, Refusal, Tunnel,
    tls::{self, TlsClient},
};

/// One upstream, as one connection or many at once pass it.
///
/// A chain dials, or has the hop before connect to, [`address`](Self::address). It then [enters](Self::enter) the
/// link and [extends](Self::extend) the tunnel to the next stop. All of that runs under the chain's timeouts.
/// Dropping any of these futures drops the tunnel with it, so cancellation is always safe.
///
/// Most kinds need `address` and `extend` only:
///
/// ```
/// use mooltiroute_hops::{Authority, HopError, Link, Tunnel, async_trait, exchange};
///
/// /// An HTTP proxy without credentials.
/// #[derive(Debug)]
/// struct Open(Authority);
///
/// #[async_trait]
/// impl Link for Open {
///     fn address(&self) -> &Authority {
///         &self.0
///     }
///
///     async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
///         exchange::connect(tunnel, next, &[], exchange::HEAD_BYTES_MAX).await
///     }
/// }
/// ```
#[async_trait]
pub trait Link: fmt::Debug + Send + Sync {
    /// Returns the address that the previous stop connects to.
    fn address(&self) -> &Authority;

    /// Returns fallback addresses. They are tried in order if the previous hop's policy forbids
    /// [`address`](Self::address).
    fn alternatives(&self) -> &[Authority] {
        &[]
    }

    /// Returns the TLS to make with this hop, if any.
    fn tls(&self) -> Option<&TlsClient> {
        None
    }

    /// Returns the facts about the settings that advice on an error depends on.
    fn settings(&self) -> LinkSettings {
        LinkSettings::default()
    }

    /// Prepares `tunnel` for talking to this hop. By default, makes [TLS](Self::tls).
    ///
    /// [`Eventual::Ready`] means that there was nothing to do; a future counts as a step that operators see.
    ///
    /// # Errors
    /// The reason why the tunnel could not be prepared.
    fn enter(&self, tunnel: Tunnel) -> Eventual<'_, Result<Tunnel, HopError>> {
        // A hop without TLS must cost nothing here: no future is boxed, and the chain reports no step.
        match self.tls() {
            Some(client) => Eventual::later(client.enter(tunnel)),
            None => Eventual::Ready(Ok(tunnel)),
        }
    }

    /// Returns the name of the protocol that [`enter`](Self::enter) speaks.
    fn entered_by(&self) -> Option<&'static str> {
        self.tls().map(|_| tls::PROTOCOL)
    }

    /// Extends an entered `tunnel` to `next`. Bytes read past the exchange go back with [`Tunnel::unread`].
    ///
    /// # Errors
    /// The reason why the hop did not reach `next`; the tunnel is gone then. [`HopError::Again`] asks for a new one.
    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError>;

    /// Returns whether this hop takes plain `http://` requests itself, in absolute-form (RFC 9112 §3.2.2). Otherwise
    /// they go through a tunnel like everything else.
    fn forwards(&self) -> bool {
        false
    }

    /// Returns the header fields that pass between the client's CONNECT and that of this hop, if it is the last one.
    fn pass_headers(&self) -> Option<&PassHeaders> {
        None
    }

    /// Prepares a plain request that this hop forwards: returns the fields it needs, such as `Proxy-Authorization`.
    ///
    /// Called before each request on a connection that ends at this hop. An authentication that takes several rounds
    /// runs all but the last of them here, over `tunnel`, and leaves there a [`Logon`](crate::Logon) to learn how the
    /// request is answered.
    ///
    /// # Errors
    /// The reason why the hop takes no request; the connection is closed then. [`HopError::Again`] asks for a new one.
    fn authorize<'a>(
        &'a self,
        _tunnel: &'a mut Tunnel,
        _request: PlainRequest<'a>,
    ) -> Eventual<'a, Result<Arc<[Field]>, HopError>> {
        Eventual::Ready(Ok(Arc::default()))
    }

    /// Returns whether a connection that passes this hop may carry more than one plain request.
    fn reuse(&self) -> Reuse {
        Reuse::default()
    }

    /// Returns whether an answer to a forwarded plain request comes from the hop and not from the target. Such an
    /// answer is explained to the client instead of being passed on. Asked for statuses from 400 up.
    ///
    /// A target can imitate such an answer, so nothing but the explanation may depend on it.
    fn refuses(&self, refusal: &Refusal) -> bool {
        refusal.is_by_proxy()
    }

    /// Returns whether the hop would give the client an exit of its own if it named a session, and the client named
    /// none.
    fn lacks_session(&self) -> bool {
        false
    }

    /// Says for each authentication scheme that has more than a password to it whether this machine can use it now.
    ///
    /// Sends nothing. May block for a file or a library.
    fn readiness(&self) -> Vec<Readiness> {
        Vec::new()
    }

    /// Returns how long credentials are not sent, because the hop rejected them, in whole seconds. Returns `None` if they
    /// may be sent.
    fn held_back(&self) -> Option<Duration> {
        None
    }

    /// Ends the wait of [`held_back`](Self::held_back), by an order of the operator.
    fn release(&self) {}

    /// Adds to a refusal what this kind knows about it.
    fn explain(&self, _refusal: &mut Refusal) {}
}

/// The facts about a link's settings that advice on an error depends on. Each kind of hop has its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkSettings {
    /// Whether the link speaks SOCKS5 to its hop, and not HTTP.
    pub is_socks: bool,
    /// The key that chooses between the two: `kind`, or `protocol` of a provider's gateway.
    pub protocol_key: &'static str,
    /// Whether the kind has the key `tls`.
    pub has_tls_key: bool,
    /// Whether the link has credentials for its hop.
    pub has_credentials: bool,
    /// The key of their secret part: `password`, `password_file` or `nt_hash`.
    pub secret_key: &'static str,
}

impl LinkSettings {
    /// Returns the settings of a link that speaks HTTP.
    pub fn http() -> Self {
        Self::default()
    }

    /// Returns the settings of a link that speaks SOCKS5.
    pub fn socks() -> Self {
        Self { is_socks: true, ..Self::default() }
    }

    /// Returns these settings for a provider's gateway: it has the key `protocol`, and always credentials.
    #[must_use]
    pub fn of_gateway(self) -> Self {
        Self { protocol_key: "protocol", has_credentials: true, ..self }
    }

    /// Returns whether the link is to a provider's gateway.
    pub fn is_of_gateway(&self) -> bool {
        self.protocol_key == "protocol"
    }

    /// Returns these settings, with or without credentials.
    #[must_use]
    pub fn with_credentials(self, has_credentials: bool) -> Self {
        Self { has_credentials, ..self }
    }

    /// Returns these settings for a link whose password or hash is written in the key `secret_key`.
    #[must_use]
    pub fn with_secret_key(self, secret_key: &'static str) -> Self {
        Self { secret_key, ..self }
    }

    /// Returns these settings for a kind that never speaks TLS to its hop.
    #[must_use]
    pub fn without_tls_key(self) -> Self {
        Self { has_tls_key: false, ..self }
    }
}

impl Default for LinkSettings {
    /// Returns the settings of an HTTP proxy with all keys and with credentials.
    fn default() -> Self {
        Self {
            is_socks: false,
            protocol_key: "kind",
            has_tls_key: true,
            has_credentials: true,
            secret_key: "password",
        }
    }
}

/// A plain request that a hop is to forward.
#[derive(Clone, Copy, Debug)]
pub struct PlainRequest<'a> {
    /// Its first line.
    pub line: RequestLine<'a>,
    /// The host and the port that it is for.
    pub target: &'a Authority,
    /// Whether it has a body. A body is not stored on its way, so such a request can't be sent twice.
    pub has_body: bool,
    /// Whether the client is logging on to the target over this connection, or has done so, as by NTLM. Then no other
    /// connection can carry the request, and no request may come between.
    pub is_bound: bool,
    /// Whether it is sent again, since the hop has just asked for credentials for it.
    pub is_again: bool,
}

impl<'a> PlainRequest<'a> {
    /// Creates a request without a body that is sent for the first time, on a connection that nobody logs on.
    pub fn new(line: RequestLine<'a>, target: &'a Authority) -> Self {
        Self { line, target, has_body: false, is_bound: false, is_again: false }
    }
}

/// The first line of a plain request, as a hop that forwards it receives it.
#[derive(Clone, Copy)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target in absolute-form, exactly as it is sent.
    pub uri: &'a (dyn fmt::Display + Sync),
}

impl fmt::Debug for RequestLine<'_> {
    /// Leaves out the target, whose query may hold a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLine").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Whether an upstream connection may carry more than one plain request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// It may, for requests of the same client connection.
    #[default]
    SameClient,
    /// Each request gets a connection of its own, such as for a new exit address.
    Never,
}
