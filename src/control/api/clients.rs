//! The facts about the configuration in force that clients of the proxy need.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    config::Protocol, proxy::listeners::ListeningSockets, router::bypassed_hosts,
    state::shared::Shared,
};

/// The facts that `env` and `exec` take from a running proxy whose files can't be used at the moment.
///
/// None of them is secret: whoever asks has to read the credentials of clients from the files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClientFacts {
    /// The addresses that the proxy listens on without TLS.
    pub plain: Vec<SocketAddr>,
    /// The addresses that it listens on with TLS.
    pub over_tls: Vec<SocketAddr>,
    /// Whether clients may speak HTTP to it, and not only SOCKS.
    pub speaks_http: bool,
    /// Whether clients have to present credentials.
    pub needs_credentials: bool,
    /// The entries of `no_proxy`.
    pub no_proxy: Vec<String>,
    /// Whether clients may state preferences to a hop of any chain.
    pub takes_preferences: bool,
    /// Whether a chain that a route leads to refuses clients that name no session.
    pub requires_session: bool,
}

impl ClientFacts {
    /// Collects the facts of the generation in force.
    pub(super) fn of(shared: &Shared, listening: &ListeningSockets) -> Self {
        let current = shared.live().current();
        let with_tls = listening.with_tls();
        let (over_tls, plain) =
            current.listening.iter().copied().partition(|address| with_tls.contains(address));
        let routes: Vec<_> = current.rules_and_directness().collect();
        Self {
            plain,
            over_tls,
            speaks_http: current.protocols.contains(&Protocol::Http),
            needs_credentials: current.auth.is_some(),
            no_proxy: bypassed_hosts(&routes),
            takes_preferences: current.takes_preferences(),
            requires_session: current.requires_session(),
        }
    }
}
