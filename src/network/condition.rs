//! Conditions of the network, as an operator wrote them.

use std::{collections::HashSet, fmt, sync::Arc};

use ipnet::IpNet;
use mooltiroute_hops::Authority;

use super::Glob;

/// When a hop is switched on, as written in `enabled: { when: …, unknown: … }`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NetworkCondition {
    /// The statement that has to hold.
    pub(crate) when: Requirement,
    /// Whether the hop is on while that is undecided.
    pub(crate) unknown: bool,
}

/// A statement about the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Requirement {
    /// The name has an address; if networks are written, one that lies in any of them.
    Resolves {
        /// The name.
        name: Arc<str>,
        /// The networks.
        into: Vec<IpNet>,
    },
    /// This machine has an address in one of these networks.
    AddressIn(Vec<IpNet>),
    /// An interface whose name matches is up.
    Interface(Glob),
    /// A TCP connection to this address is accepted.
    Reachable(Authority),
    /// At least one of these holds.
    Any(Vec<Self>),
    /// All of these hold.
    All(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
}

/// A question that a name server or another machine has to answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// The addresses of a name, to the system's resolver.
    Addresses(Arc<str>),
    /// Whether a TCP connection is accepted.
    Connection(Authority),
}

impl Requirement {
    /// Calls `visit` with each statement that has no other one in it.
    pub(crate) fn visit_leaves<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        match self {
            Self::Any(parts) | Self::All(parts) => {
                parts.iter().for_each(|part| part.visit_leaves(visit));
            }
            Self::Not(part) => part.visit_leaves(visit),
            _ => visit(self),
        }
    }

    /// Returns the question that decides this statement, if it is one that has to be asked.
    pub(crate) fn question(&self) -> Option<Question> {
        match self {
            // The networks are not a part of the question, so conditions with different ones share the answer.
            Self::Resolves { name, .. } => Some(Question::Addresses(Arc::clone(name))),
            Self::Reachable(address) => Some(Question::Connection(address.clone())),
            _ => None,
        }
    }
}

/// Returns each question of `conditions` once.
pub(crate) fn questions<'a>(
    conditions: impl IntoIterator<Item = &'a Arc<NetworkCondition>>,
) -> HashSet<Question> {
    // Conditions of several hops often share a question. It is asked once, so that they change in one generation.
    let mut questions = HashSet::new();
    for condition in conditions {
        condition.when.visit_leaves(&mut |leaf| questions.extend(leaf.question()));
    }
    questions
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolves { name, into } if into.is_empty() => write!(f, "`{name}` resolves"),
            Self::Resolves { name, into } => write!(f, "`{name}` resolves into {}", Or(into)),
            Self::AddressIn(networks) => {
                write!(f, "this machine has an address in {}", Or(networks))
            }
            Self::Interface(glob) => write!(f, "an interface `{glob}` is up"),
            Self::Reachable(address) => write!(f, "`{address}` can be reached"),
            Self::Any(parts) => write!(f, "any of: ({})", Joined(parts)),
            Self::All(parts) => write!(f, "all of: ({})", Joined(parts)),
            Self::Not(part) => write!(f, "not: ({part})"),
        }
    }
}

/// Writes networks with "or" between them.
struct Or<'a>(&'a [IpNet]);

impl fmt::Display for Or<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, network) in self.0.iter().enumerate() {
            let or = if position == 0 { "" } else { " or " };
            // A single address is kept as a network of one, and shown as it was written.
            match network.prefix_len() == network.max_prefix_len() {
                true => write!(f, "{or}{}", network.addr())?,
                false => write!(f, "{or}{network}")?,
            }
        }
        Ok(())
    }
}

/// Writes statements with semicolons between them.
struct Joined<'a>(&'a [Requirement]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if position == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
