//! The way that a request took through its chain, for the log and the table of open connections.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use mooltiroute_hops::Authority;

use super::Chain;

/// The way that a request took through its chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passage {
    /// The choices of the hops that had one; `None` without a connection. Requests that share a connection share them.
    pub taken: Option<Arc<[TakenHop]>>,
    /// The number of connections that were tried; zero if the connection of an earlier request served this one, too.
    pub attempts: u32,
    /// The time until the connection was open, if this request opened one.
    pub connect: ConnectTime,
    /// The hop that would have given the client an exit of its own, if the client had named a session.
    pub without_session: Option<Arc<str>>,
}

/// The time until a connection was open, if there is one. Small, since every open tunnel keeps it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectTime {
    /// In microseconds, and one more.
    micros: Option<NonZeroU32>,
}

/// The choice of a hop with several members or addresses, for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenHop {
    /// The position of the hop in its chain.
    pub position: usize,
    /// The name of the member below its hop, such as `members[0]`; `direct` if the hop was left out.
    pub member: Option<Box<str>>,
    /// The address of the hop or its member; `None` if the hop was left out.
    pub address: Option<Authority>,
    /// The names of the hops that it chose to go through, as a PAC file or a pool does. The outermost is first.
    pub through: Box<[Arc<str>]>,
    /// The [numbers](mooltiroute_hops::Selection::numbers) of the choice.
    pub numbers: Box<[usize]>,
}

/// Shows the hops of a chain in their order of travel, each with the member and address that served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HopsTaken<'a> {
    chain: &'a Chain,
    passage: &'a Passage,
}

impl From<Duration> for ConnectTime {
    /// Keeps `time`. More than 71 minutes count as 71.
    fn from(time: Duration) -> Self {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        Self { micros: NonZeroU32::new(micros.saturating_add(1)) }
    }
}

impl ConnectTime {
    /// Returns the time.
    pub(crate) fn get(self) -> Option<Duration> {
        self.micros.map(|micros| Duration::from_micros(u64::from(micros.get() - 1)))
    }
}

impl Passage {
    /// Returns the passage of another request over the same connection.
    pub(crate) fn again(&self) -> Self {
        let (taken, without_session) = (self.taken.clone(), self.without_session.clone());
        Self { taken, without_session, ..Self::default() }
    }

    /// Shows the hops of `chain` as this passage used them. Returns `None` for a chain without hops, and if no connection
    /// was opened.
    pub(crate) fn hops<'a>(&'a self, chain: &'a Chain) -> Option<HopsTaken<'a>> {
        let is_known = self.taken.is_some() && !chain.hops().is_empty();
        is_known.then_some(HopsTaken { chain, passage: self })
    }

    /// Returns the choice of the hop at `position` of the chain, if it had one.
    pub(crate) fn taken_at(&self, position: usize) -> Option<&TakenHop> {
        self.taken.as_ref()?.iter().find(|taken| taken.position == position)
    }

    /// Returns the names of the hops that hops of the chain chose, beside those that the chain lists.
    pub(crate) fn chosen_hops(&self) -> impl Iterator<Item = &Arc<str>> {
        self.taken.iter().flat_map(|taken| &**taken).flat_map(|taken| &taken.through)
    }

    /// Returns whether a connection through `chain` passes the hop `name`, listed or chosen. Until the connection is made,
    /// it may pass every hop that its chain lists.
    pub(crate) fn has_hop(&self, chain: &Chain, name: &str) -> bool {
        let is_left_out = |position| {
            let taken: Option<&TakenHop> = self.taken_at(position);
            taken.is_some_and(|taken| taken.address.is_none())
        };
        let mut listed = chain.hops().iter().enumerate();
        listed.any(|(position, hop)| *hop.name == *name && !is_left_out(position))
            || self.chosen_hops().any(|chosen| **chosen == *name)
    }
}

impl fmt::Display for HopsTaken<'_> {
    /// Writes `NAME[.MEMBER]@ADDRESS` for each hop, with commas between them. A hop that was left out
    /// has no address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, hop) in self.chain.hops().iter().enumerate() {
            let taken = self.passage.taken_at(position);
            f.write_str(if position == 0 { "" } else { "," })?;
            f.write_str(&hop.name)?;
            if let Some(member) = taken.and_then(|taken| taken.member.as_ref()) {
                write!(f, ".{member}")?;
            }
            // A hop without a choice is not in `taken`. Its address is the one that was written.
            let description = hop.hop.describe();
            if let Some(address) = taken.map_or(description.address, |taken| taken.address.as_ref())
            {
                write!(f, "@{address}")?;
            }
        }
        Ok(())
    }
}
