//! The member of a pool that a request takes.

use std::{fmt, sync::Arc};

use mooltiroute_hops::{Authority, Request};

use crate::config::NamedHop;

/// The member of a pool that a request takes.
pub(super) enum TakenMember {
    /// The hop is no pool, has one member, or has a list that is not known here.
    None,
    /// The member of this name, while it works.
    One(Arc<str>, Option<Authority>),
    /// One of so many members, chosen for each connection.
    PerRequest(usize),
}

impl TakenMember {
    pub(super) fn of(hop: &NamedHop, request: Request<'_>) -> Self {
        let Some(hop) = hop.hop.as_ref().filter(|hop| hop.decider().is_none()) else {
            return Self::None;
        };
        let members = hop.members();
        if members.len() < 2 {
            return Self::None;
        }
        match hop.usual_member(request).and_then(|index| members.get(index)) {
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
            Self::PerRequest(count) => {
                write!(f, ", one of its {count} members, chosen for each connection of a client")
            }
        }
    }
}
