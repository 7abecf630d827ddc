//! The lines of the log about the requests of clients.

use std::{net::SocketAddr, sync::Arc};

use mooltiroute_hops::{Authority, Country};
use tracing::{info, warn};

use super::{Denial, URL_WITH_SESSIONS, no_say};
use crate::{
    client::{
        reply::{Reply, proxy_url},
        socks::reply_code,
    },
    config::{Protocol, ShownSetting},
    state::{
        denials::ClientLine,
        generation::{Generation, Way},
        shared::Shared,
    },
    upstream::chain::Chain,
};

/// The client and the target of a request, as log lines name them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLog<'a> {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The target of the request.
    pub target: &'a Authority,
}

impl RequestLog<'_> {
    /// Logs that the request is refused, since clients show little of the answer and the reply of SOCKS has no words.
    /// Skips the line if another refusal of this kind was logged a moment ago.
    pub(crate) fn log(&self, denial: &Denial, shared: &Shared) {
        let Self { peer: client, protocol, target } = self;
        let line = ClientLine::Refused(*protocol, denial.reason());
        let Some(skipped) = shared.denials().note(line) else { return };
        let reply = Reply::from(denial.clone());
        let mut reason = reply.text_at(shared.proxy_address());
        if denial.is_of_provider() {
            reason.push_str(" It may be meant for a provider: ");
            reason.push_str(&username_of_provider("a hop of"));
        }
        let reason = &*reason;
        if *protocol == Protocol::Http {
            let status = reply.status();
            warn!(%client, %target, status, reason, skipped, "request denied");
        } else {
            let code = reply_code::of_denial(denial).0;
            warn!(%client, %protocol, %target, code, reason, skipped, "request denied");
        }
    }

    /// Logs that the session or the country that the client names has no effect.
    pub(super) fn log_unused(&self, chain: &Chain, shared: &Shared) {
        let Self { peer: client, target, .. } = self;
        if let Some(skipped) = shared.denials().note(ClientLine::UnusedPreferences) {
            let reason = no_say(chain.name(), chain.is_of_urls());
            warn!(%client, %target, reason, skipped, "the client's username has no effect");
        }
    }

    /// Logs that a username in a provider's form has no effect. It may be that of an account, so it is not shown.
    pub(super) fn log_username_of_provider(&self, chain: &Chain, shared: &Shared) {
        let Self { peer: client, target, .. } = self;
        if let Some(skipped) = shared.denials().note(ClientLine::UsernameOfProvider) {
            let reason = match chain.is_of_urls() {
                true => {
                    format!("{USERNAME_OF_PROVIDER} a URL of `--hop`, as in {URL_WITH_SESSIONS}")
                }
                false => username_of_provider(&format!("a hop of chain `{}`, of", chain.name())),
            };
            warn!(%client, %target, reason, skipped, "the client's username has no effect");
        }
    }

    /// Logs, once for each chain, that the client's `Proxy-Authorization` is not understood, and so no preference is known.
    pub(super) fn log_unread_username(
        &self,
        chain: &Chain,
        generation: &Generation,
        shared: &Shared,
    ) {
        let Self { peer: client, target, .. } = self;
        if shared.denials().note_once(ClientLine::UnreadUsername(Arc::clone(chain.name()))) {
            let reason = format!(
                "the request has a `Proxy-Authorization` that is not `Basic` with the base64 of `session-NAME:x`, or more than \
                 one; give the client {} as its proxy, so that it makes that field itself",
                url_with_session(generation, shared)
            );
            let reason = &*reason;
            warn!(%client, %target, reason, "the client's username has no effect");
        }
    }

    /// Logs that the client sent an address, to which routes by name don't apply. It may have looked up the name itself.
    pub(super) fn log_address(&self, way: Way<'_>, shared: &Shared) {
        let Self { peer: client, protocol, target } = self;
        if let Some(skipped) = shared.denials().note(ClientLine::AddressForName(*protocol)) {
            let (route, chain) = (way.route, way.chain.name());
            let advice = address_advice(*protocol);
            info!(%client, %protocol, %target, route, %chain, advice, skipped, "the client sent an address; routes by name need the name");
        }
    }

    /// Logs, once for each hop, that the client names no session and so has no exit of its own at `hop`.
    pub(crate) fn log_no_session(&self, hop: &Arc<str>, generation: &Generation, shared: &Shared) {
        if !shared.denials().note_once(ClientLine::NoSession(Arc::clone(hop))) {
            return;
        }
        let Self { peer: client, protocol, target } = self;
        let url = url_with_session(generation, shared);
        // A hop of the command line has its settings in its URL.
        let of_hop = generation.hops().iter().find(|named| named.name == *hop);
        let (setting, required) = match of_hop.and_then(|named| named.url.as_ref()) {
            Some(of_hop) => (
                "`sessions=by-client` in its URL",
                format!("`sessions=by-client-required` after the `?` of {of_hop}"),
            ),
            None => ("`sessions: by-client`", "`sessions: by-client-required`".to_owned()),
        };
        let advice = format!(
            "hop `{hop}` has {setting}, and without a session its address may change with each connection. To keep one, give \
             the client {url} as its proxy (curl: `-x`). To refuse clients that name no session, write {required}"
        );
        let advice = &*advice;
        info!(%client, %protocol, %target, hop = &**hop, advice, "the client names no session");
    }

    /// Logs, once for each pool, that the client names no session and the pool `hop` with `pick: sticky` so chooses by the
    /// target's host. Logs nothing of other hops.
    pub(crate) fn log_pick_by_host(
        &self,
        hop: &Arc<str>,
        generation: &Generation,
        shared: &Shared,
    ) {
        let of_hop = generation.hops().iter().find(|named| named.name == *hop);
        let sticky =
            of_hop.filter(|named| named.settings.iter().any(ShownSetting::picks_by_session));
        let Some(built) = sticky.and_then(|named| named.hop.as_ref()) else { return };
        // The members are listed only for the first request, since there may be thousands.
        if !shared.denials().note_once(ClientLine::NoSession(Arc::clone(hop)))
            || built.members().len() < 2
        {
            return;
        }
        let Self { peer: client, protocol, target } = self;
        let advice = format!(
            "pool `{hop}` has `pick: sticky`, and without a session the target's host chooses the member: all clients take the \
             same one for a host. To give a client a member of its own, give it {} as its proxy (curl: `-x`)",
            url_with_session(generation, shared)
        );
        let advice = &*advice;
        info!(%client, %protocol, %target, hop = &**hop, advice, "the client names no session");
    }

    /// Logs, once for each pool, that the client sends many requests over one connection, and so through one member of the
    /// pool `hop`. Logs nothing if another connection would get the same member.
    pub(crate) fn log_kept_exit(&self, hop: &Arc<str>, generation: &Generation, shared: &Shared) {
        let of_hop = generation.hops().iter().find(|named| named.name == *hop);
        let pick = of_hop.and_then(|named| named.settings.iter().find(|one| one.picks_again()));
        let Some(pick) = pick else { return };
        if !shared.denials().note_once(ClientLine::KeptExit(Arc::clone(hop))) {
            return;
        }
        let Self { peer: client, protocol, target } = self;
        let advice = format!(
            "pool `{hop}` has `pick: {}`, which chooses a member for each connection of a client, and all requests of one \
             connection take the same member, for as long as that keeps its own connection open. For another exit with each request, let the client close its connection after \
             each one: send `Connection: close`; with Python's requests, use a new Session; with curl, one command for each",
            pick.value
        );
        info!(%client, %protocol, %target, hop = &**hop, advice, "the client keeps its connection, and so its exit");
    }

    /// Logs that the country in the name of the client's session has no effect.
    pub(super) fn log_country_in_session(&self, country: Country, shared: &Shared) {
        let Self { peer: client, target, .. } = self;
        if let Some(skipped) = shared.denials().note(ClientLine::CountryInSession) {
            let reason = format!(
                "`session-NAME-country-{country}` is one session of that name; with a comma, as in \
                 `session-NAME,country-{country}`, the client chooses the country too"
            );
            warn!(%client, %target, reason, skipped, "a country in the name of a session has no effect");
        }
    }
}

