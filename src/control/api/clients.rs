//! The facts about the configuration in force that clients of the proxy need.

use std::{collections::BTreeSet, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    config::Protocol, router::bypassed_hosts, state::listening_sockets::ListeningSockets,
    state::shared::Shared,
};

/// The facts that `env` and `exec` take from a running proxy. Its files may be invalid, or not in force.
///
/// None of them is secret: a command reads the credentials of clients from the files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClientFacts {
    /// The addresses that the proxy listens on without TLS.
    pub plain: Vec<SocketAddr>,
    /// The addresses that it listens on with TLS.
    pub over_tls: Vec<SocketAddr>,
    /// Whether clients may speak HTTP to it, and not only SOCKS.
    pub speaks_http: bool,
    /// Whether clients may speak SOCKS5 to it. Earlier versions don't say.
    pub speaks_socks5: Option<bool>,
    /// Whether clients have to present credentials.
    pub needs_credentials: bool,
    /// The entries of `no_proxy`.
    pub no_proxy: Vec<String>,
    /// Whether clients may state preferences to a hop of a chain that a route leads to.
    pub takes_preferences: bool,
    /// Whether a chain that a route leads to refuses clients that name no session.
    pub requires_session: bool,
    /// The names of the chains that a route leads to and that have no hop which takes preferences. Earlier versions don't
    /// say.
    pub chains_without_choice: Option<BTreeSet<String>>,
}

impl ClientFacts {
    /// Collects the facts of the generation in force.
    pub(super) fn of(shared: &Shared, listening: &ListeningSockets) -> Self {
        let current = shared.live().current();
        let with_tls = listening.with_tls();
        let (over_tls, plain) =
            current.listening.iter().copied().partition(|address| with_tls.contains(address));
        let without = current.chains_led_to().filter(|chain| !chain.takes_preferences());
        let routes: Vec<_> = current.rules_and_directness().collect();
        Self {
            plain,
            over_tls,
            speaks_http: current.protocols.contains(&Protocol::Http),
            speaks_socks5: Some(current.protocols.contains(&Protocol::Socks5)),
            needs_credentials: current.auth.is_some(),
            no_proxy: bypassed_hosts(&routes),
            takes_preferences: current.chains_led_to().any(|chain| chain.takes_preferences()),
            requires_session: current.requires_session(),
            chains_without_choice: Some(without.map(|chain| chain.name().to_string()).collect()),
        }
    }
}
