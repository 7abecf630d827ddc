//! `kind: pool`: several hops. Each connection takes one of them.

mod config;
pub(super) mod counts;
mod every;
pub(super) mod health;
mod known;
mod list;
mod listing;
mod member;
mod members_from;
mod order;
mod picked;
mod remote_list;
mod roster;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::{Arc, OnceLock},
};

pub use self::config::PoolConfig;
use self::{
    config::Pick,
    known::{KnownMembers, ListFile},
    order::PoolMember,
    remote_list::RemoteList,
    roster::Roster,
};
use crate::{
    Asker, ChooseError, Chosen, Description, Eventual, Hop, KeptExit, LoginShape, MemberLedger,
    MemberStatus, PlainForm, Preferences, Request, SourceState, kinds::wish::Wish,
};

/// A hop that represents several. Each connection takes one of them.
#[derive(Debug)]
struct Pool(Members);

/// The members of a pool.
#[derive(Debug)]
enum Members {
    /// Members that stay for as long as the pool does.
    Known(KnownMembers),
    /// Members from a list at a URL, which changes.
    Listed(Arc<RemoteList>),
}

impl Members {
    fn known(members: Vec<PoolMember>, pick: Pick, list: Option<ListFile>) -> Self {
        // The pool does not know which member a client will get, so it asks for what any of them requires.
        let requires_session = members.iter().any(|member| member.hop.describe().requires_session);
        let roster = Arc::new(Roster::new(members, pick));
        Self::Known(KnownMembers { roster, inherited: OnceLock::new(), list, requires_session })
    }
}

impl Hop for Pool {
    /// Shows the address of the first member.
    fn describe(&self) -> Description<'_> {
        match &self.0 {
            Members::Known(known) => Description {
                // Its members may have different ones.
                scheme: None,
                address: known.roster.members.first().and_then(|one| one.hop.describe().address),
                forwards: false,
                takes_preferences: known.roster.takes_preferences(),
                requires_session: known.requires_session,
            },
            // Proxies of a list take no preferences, but a session may choose among them.
            Members::Listed(list) => {
                let takes_preferences = list.pick() == Pick::Sticky;
                Description { takes_preferences, ..Description::default() }
            }
        }
    }

    fn list(&self) -> Option<String> {
        match &self.0 {
            Members::Known(known) => known.list.as_ref().map(|list| list.name.clone()),
            Members::Listed(list) => Some(list.shown_url()),
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        match &self.0 {
            Members::Known(known) => known.roster().status(),
            Members::Listed(list) => list.present().map_or_else(Vec::new, |roster| roster.status()),
        }
    }

    /// Returns the exit of the member if there is only one.
    fn kept_exit(&self) -> Option<KeptExit> {
        match &self.0 {
            Members::Known(known) => match &known.roster().members[..] {
                [one] => one.hop.kept_exit(),
                _ => None,
            },
            Members::Listed(_) => None,
        }
    }

    fn usual_member(&self, request: Request<'_>) -> Option<usize> {
        match &self.0 {
            Members::Known(known) => known.roster().usual_member(request),
            Members::Listed(list) => list.present()?.usual_member(request),
        }
    }

    fn plain_form(&self) -> PlainForm {
        match &self.0 {
            Members::Known(known) => known.roster().plain_form(),
            Members::Listed(list) => {
                list.present().map_or(PlainForm::ByMember, |roster| roster.plain_form())
            }
        }
    }

    fn login_shape(&self, preferences: &Preferences) -> Vec<LoginShape> {
        match &self.0 {
            Members::Known(known) => known.roster().login_shape(preferences),
            Members::Listed(_) => Vec::new(),
        }
    }

    fn release(&self) {
        match &self.0 {
            Members::Known(known) => known.roster().release(),
            Members::Listed(list) => {
                if let Some(roster) = list.present() {
                    roster.release();
                }
            }
        }
    }

    fn asker(&self) -> Option<&dyn Asker> {
        match &self.0 {
            Members::Known(_) => None,
            Members::Listed(list) => Some(&**list),
        }
    }

    fn source(&self) -> Option<SourceState> {
        match &self.0 {
            Members::Known(known) => known.source(),
            Members::Listed(list) => Some(list.state()),
        }
    }

    fn inherit(&self, before: &dyn Hop, is_unchanged: bool) {
        let Some(Self(before)) = (before as &dyn Any).downcast_ref() else { return };
        match (&self.0, before) {
            (Members::Listed(list), Members::Listed(before)) => list.inherit(before, is_unchanged),
            (Members::Known(known), Members::Known(before)) => {
                let roster = match (is_unchanged, &known.list) {
                    (true, _) => Arc::clone(before.roster()),
                    (false, Some(_)) => Arc::new(known.roster.with_knowledge_of(before.roster())),
                    (false, None) => return,
                };
                known.follow(before);
                // Set once, before the pool is used.
                let _ = known.inherited.set(roster);
            }
            _ => {}
        }
    }

    fn count_in(&self, ledger: &Arc<MemberLedger>) {
        match &self.0 {
            Members::Known(known) => known.roster().count_in(ledger),
            Members::Listed(list) => list.count_in(ledger),
        }
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let list = match &self.0 {
            Members::Known(known) => return Arc::clone(known.roster()).choose(request),
            Members::Listed(list) => Arc::clone(list),
        };
        if let Some(roster) = list.ready() {
            return roster.choose(request);
        }
        let wish = Wish::of(request);
        Eventual::later(async move {
            let roster = list.roster().await?;
            roster.choose(wish.request()).wait().await
        })
    }
}
