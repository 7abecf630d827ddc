//! A request of a client in terms that do not depend on its protocol, and the one step that begins to serve it.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use mooltiroute_hops::{Authority, Country, InvalidPreferences, Preferences};
use tracing::{debug, info, warn};

use crate::{
    client::{
        account::Account,
        auth::Admitted,
        reply::{Reply, with_address},
        socks::reply_code,
    },
    config::Protocol,
    router::Query,
    state::{
        connections::ConnectionFacts,
        denials::{ClientLine, RefusalReason},
        generation::{Generation, OverBudget, Way},
        shared::Shared,
    },
    upstream::{chain::Chain, rounds::NotAdmitted},
    usage::RecentOwner,
};

/// A request of a client that was admitted, whichever protocol it speaks.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The method of the request; `CONNECT` for a tunnel in any protocol.
    pub method: &'a str,
    /// The target of the request.
    pub target: &'a Authority,
    /// The proof that the client was admitted, and its username as far as that states preferences.
    pub admitted: &'a Admitted,
}

/// The client and the target of a request, as log lines name them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The target of the request.
    pub target: &'a Authority,
}

/// Why a client's request is not even tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// No route matches this target.
    NoRoute(Authority),
    /// The client's username states no preferences, but a hop of the chain would take them.
    Preferences {
        /// The reason why it is not understood.
        invalid: InvalidPreferences,
        /// Whether clients have to authenticate too.
        is_beside_auth: bool,
    },
    /// The client's username states preferences beside `server.auth`, and no hop of this chain takes any.
    NoSay(Arc<str>),
    /// A hop of the chain has used up its budget.
    OverBudget(OverBudget),
    /// A hop of this chain gives each client an exit of its own, and the client names no session.
    NoSession {
        /// The reason why its username is not understood, if that is the fault.
        invalid: Option<InvalidPreferences>,
        /// Whether clients have to authenticate too.
        is_beside_auth: bool,
        /// Whether the client has sent a username.
        has_username: bool,
    },
    /// Too many unanswered requests ask for this target, perhaps because it loops.
    NotAdmitted(NotAdmitted, Authority),
    /// It is not known which hops the way to this target has.
    Unsettled(Authority),
}

impl Denial {
    /// Returns the sort of denial. The log limits its lines for each sort.
    fn reason(&self) -> RefusalReason {
        match self {
            Self::NoRoute(_) => RefusalReason::NoRoute,
            Self::Preferences { invalid, .. } => RefusalReason::Preferences(*invalid),
            Self::NoSay(_) => RefusalReason::NoSay,
            Self::OverBudget(budget) => RefusalReason::OverBudget(Arc::clone(&budget.hop)),
            Self::NoSession { invalid: Some(invalid), .. } => RefusalReason::Preferences(*invalid),
            Self::NoSession { invalid: None, .. } => RefusalReason::NoSession,
            Self::NotAdmitted(..) => RefusalReason::NotAdmitted,
            Self::Unsettled(_) => RefusalReason::Unsettled,
        }
    }
}

