//! Whether the client of the request is served.

use std::sync::Arc;

use mooltiroute_hops::{self as hops, Authority, ChooseError, Eventual, Preferences};

use crate::{
    client::{ask::no_say, auth::SentUsername, reply::Reply},
    commands::{ASK_WITH_A_SESSION, example_address},
    config::{ChainConfig, Config},
};

/// The reaction of the proxy to a username whose preferences it can't follow.
pub(super) enum ClientVerdict {
    /// It answers with an error.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The text of the answer.
        why: String,
    },
    /// It serves the request as if there were no username, for this reason.
    Ignored(String),
}

impl ClientVerdict {
    /// Judges the preferences of `client` for a request to `target` through `chain`, as the proxy does. Returns `None` if
    /// it follows them. A request without a username has no preferences, which some hops refuse.
    pub(super) fn of(
        config: &Config,
        chain: &ChainConfig,
        target: &Authority,
        client: Option<&Preferences>,
    ) -> Option<Self> {
        let address = example_address(&config.server);
        let refused =
            |reply: Reply| Self::Refused { status: reply.status(), why: reply.text_at(address) };
        let hops = chain.hops.iter().filter_map(|hop| config.hops[*hop].hop.as_ref());
        let requires_session = hops.clone().any(|hop| hop.describe().requires_session);
        if requires_session && client.is_none_or(|client| client.session.is_none()) {
            let is_beside_auth = config.server.auth.is_some();
            let sent = match is_beside_auth || client.is_some() {
                true => SentUsername::Read,
                false => SentUsername::None,
            };
            let reply = Reply::no_session(is_beside_auth, sent);
            let why = format!("{} {ASK_WITH_A_SESSION}", reply.text_at(address));
            return Some(Self::Refused { status: reply.status(), why });
        }
        let client = client?;
        // Only hops that take preferences are asked; the proxy passes none to the others. `Reply` has the words
        // that the client would get.
        let mut hops = hops.filter(|hop| hop.describe().takes_preferences).peekable();
        if hops.peek().is_none() {
            // Without `server.auth` a username may be left over from the settings of another proxy.
            return Some(match &config.server.auth {
                Some(_) => refused(Reply::no_say(&chain.name)),
                None => {
                    let mut of_chain = chain.hops.iter().filter_map(|hop| config.hops.get(*hop));
                    let is_of_urls = of_chain.any(|hop| hop.url.is_some());
                    Self::Ignored(no_say(&chain.name, is_of_urls))
                }
            });
        }
        // A hop that has to wait for its choice is not asked: nothing is connected to here.
        let invalid =
            hops.find_map(|hop| match Arc::clone(hop).choose(hops::Request::new(target, client)) {
                Eventual::Ready(Err(ChooseError::Preferences(invalid))) => Some(invalid),
                _ => None,
            });
        let is_beside_auth = config.server.auth.is_some();
        invalid.map(|invalid| refused(Reply::invalid_preferences(invalid, is_beside_auth)))
    }
}
