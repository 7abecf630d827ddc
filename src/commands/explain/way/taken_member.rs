//! The member of a pool that a request takes.

use std::{fmt, sync::Arc};

use mooltiroute_hops::{Authority, Request};

use crate::{
    commands::describe::PICKED_FOR,
    config::{NamedHop, ShownSetting},
};

/// The member of a pool that a request takes.
pub(super) enum TakenMember {
    /// The hop is not a pool, has one member, or has a list that is not known here.
    None,
    /// The member of this name, while it works.
    One(Arc<str>, Option<Authority>),
    /// The member of this name for the session of the client, or for the host of the target if the client names none.
    Sticky(Arc<str>, Option<Authority>, Option<Box<str>>),
    /// One of so many members, chosen for each connection.
    PerRequest(usize),
}

impl TakenMember {
    pub(super) fn of(hop: &NamedHop, request: Request<'_>) -> Self {
        let is_sticky = hop.settings.iter().any(ShownSetting::picks_by_session);
        let Some(hop) = hop.hop.as_ref().filter(|hop| hop.decider().is_none()) else {
            return Self::None;
        };
        let members = hop.members();
        if members.len() < 2 {
            return Self::None;
        }
        match hop.usual_member(request).and_then(|index| members.get(index)) {
            Some(member) if is_sticky => Self::Sticky(
                Arc::clone(&member.name),
                member.address.clone(),
                request.preferences.session.clone(),
            ),
            Some(member) => Self::One(Arc::clone(&member.name), member.address.clone()),
            None => Self::PerRequest(members.len()),
        }
    }
}

impl fmt::Display for TakenMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::One(name, _) => write!(f, ", its {name} while that works"),
            Self::Sticky(name, _, Some(session)) => {
                write!(f, ", its {name}, chosen by the session `{session}`")
            }
            Self::Sticky(name, _, None) => write!(
                f,
                ", its {name}, chosen by the target's host, as the client names no session"
            ),
            Self::PerRequest(count) => {
                write!(f, ", one of its {count} members, chosen {PICKED_FOR}")
            }
        }
    }
}
