//! Why a request is not even tried, and the answer to it.

use std::sync::Arc;

use mooltiroute_hops::{Authority, InvalidPreferences};

use crate::{
    client::{auth::SentUsername, reply::Reply},
    state::{denials::RefusalReason, generation::OverBudget},
    upstream::rounds::NotAdmitted,
};

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
        /// Whether the username looks like one of an account at a provider.
        is_of_provider: bool,
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
        /// The username that the client has sent.
        sent: SentUsername,
        /// Whether it looks like one of an account at a provider.
        is_of_provider: bool,
    },
    /// Too many unanswered requests ask for this target, perhaps because it loops.
    NotAdmitted(NotAdmitted, Authority),
    /// The hops for this target are undecided, since a condition of the network is.
    Unsettled(Authority),
}

impl Denial {
    /// Returns whether the client's username is not understood, and looks like one of an account at a provider.
    pub(super) fn is_of_provider(&self) -> bool {
        matches!(
            self,
            Self::Preferences { is_of_provider: true, .. }
                | Self::NoSession { invalid: Some(_), is_of_provider: true, .. }
        )
    }

    /// Returns the category of the denial. The log limits its lines for each category.
    pub(super) fn reason(&self) -> RefusalReason {
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

impl From<Denial> for Reply {
    /// Returns the answer to a client that speaks HTTP.
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NoRoute(target) => Self::no_route(&target),
            Denial::Preferences { invalid, is_beside_auth, .. } => {
                Self::invalid_preferences(invalid, is_beside_auth)
            }
            Denial::NoSay(chain) => Self::no_say(&chain),
            Denial::OverBudget(budget) => Self::over_budget(&budget),
            Denial::NoSession { invalid: Some(invalid), is_beside_auth, .. } => {
                Self::invalid_session(invalid, is_beside_auth)
            }
            Denial::NoSession { invalid: None, is_beside_auth, sent, .. } => {
                Self::no_session(is_beside_auth, sent)
            }
            Denial::NotAdmitted(error, target) => Self::not_admitted(error, &target),
            Denial::Unsettled(target) => Self::unsettled(&target),
        }
    }
}
