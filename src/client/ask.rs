//! A request of a client in terms that do not depend on its protocol, and the one step that begins to serve it.

mod denial;
mod request_log;

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use mooltiroute_hops::{Authority, Preferences};
use tracing::{debug, warn};

pub(crate) use self::{
    denial::Denial,
    request_log::{RequestLog, is_of_provider, username_of_provider},
};
use crate::{
    client::{
        account::Account,
        auth::{Admitted, SentUsername},
    },
    config::Protocol,
    router::Query,
    state::{
        connections::ConnectionFacts,
        generation::{Generation, Way},
        shared::Shared,
    },
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
    /// The proof that the client was admitted, with the preferences that its username states.
    pub admitted: &'a Admitted,
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
        let log = RequestLog { peer: self.peer, protocol: self.protocol, target: self.target };
        let way = way.inspect_err(|denial| log.log(denial, shared))?;
        // Everything that can refuse the request comes before it is registered, so the table of
        // open connections has only requests that are really tried.
        let preferences = self.preferences(way, generation);
        let preferences = preferences.inspect_err(|denial| log.log(denial, shared))?;
        if self.has_unused_preferences(way, generation) {
            log.log_unused(way.chain, shared);
        } else if self.has_username_of_provider(way, generation) {
            log.log_username_of_provider(way.chain, shared);
        } else if self.admitted.is_unread && way.chain.takes_preferences() {
            log.log_unread_username(way.chain, generation, shared);
        }
        if let Some(country) = preferences.country_in_session() {
            log.log_country_in_session(country, shared);
        }
        if generation.passes_routes_by_name(&Query { target: self.target }, &way) {
            log.log_address(way, shared);
        }
        let Self { peer, protocol, method, target, .. } = *self;
        let session = preferences.session.as_deref();
        let facts = ConnectionFacts { peer, protocol, method, target, way, generation, session };
        let table = shared.connections();
        // A poll is the only way to get at the waker of this task. Killing the connection wakes it.
        let row = poll_fn(|cx| Poll::Ready(table.register(facts, cx.waker()))).await;
        let (id, method) = (row.row().id, &row.row().method);
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

    /// Returns the client's preferences for the exit, as far as the chain of `way` takes any.
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
        let sent = match is_beside_auth {
            true => SentUsername::Read,
            false => self.admitted.username(),
        };
        let is_of_provider = self.states_account();
        let no_session =
            |invalid| Denial::NoSession { invalid, is_beside_auth, sent, is_of_provider };
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
        !way.chain.takes_preferences() && generation.auth.is_none() && self.states_account()
    }

    /// Returns whether the client's username asks for a session or a country as providers write it.
    fn states_account(&self) -> bool {
        self.admitted.preferences.as_deref().is_some_and(is_of_provider)
    }

    /// Reads the preferences that the client states, if it states any.
    fn stated_preferences(
        &self,
        way: Way<'_>,
        generation: &Generation,
    ) -> Result<Preferences, Denial> {
        match self.admitted {
            Admitted { preferences: Some(text), .. } if way.chain.takes_preferences() => {
                let is_beside_auth = generation.auth.is_some();
                let is_of_provider = self.states_account();
                text.parse().map_err(|invalid| Denial::Preferences {
                    invalid,
                    is_beside_auth,
                    is_of_provider,
                })
            }
            // The client has authenticated, and the chain has no use for the rest of its username.
            Admitted { preferences: Some(_), .. } if generation.auth.is_some() => {
                Err(Denial::NoSay(Arc::clone(way.chain.name())))
            }
            _ => Ok(Preferences::default()),
        }
    }
}

/// An example of a hop of the command line that lets clients choose.
const URL_WITH_SESSIONS: &str = "`webshare://USERNAME:PASSWORD@HOST:PORT?sessions=by-client`; clients then choose by usernames such as `session-NAME`";

/// Returns why a session or a country that a client names has no effect on `chain`. `is_of_urls` says whether its hops come
/// from the command line.
pub(crate) fn no_say(chain: &str, is_of_urls: bool) -> String {
    if is_of_urls {
        return format!(
            "clients can't choose their session or country here: no `--hop` URL lets them. One that does: \
             {URL_WITH_SESSIONS}"
        );
    }
    format!(
        "clients can't choose their session or country here: no hop of chain `{chain}` has `sessions: by-client`, which \
         hops of `kind: webshare` and `kind: rotating` understand, and no pool there has `pick: sticky`"
    )
}