impl Ask<'_> {
    /// Finds the way, reads the preferences, and registers the request as open.
    ///
    /// `recent` is kept for the client's connection. The function is asynchronous only to get the waker of its task, which
    /// a kill wakes. It never waits.
    ///
    /// # Errors
    /// The reason why the request is not even tried.
    pub(crate) async fn begin(
        &self,
        shared: &Shared,
        generation: &Arc<Generation>,
        recent: &mut RecentOwner,
    ) -> Result<(Account, Preferences), Denial> {
        let way = self.way(generation).inspect_err(|_| {
            warn!(client = %self.peer, target = %self.target, "no route matches");
        })?;
        let way = generation.within_budgets(way).map_err(Denial::OverBudget);
        let asker = Asker { peer: self.peer, protocol: self.protocol, target: self.target };
        let way = way.inspect_err(|denial| asker.log(denial, shared))?;
        // Everything that can refuse the request comes before it is registered, so the table of
        // open connections has only requests that are really tried.
        let preferences = self.preferences(way, generation);
        let preferences = preferences.inspect_err(|denial| asker.log(denial, shared))?;
        if self.has_unused_preferences(way, generation) {
            asker.log_unused(way.chain, shared);
        } else if self.has_username_of_provider(way, generation) {
            asker.log_username_of_provider(way.chain, shared);
        }
        if let Some(country) = preferences.country_in_session() {
            asker.log_country_in_session(country, shared);
        }
        if generation.passes_routes_by_name(&Query { target: self.target }, &way) {
            asker.log_address(way, shared);
        }
        let Self { peer, protocol, method, target, .. } = *self;
        let session = preferences.session.as_deref();
        let facts = ConnectionFacts { peer, protocol, method, target, way, generation, session };
        let table = shared.connections();
        // A poll is the only way to get at the waker of this task. Killing the connection wakes it.
        let row = poll_fn(|cx| Poll::Ready(table.register(facts, cx.waker()))).await;
        let id = row.row().id;
        let (route, chain) = (way.route, way.chain.name());
        debug!(id, %method, %target, route, %chain, session, "request begins");
        let (usage, chain) = (&generation.metrics().usage, way.chain.accounts());
        let owner = usage.begin_request(chain.all(), recent, (way.account, target, session));
        Ok((Account::new(row, owner), preferences))
    }

    /// Returns the route and the chain that the target takes.
    ///
    /// # Errors
    /// [`Denial::NoRoute`] if no route matches.
    pub(crate) fn way<'g>(&self, generation: &'g Generation) -> Result<Way<'g>, Denial> {
        generation
            .way(&Query { target: self.target })
            .ok_or_else(|| Denial::NoRoute(self.target.clone()))
    }

    /// Returns what the client prefers of the exit, on this way.
    ///
    /// # Errors
    /// [`Denial::Preferences`] if the client states something that is not understood here, and [`Denial::NoSay`] if no hop
    /// would follow it.
    pub(crate) fn preferences(
        &self,
        way: Way<'_>,
        generation: &Generation,
    ) -> Result<Preferences, Denial> {
        let preferences = self.stated_preferences(way, generation);
        if !way.chain.requires_session() {
            return preferences;
        }
        // A client that is asked again can correct a username that it remembers.
        let is_beside_auth = generation.auth.is_some();
        // A client that has authenticated has sent a username, even if nothing is behind it.
        let has_username = is_beside_auth || self.admitted.preferences.is_some();
        let no_session = |invalid| Denial::NoSession { invalid, is_beside_auth, has_username };
        match preferences {
            Ok(stated) if stated.session.is_some() => Ok(stated),
            Ok(_) => Err(no_session(None)),
            Err(Denial::Preferences { invalid, .. }) => Err(no_session(Some(invalid))),
            Err(denial) => Err(denial),
        }
    }

    /// Returns whether the client names a session or a country, and no hop on its way takes one.
    ///
    /// Any other username may be left over from the settings of another proxy, and means nothing here.
    pub(crate) fn has_unused_preferences(&self, way: Way<'_>, generation: &Generation) -> bool {
        let stated = self.admitted.preferences.as_deref();
        // With `server.auth` such a client is refused.
        !way.chain.takes_preferences()
            && generation.auth.is_none()
            && stated.is_some_and(|text| text.parse::<Preferences>().is_ok())
    }

    /// Returns whether the client's username asks for a session or a country as providers write it, and no hop on its way
    /// takes either.
    fn has_username_of_provider(&self, way: Way<'_>, generation: &Generation) -> bool {
        let stated = self.admitted.preferences.as_deref();
        !way.chain.takes_preferences()
            && generation.auth.is_none()
            && stated.is_some_and(is_of_provider)
    }

    /// Reads the preferences that the client states, if it states any.
    fn stated_preferences(
        &self,
        way: Way<'_>,
        generation: &Generation,
    ) -> Result<Preferences, Denial> {
        match self.admitted {
            Admitted { preferences: Some(text) } if way.chain.takes_preferences() => {
                let is_beside_auth = generation.auth.is_some();
                text.parse().map_err(|invalid| Denial::Preferences { invalid, is_beside_auth })
            }
            // The client has authenticated, and the chain has no use for the rest of its username.
            Admitted { preferences: Some(_) } if generation.auth.is_some() => {
                Err(Denial::NoSay(Arc::clone(way.chain.name())))
            }
            _ => Ok(Preferences::default()),
        }
    }
}

