//! A request of a client in terms that do not depend on its protocol, and the one step that begins to serve it.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use mooltiroute_hops::{Authority, InvalidPreferences, Preferences};
use tracing::{debug, warn};

use crate::{
    client::{account::Account, auth::Admitted, reply::Reply},
    config::Protocol,
    router::Query,
    state::{
        connections::ConnectionFacts,
        generation::{Generation, OverBudget, Way},
        shared::Shared,
    },
    upstream::rounds::NotAdmitted,
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

/// Why a client's request is not even tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The client did not send what `server.auth` asks for.
    Unauthorized,
    /// No route matches this target.
    NoRoute(Authority),
    /// The client's username states no preferences, but a hop of the chain would take them.
    Preferences(InvalidPreferences),
    /// Preferences were stated for this chain, which takes none.
    NoSay(Arc<str>),
    /// A hop of the chain has used up its budget.
    OverBudget(OverBudget),
    /// A hop of this chain gives each client an exit of its own, and the client names no session.
    NoSession {
        /// Whether clients have to authenticate too.
        is_beside_auth: bool,
    },
    /// Too many unanswered requests ask for this target, perhaps because it loops.
    NotAdmitted(NotAdmitted, Authority),
    /// It is not known which hops the way to this target has.
    Unsettled(Authority),
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
        let way = way.inspect_err(|denial| self.log(denial, shared))?;
        // Everything that can refuse the request comes before it is registered, so the table of
        // open connections has only requests that are really tried.
        let preferences = self.preferences(way, generation);
        let preferences = preferences.inspect_err(|denial| self.log(denial, shared))?;
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

    /// Logs that the request is refused, since clients show little of the answer. Skips the line if another refusal with
    /// this status was logged a moment ago.
    fn log(&self, denial: &Denial, shared: &Shared) {
        // `SocksTunnel::denied` logs the refusals of SOCKS clients, with their reply codes.
        if self.protocol != Protocol::Http {
            return;
        }
        let reply = Reply::from(denial.clone());
        let status = reply.status();
        if let Some(skipped) = shared.denials().note(status) {
            let (client, target, reason) = (self.peer, self.target, reply.text());
            warn!(%client, %target, status, reason, skipped, "request denied");
        }
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
    /// [`Denial::Preferences`] if the client states something that is not understood here.
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
        let no_session = Denial::NoSession { is_beside_auth: generation.auth.is_some() };
        match preferences {
            Ok(stated) if stated.session.is_some() => Ok(stated),
            Ok(_) | Err(Denial::Preferences(_)) => Err(no_session),
            Err(denial) => Err(denial),
        }
    }

    /// Reads the preferences that the client states, if it states any.
    fn stated_preferences(
        &self,
        way: Way<'_>,
        generation: &Generation,
    ) -> Result<Preferences, Denial> {
        match self.admitted {
            Admitted { preferences: Some(text), .. } if way.chain.takes_preferences() => {
                text.parse().map_err(Denial::Preferences)
            }
            Admitted { preferences: Some(_), is_explicit: true } => {
                // The client meant them. Without this error it would get an exit that it did not
                // ask for, and would not notice.
                Err(Denial::NoSay(Arc::clone(way.chain.name())))
            }
            // The chain has no use for this username, and it is not that of `server.auth`.
            Admitted { preferences: Some(_), .. } if generation.auth.is_some() => {
                Err(Denial::Unauthorized)
            }
            _ => Ok(Preferences::default()),
        }
    }
}

impl From<Denial> for Reply {
    /// Returns the answer to a client that speaks HTTP.
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthorized => Self::unauthorized(),
            Denial::NoRoute(target) => Self::no_route(&target),
            Denial::Preferences(invalid) => Self::invalid_preferences(invalid),
            Denial::NoSay(chain) => Self::no_preferences(&chain),
            Denial::OverBudget(budget) => Self::over_budget(&budget),
            Denial::NoSession { is_beside_auth } => Self::no_session(is_beside_auth),
            Denial::NotAdmitted(error, target) => Self::not_admitted(error, &target),
            Denial::Unsettled(target) => Self::unsettled(&target),
        }
    }
}
