//! One connection's way through a chain, with the detours that it may take before its client has heard anything.

mod chosen_hop;
mod detour;
mod reports;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use mooltiroute_hops::{Authority, Chosen, Link, Request, Reuse, Selection, WhyDirect};
use tokio::time::Instant;

pub(super) use self::chosen_hop::ChosenHop;
use self::detour::addresses;
use super::{
    Cause, Chain, ChainError, ChainHop, DirectHop, FailedMember, LastHop, Stage, Step, TakenHop,
    Trace,
};
use crate::upstream::warm::Path;

/// The hops that one connection takes, and the address at which it reaches each of them.
pub(super) struct Journey<'a> {
    chain: &'a Chain,
    hops: Vec<ChosenHop>,
    /// The hops of the chain that this connection does not take, in their order.
    left_out: Vec<LeftOutHop>,
    /// How many more times a hop may have a new connection.
    agains_left: usize,
    /// The members that failed, each with the position of its hop in the chain.
    failed_members: Vec<(usize, FailedMember)>,
    /// The time by which a hop that asked for a new connection must have done its part.
    deadline: Option<Instant>,
}

/// A journey that has come to its last hop, which is asked by the user of the connection.
#[derive(Debug)]
pub(super) struct PausedJourney {
    hops: Vec<ChosenHop>,
    left_out: Vec<LeftOutHop>,
    agains_left: usize,
    failed_members: Vec<(usize, FailedMember)>,
}

/// A hop that chose to be left out of a journey.
#[derive(Debug)]
struct LeftOutHop {
    position: usize,
    selection: Option<Box<dyn Selection>>,
    why: Option<WhyDirect>,
}

impl<'a> Journey<'a> {
    /// Has each hop choose who serves `request`. A hop in `before` chooses the same again, if it can.
    pub(super) async fn new(
        chain: &'a Chain,
        request: &Request<'_>,
        before: &[TakenHop],
    ) -> Result<Self, ChainError> {
        // All hops choose before the first one is dialled, since each one is asked for the address
        // of the one behind it.
        let hops = Vec::with_capacity(chain.hops.len());
        let (left_out, agains_left) = (Vec::new(), AGAINS_MAX);
        let failed_members = Vec::new();
        let mut journey =
            Self { chain, hops, left_out, agains_left, failed_members, deadline: None };
        for (position, hop) in chain.hops.iter().enumerate() {
            let before = before.iter().find(|taken| taken.position == position);
            let request = request.repeating(before.map_or(&[], |taken| &taken.numbers));
            match Arc::clone(&hop.hop).choose(request).wait().await {
                Ok(chosen) => journey.take(position, journey.hops.len(), chosen),
                Err(error) => {
                    let stop = request.target.clone();
                    let stage = Stage::new(Some(hop), None, Step::Choose, stop);
                    return Err(chain.error(stage, Cause::from(error).of_pool(&hop.name)));
                }
            }
        }
        Ok(journey)
    }

    /// Takes the choice of the hop at `position` of the chain: puts it at `index` of the way, or leaves it out.
    fn take(&mut self, position: usize, index: usize, chosen: Chosen) {
        let Chosen { link, selection, why_direct } = chosen;
        match link {
            Some(link) => {
                let hop = self.chain.chosen(position, link, selection);
                self.hops.insert(index, hop);
            }
            None => self.left_out.push(LeftOutHop { position, selection, why: why_direct }),
        }
    }

    pub(super) fn hops(&self) -> &[ChosenHop] {
        &self.hops
    }

    /// Returns whether the last hop takes plain requests.
    pub(super) fn is_forwarded(&self) -> bool {
        self.hops.last().is_some_and(|last| last.link.forwards())
    }

    /// Returns whether every hop lets the connection carry more than one request.
    pub(super) fn reuse(&self) -> Reuse {
        let is_once = self.hops.iter().any(|hop| hop.link.reuse() == Reuse::Never);
        if is_once { Reuse::Never } else { Reuse::SameClient }
    }

    /// Returns the choices of the hops that had one. Most chains have none, and then this allocates nothing.
    pub(super) fn taken(&self) -> Arc<[TakenHop]> {
        let taken = |hop: &ChosenHop| {
            let member = hop.member();
            let has_choice = member.is_some() || !hop.link.alternatives().is_empty();
            has_choice.then(|| TakenHop {
                position: hop.position,
                member: member.map(String::into_boxed_str),
                address: Some(hop.address.clone()),
                through: hop.through().into(),
                numbers: hop.selection().map(|one| one.numbers()).unwrap_or_default().into(),
            })
        };
        let left_out = |hop: &LeftOutHop| TakenHop {
            position: hop.position,
            member: Some(DIRECT.into()),
            address: None,
            through: Box::default(),
            numbers: Box::default(),
        };
        let taken = self.hops.iter().filter_map(taken);
        let taken: Vec<_> = taken.chain(self.left_out.iter().map(left_out)).collect();
        if taken.is_empty() { Arc::default() } else { taken.into() }
    }

