//! One connection's way through a chain, with the detours that it may take before its client has heard anything.

mod detour;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use mooltiroute_hops::{Authority, Chosen, Eventual, Link, Request, Reuse, Selection};
use tokio::time::Instant;
use tracing::info;

use self::detour::addresses;
use super::{Cause, Chain, ChainError, FailedMember, LastHop, Stage, Step, TakenHop};
use crate::{error::with_causes, upstream::warm::Path};

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

/// One hop of a journey, as chosen for its request.
#[derive(Debug)]
pub(super) struct ChosenHop {
    /// Its position in the chain. A journey may have fewer hops than its chain.
    pub(super) position: usize,
    pub(super) link: Arc<dyn Link>,
    selection: Option<Box<dyn Selection>>,
    /// The one of its addresses that is tried.
    pub(super) address: Authority,
    /// The addresses that the hop before refused to connect to.
    refused: Vec<Authority>,
}

/// A hop that chose to be left out of a journey.
#[derive(Debug)]
struct LeftOutHop {
    position: usize,
    selection: Option<Box<dyn Selection>>,
}

impl<'a> Journey<'a> {
    /// Has each hop choose who serves `request`.
    pub(super) async fn new(chain: &'a Chain, request: &Request<'_>) -> Result<Self, ChainError> {
        // All hops choose before the first one is dialled, since each one is asked for the address
        // of the one behind it.
        let hops = Vec::with_capacity(chain.hops.len());
        let (left_out, agains_left) = (Vec::new(), AGAINS_MAX);
        let failed_members = Vec::new();
        let mut journey =
            Self { chain, hops, left_out, agains_left, failed_members, deadline: None };
        for (position, hop) in chain.hops.iter().enumerate() {
            match Arc::clone(&hop.hop).choose(*request).wait().await {
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
        let Chosen { link, selection } = chosen;
        match link {
            Some(link) => {
                let hop = self.chain.chosen(position, link, selection);
                self.hops.insert(index, hop);
            }
            None => self.left_out.push(LeftOutHop { position, selection }),
        }
    }

    pub(super) fn hops(&self) -> &[ChosenHop] {
        &self.hops
    }

    /// Whether the last hop takes plain requests.
    pub(super) fn is_forwarded(&self) -> bool {
        self.hops.last().is_some_and(|last| last.link.forwards())
    }

    /// Whether every hop lets the connection carry more than one request.
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
            })
        };
        let left_out = |hop: &LeftOutHop| TakenHop {
            position: hop.position,
            member: Some(DIRECT.into()),
            address: None,
            through: Box::default(),
        };
        let taken = self.hops.iter().filter_map(taken);
        let taken: Vec<_> = taken.chain(self.left_out.iter().map(left_out)).collect();
        if taken.is_empty() { Arc::default() } else { taken.into() }
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

    /// Reports that the hops before `index` did their part, and remembers the addresses that served.
    fn arrived_before(&self, index: usize) {
        for hop in self.hops.iter().take(index) {
            self.reached(hop);
            self.agreed(hop);
        }
        // An address is remembered only after others were refused: without that, it is the first
        // one, or is remembered already.
        for hop in self.hops.iter().filter(|hop| !hop.refused.is_empty()) {
            self.chain.remember(hop.position, Some(hop.address.clone()));
        }
    }

    fn last_hop(&self) -> Option<LastHop> {
        self.hops.last().map(|hop| LastHop {
            position: hop.position,
            link: Arc::clone(&hop.link),
            member: hop.member(),
            through: hop.through(),
            record: hop.selection.as_ref().and_then(|selection| selection.record()),
        })
    }

    /// Releases the chain until the last hop has answered, or failed.
    pub(super) fn pause(self) -> PausedJourney {
        let Self { hops, left_out, agains_left, failed_members, .. } = self;
        PausedJourney { hops, left_out, agains_left, failed_members }
    }

    /// Reports that the last hop, at which the journey paused, answered its request. `is_carried` says whether that was
    /// neither a refusal nor a challenge.
    pub(super) fn last_answered(&self, is_carried: bool) {
        match self.hops.last() {
            Some(last) if is_carried => self.reached(last),
            Some(last) => self.answered(last),
            None => {}
        }
    }

    /// Reports that every hop before `index` did its part, except the one at `refusing`, which was reported already.
    fn reached_before(&self, index: usize, refusing: Option<usize>) {
        let did = self.hops.iter().enumerate().take(index);
        did.filter(|(at, _)| Some(*at) != refusing).for_each(|(_, hop)| self.reached(hop));
    }

    /// Reports that a hop did its part. Logs it if connections left its member out until now.
    fn reached(&self, hop: &ChosenHop) {
        self.note_return(hop, ChosenHop::reached);
    }

    /// Reports that a hop works, though it carried nothing.
    fn answered(&self, hop: &ChosenHop) {
        self.note_return(hop, ChosenHop::answered);
    }

    /// Reports that the hop at `index` works, and refused to connect to the next stop.
    fn refused(&self, index: usize, error: &ChainError) {
        let Some(hop) = self.hops.get(index).filter(|hop| hop.selection.is_some()) else { return };
        let stop = &error.stage.stop;
        let why: Arc<str> = format!("{} (asked for `{stop}`)", with_causes(&error.cause)).into();
        let mut in_a_row = 0;
        self.note_return(hop, |hop| {
            in_a_row = hop.selection.as_ref().map_or(0, |selection| selection.refused(&why));
        });
        self.chain.note_refused(hop.position, hop.member().as_deref(), in_a_row, &why);
    }

    /// Notes that a hop connected to the stop behind it.
    fn agreed(&self, hop: &ChosenHop) {
        if let Some(record) = hop.selection.as_ref().and_then(|selection| selection.record())
            && let in_a_row @ 1.. = record.agreed()
        {
            self.chain.note_agreed(hop.position, hop.member().as_deref(), in_a_row);
        }
    }

    /// Runs `report`, which tells the selection of `hop` that the hop works. Logs if that puts a member back in use.
    fn note_return(&self, hop: &ChosenHop, report: impl FnOnce(&ChosenHop)) {
        // A member that was left out is tried by one connection after a pause. If that works, other
        // connections use it again, which operators want to see.
        let was_left_out = hop.is_in_use() == Some(false);
        report(hop);
        if was_left_out && hop.is_in_use() == Some(true) {
            let (name, member) = (self.hop_name(hop.position), hop.member());
            info!(hop = name, member, "pool member back");
        }
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

impl ChosenHop {
    /// The name of the chosen link below its hop, such as `members[0]`.
    pub(super) fn member(&self) -> Option<String> {
        self.selection.as_ref().map(|selection| selection.member())
    }

    /// Returns the names of the hops that the hop of the chain chose to go through.
    pub(super) fn through(&self) -> Vec<Arc<str>> {
        self.selection.as_ref().map(|selection| selection.hops()).unwrap_or_default()
    }

    /// Returns whether new connections use the link, or `None` if the hop does not keep a record of that.
    fn is_in_use(&self) -> Option<bool> {
        self.selection.as_ref().and_then(|selection| selection.is_in_use())
    }

    fn reached(&self) {
        if let Some(selection) = &self.selection {
            selection.reached();
        }
    }

    fn answered(&self) {
        if let Some(selection) = &self.selection {
            selection.answered();
        }
    }

    /// Chooses another link after one that works and refused. Returns `None` if there is no other one.
    fn another(self) -> Eventual<'static, Option<Chosen>> {
        self.selection.map_or(Eventual::Ready(None), |selection| selection.another())
    }

    /// Reports that the link failed, because of `cause`, and chooses another one. Returns `None` if all were tried.
    /// `is_its_own` says whether the link itself met the error, and not the one before it.
    fn instead(self, cause: &Cause, is_its_own: bool) -> Eventual<'static, Option<Chosen>> {
        match self.selection {
            Some(mut selection) => {
                selection.note_failure(&with_causes(cause).into());
                if let Cause::Hop(error) = cause
                    && is_its_own
                {
                    selection.note_error(error);
                }
                selection.instead()
            }
            None => Eventual::Ready(None),
        }
    }
}

/// The name in the place of a member for a hop that was left out.
const DIRECT: &str = "direct";

/// How many whole new connections the hops of one journey may ask for.
const AGAINS_MAX: usize = 2;
