//! The settings that a configuration means for clients.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use super::{ClientSettings, NO_PORT, nearest};
use crate::{
    commands::env::{auth_origins::AuthOrigins, bypass::no_proxy},
    config::{Config, Listener, Protocol, reachable},
    control::client::leads_to,
    router::HostPattern,
};

impl ClientSettings {
    pub(super) fn of_config(
        config: &Config,
        listening: Vec<SocketAddr>,
        wanted: &[SocketAddr],
    ) -> Result<Self, String> {
        let sockets = |has_tls: bool| {
            let listeners = config.server.listen.iter();
            let listeners = listeners.filter(move |listener| listener.tls.is_some() == has_tls);
            listeners.flat_map(|listener| listener.address.sockets()).collect::<Vec<_>>()
        };
        let over_tls = sockets(true);
        let mut plain = if listening.is_empty() { sockets(false) } else { listening };
        plain.retain(|address| !over_tls.contains(address));
        let leading = |listening: &[SocketAddr]| {
            let leads = |one: &&SocketAddr| listening.iter().any(|other| leads_to(**one, *other));
            wanted.iter().find(leads).copied().map(reachable)
        };
        if let Some(address) = leading(&plain) {
            return Ok(Self::new(config, address));
        }
        if let Some(address) = leading(&over_tls) {
            return Ok(Self::over_tls(config, address));
        }
        // Fewer programs can speak TLS to a proxy, and they would have to trust its certificate.
        if let Some(address) = nearest(&plain) {
            return Ok(Self::new(config, address));
        }
        let address = nearest(&over_tls).ok_or(NO_PORT)?;
        Ok(Self::over_tls(config, address))
    }

    /// Returns the settings for the listener with TLS at `address`.
    fn over_tls(config: &Config, address: SocketAddr) -> Self {
        let is_it = |listener: &&Listener| {
            listener.address.sockets().any(|socket| leads_to(address, socket))
        };
        let mut with_tls = config.server.listen.iter().filter(|listener| listener.tls.is_some());
        let tls = with_tls.find(is_it).and_then(|listener| listener.tls.as_ref());
        let tls = tls.map(|tls| tls.client_checks(address.ip()));
        Self { scheme: "https", tls, ..Self::new(config, address) }
    }

    fn new(config: &Config, address: SocketAddr) -> Self {
        let takes = |index: &usize| {
            let hop = config.hops.get(*index).and_then(|hop| hop.hop.as_ref());
            hop.is_some_and(|hop| hop.describe().takes_preferences)
        };
        let requires = |index: &usize| {
            let hop = config.hops.get(*index).and_then(|hop| hop.hop.as_ref());
            hop.is_some_and(|hop| hop.describe().requires_session)
        };
        // Only chains that a route leads to count; a client can't get to others.
        let chains = config.routes.iter().filter_map(|route| config.chains.get(route.chain));
        let (with, without): (Vec<_>, Vec<_>) =
            chains.partition(|chain| chain.hops.iter().any(takes));
        let requires_session = with.iter().any(|chain| chain.hops.iter().any(requires));
        // A hop that could not be built may take them.
        let is_unknown = |index: &usize| {
            config.hops.get(*index).is_some_and(|hop| hop.is_enabled && hop.hop.is_none())
        };
        let without = without.into_iter().filter(|chain| !chain.hops.iter().any(is_unknown));
        let names: BTreeSet<_> = without.map(|chain| Arc::clone(&chain.name)).collect();
        let chains_without_choice: Vec<_> = names.into_iter().collect();
        let auth = config.server.auth.clone();
        let speaks = |protocol| config.server.protocols.contains(&protocol);
        let scheme = plain_scheme(speaks(Protocol::Http), speaks(Protocol::Socks5));
        let takes_preferences = !with.is_empty();
        let no_proxy = no_proxy(config);
        let asked = config.routes.iter().filter(|route| {
            let hosts = route.rule.parts().hosts;
            let is_bypassed = |host: &HostPattern| no_proxy.contains(&host.to_string());
            hosts.is_empty() || !hosts.iter().all(is_bypassed)
        });
        let asked: Vec<_> = asked.map(|route| &config.chains[route.chain].name).collect();
        let is_bypassed = |name: &&Arc<str>| !asked.contains(name);
        let bypassed_chains = chains_without_choice.iter().filter(is_bypassed).cloned().collect();
        let may_take_preferences =
            config.hops.iter().any(|hop| hop.is_enabled && hop.hop.is_none());
        let tls = None;
        Self {
            scheme,
            address,
            tls,
            auth,
            auth_origins: AuthOrigins::default(),
            unknown_auth: None,
            no_proxy,
            takes_preferences,
            requires_session,
            may_take_preferences,
            is_choice_of_running: false,
            chains_without_choice,
            bypassed_chains,
        }
    }
}

/// Returns the scheme of the URL of a proxy without TLS that speaks these protocols.
///
/// By `socks5h` and `socks4a` the proxy looks names up. By `socks5` and `socks4` clients would do that themselves, and routes
/// by name would not match.
pub(super) fn plain_scheme(speaks_http: bool, speaks_socks5: bool) -> &'static str {
    match (speaks_http, speaks_socks5) {
        (true, _) => "http",
        (false, true) => "socks5h",
        (false, false) => "socks4a",
    }
}