    /// Reports the hops that left themselves out to `trace`.
    pub(super) fn direct_hops_for(&self, trace: &impl Trace) {
        for left in &self.left_out {
            if let (Some(name), Some(why)) = (self.hop_name(left.position), left.why) {
                trace.left_out(name, why);
            }
        }
    }

    /// Returns the hops that left themselves out, with their reasons.
    pub(super) fn direct_hops(&self) -> Vec<DirectHop> {
        let named = |left: &LeftOutHop| {
            let ChainHop { name, hop, .. } = self.chain.hops.get(left.position)?;
            let failed = self.failed_members.iter().filter(|(at, _)| *at == left.position);
            Some(DirectHop {
                name: Arc::clone(name),
                why: left.why?,
                failed: failed.map(|(_, member)| member.name.clone()).collect(),
                members: hop.members().into_iter().map(|member| member.name).collect(),
            })
        };
        self.left_out.iter().filter_map(named).collect()
    }

    /// Returns the name of a hop that would give the client an exit of its own, if the client named a session.
    pub(super) fn without_session(&self) -> Option<Arc<str>> {
        let hop = self.hops.iter().find(|hop| hop.link.lacks_session())?;
        let name = &self.chain.hops.get(hop.position)?.name;
        Some(match (hop.through().pop(), hop.member()) {
            (Some(own), _) => own,
            (None, Some(member)) => format!("{name}.{member}").into(),
            (None, None) => Arc::clone(name),
        })
    }

    /// Returns the path that a spare tunnel for this journey must have taken.
    pub(super) fn path(&self) -> Path {
        let identity = |hop: &ChosenHop| hop.selection.as_ref().map(|one| one.identity());
        self.hops.iter().map(|hop| (hop.address.clone(), identity(hop))).collect()
    }

    /// Shortens a timeout to what is left for a hop that asked for a new connection.
    pub(super) fn within_deadline(&self, timeout: Duration) -> Duration {
        match self.deadline {
            Some(deadline) => timeout.min(deadline.saturating_duration_since(Instant::now())),
            None => timeout,
        }
    }

    /// Ends the journey at its destination, behind all hops. Returns its last hop.
    pub(super) fn arrive(self) -> Option<LastHop> {
        self.arrived_before(self.hops.len());
        self.last_hop()
    }

    /// Pauses the journey at its last hop, which was not asked for anything yet. Returns that hop.
    pub(super) fn arrive_at_hop(&self) -> Option<LastHop> {
        self.arrived_before(self.hops.len().saturating_sub(1));
        self.last_hop()
    }

    fn last_hop(&self) -> Option<LastHop> {
        self.hops.last().map(|hop| LastHop {
            position: hop.position,
            link: Arc::clone(&hop.link),
            member: hop.member(),
            through: hop.through(),
            place: self.chain.place_of(hop),
            record: hop.selection.as_ref().and_then(|selection| selection.record()),
        })
    }

    /// Releases the chain until the last hop has answered, or failed.
    pub(super) fn pause(self) -> PausedJourney {
        let Self { hops, left_out, agains_left, failed_members, .. } = self;
        PausedJourney { hops, left_out, agains_left, failed_members }
    }

    fn hop_name(&self, position: usize) -> Option<&str> {
        self.chain.hops.get(position).map(|hop| &*hop.name)
    }
}

impl PausedJourney {
    /// Goes on with the journey, which is one through `chain`.
    pub(super) fn resume(self, chain: &Chain) -> Journey<'_> {
        let Self { hops, left_out, agains_left, failed_members } = self;
        Journey { chain, hops, left_out, agains_left, failed_members, deadline: None }
    }

    /// Returns the selection that chose the last hop.
    pub(super) fn last_selection(&self) -> Option<&dyn Selection> {
        self.hops.last()?.selection.as_deref()
    }
}

impl Chain {
    /// Begins with the address of the hop that served last.
    fn chosen(
        &self,
        position: usize,
        link: Arc<dyn Link>,
        selection: Option<Box<dyn Selection>>,
    ) -> ChosenHop {
        let remembered = self.remembered.get(position).and_then(|slot| slot.load_full());
        // An edit, or the choice of another member, may have made the remembered address a wrong
        // one.
        let is_known =
            |known: &Arc<Authority>| addresses(&*link).any(|address| *address == **known);
        let known = remembered.filter(is_known);
        let address = known.map_or_else(|| link.address().clone(), |known| (*known).clone());
        ChosenHop { position, link, selection, address, refused: Vec::new() }
    }

    fn remember(&self, position: usize, address: Option<Authority>) {
        if let Some(slot) = self.remembered.get(position) {
            slot.store(address.map(Arc::new));
        }
    }
}

/// The name in place of a member for a hop that was left out.
const DIRECT: &str = "direct";

/// The maximum number of extra connections that the hops of one journey may ask for.
const AGAINS_MAX: usize = 2;