impl Asker<'_> {
    /// Logs that the request is refused, since clients show little of the answer and the reply of SOCKS has no words.
    /// Skips the line if another refusal of this sort was logged a moment ago.
    pub(crate) fn log(&self, denial: &Denial, shared: &Shared) {
        let Self { peer: client, protocol, target } = self;
        let line = ClientLine::Refused(*protocol, denial.reason());
        let Some(skipped) = shared.denials().note(line) else { return };
        let reply = Reply::from(denial.clone());
        let reason = &*reply.text_at(shared.live().current().example_address());
        if *protocol == Protocol::Http {
            let status = reply.status();
            warn!(%client, %target, status, reason, skipped, "request denied");
        } else {
            let code = reply_code::of_denial(denial).0;
            warn!(%client, %protocol, %target, code, reason, skipped, "request denied");
        }
    }

    /// Logs that the session or the country that the client names has no effect.
    fn log_unused(&self, chain: &Chain, shared: &Shared) {
        let Self { peer: client, target, .. } = self;
        if let Some(skipped) = shared.denials().note(ClientLine::UnusedPreferences) {
            let reason = no_say(chain.name(), chain.is_of_urls());
            warn!(%client, %target, reason, skipped, "the client's username has no effect");
        }
    }

    /// Logs that a username in a provider's form has no effect. It may be that of an account, so it is not shown.
    fn log_username_of_provider(&self, chain: &Chain, shared: &Shared) {
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

    /// Logs that the client sent an address, to which routes by name don't apply. It may have looked up the name itself.
    fn log_address(&self, way: Way<'_>, shared: &Shared) {
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
        let url = match generation.auth {
            Some(_) => "`http://USER+session-NAME:PASSWORD@localhost:8888`",
            None => "`http://session-NAME:x@localhost:8888`",
        };
        // A hop of the command line has its settings in its URL.
        let of_hop = generation.hops().iter().find(|named| named.name == *hop);
        let (setting, required) = match of_hop.and_then(|named| named.url.as_ref()) {
            Some(of_hop) => (
                "`sessions=by-client` in its URL",
                format!("`sessions=by-client-required` behind the `?` of {of_hop}"),
            ),
            None => ("`sessions: by-client`", "`sessions: by-client-required`".to_owned()),
        };
        let advice = format!(
            "hop `{hop}` has {setting}, and without a session its address may change with each connection. To keep one, give \
             the client {url} as its proxy (curl: `-x`). To refuse clients that name no session, write {required}"
        );
        let advice = &*with_address(&advice, generation.example_address());
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
             connection take the same member. For another exit with each request, let the client close its connection after \
             each one: send `Connection: close`; with Python's requests, use a new Session; with curl, one command for each",
            pick.value
        );
        info!(%client, %protocol, %target, hop = &**hop, advice, "the client keeps its connection, and so its exit");
    }

    /// Logs that the country in the name of the client's session has no effect.
    fn log_country_in_session(&self, country: Country, shared: &Shared) {
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

/// Says where the account of a username in a provider's form belongs. `hop` completes "write it into", before the kinds.
pub(crate) fn username_of_provider(hop: &str) -> String {
    format!(
        "{USERNAME_OF_PROVIDER} {hop} `kind: webshare` or `kind: rotating`; with `sessions: by-client` there, clients choose by \
         usernames such as `session-NAME,country-us`"
    )
}

/// The beginning of what is said about a username in a provider's form.
const USERNAME_OF_PROVIDER: &str = "it looks like the username of an account at a provider, which is not passed on. Write the account into";

/// An example of a hop of the command line that lets clients choose.
const URL_WITH_SESSIONS: &str = "`webshare://USERNAME:PASSWORD@HOST:PORT?sessions=by-client`; clients then choose by usernames such as `session-NAME`";

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

/// Returns why a session or a country that a client names has no effect on `chain`. `is_of_urls` says whether its hops come
/// from the command line.
pub(crate) fn no_say(chain: &str, is_of_urls: bool) -> String {
    if is_of_urls {
        return format!(
            "clients can't choose their session or country here: no URL of `--hop` lets them, as in {URL_WITH_SESSIONS}"
        );
    }
    format!(
        "clients can't choose their session or country here: no hop of chain `{chain}` has `sessions: by-client`, which \
         hops of `kind: webshare` and `kind: rotating` understand, and no pool there has `pick: sticky`"
    )
}

impl From<Denial> for Reply {
    /// Returns the answer to a client that speaks HTTP.
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NoRoute(target) => Self::no_route(&target),
            Denial::Preferences { invalid, is_beside_auth } => {
                Self::invalid_preferences(invalid, is_beside_auth)
            }
            Denial::NoSay(chain) => Self::no_say(&chain),
            Denial::OverBudget(budget) => Self::over_budget(&budget),
            Denial::NoSession { invalid: Some(invalid), is_beside_auth, .. } => {
                Self::invalid_session(invalid, is_beside_auth)
            }
            Denial::NoSession { invalid: None, is_beside_auth, has_username } => {
                Self::no_session(is_beside_auth, has_username)
            }
            Denial::NotAdmitted(error, target) => Self::not_admitted(error, &target),
            Denial::Unsettled(target) => Self::unsettled(&target),
        }
    }
}

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