/// Returns a URL of this proxy with a session, for the settings of a client.
fn url_with_session(generation: &Generation, shared: &Shared) -> String {
    let credentials = match generation.auth {
        Some(_) => "USER+session-NAME:PASSWORD",
        None => "session-NAME:x",
    };
    format!("`{}`", proxy_url(shared.proxy_address(), Some(credentials)))
}

/// Returns advice on a username in a provider's form: its account belongs in a hop. `hop` names that hop in the sentence.
pub(crate) fn username_of_provider(hop: &str) -> String {
    format!(
        "{USERNAME_OF_PROVIDER} {hop} `kind: webshare` or `kind: rotating`; with `sessions: by-client` there, clients choose by \
         usernames such as `session-NAME,country-us`"
    )
}

/// Returns whether `username` has a session, a country or a zone in it as the usernames of providers do.
pub(crate) fn is_of_provider(username: &str) -> bool {
    const PARTS: [&str; 8] = [
        "-session-",
        "-sessionid-",
        "-sessid-",
        "-country-",
        "-cc-",
        "-zone-",
        "_session-",
        "_country-",
    ];
    let username = username.to_ascii_lowercase();
    PARTS.iter().any(|part| username.contains(part)) || username.ends_with("-rotate")
}

/// Returns what to do if a client looks up names itself.
fn address_advice(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Socks5 => {
            "if the client has looked up a name: let it send the name, as with `socks5h://` in place of `socks5://`"
        }
        Protocol::Socks4a => {
            "if the client has looked up a name: let it send the name, as with `socks4a://` in place of `socks4://`"
        }
        Protocol::Http => "if the client has looked up a name: let it send the name",
    }
}

/// The beginning of the advice on a username in a provider's form.
const USERNAME_OF_PROVIDER: &str = "it looks like the username of an account at a provider, which is not passed on. Write the account into";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_of_providers_are_told_from_others() {
        for username in [
            "acct-session-1",
            "acct-country-us",
            "customer-joe-cc-US-sessid-a1",
            "ACCT-Country-DE-session-7",
            "acct-rotate",
            "brd-customer-hl_1-zone-isp",
            "acct_country-us_session-1",
            "acct-sessionid-1",
        ] {
            assert!(is_of_provider(username), "{username}");
        }
        for username in
            ["joe", "", "session-a", "country-us", "acct-rotate-1", "acc-country", "rotate"]
        {
            assert!(!is_of_provider(username), "{username}");
        }
    }
}
