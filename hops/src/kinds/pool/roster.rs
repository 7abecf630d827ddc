//! The members of a pool at one time, and the choice among them.

use std::{collections::HashMap, sync::Arc};

use super::{
    Pick,
    health::Health,
    order::{Order, PoolMember},
    picked::Picked,
};
use crate::{
    AskedToWait, ChooseError, Chosen, Eventual, HopError, InvalidPreferences, LoginShape,
    MemberLedger, MemberStatus, PlainForm, Preferences, Request,
    kinds::{outer_choice::OuterChoice as _, pool::order::Candidates, wish::Wish},
    member_ledger::labels,
};

/// The members of a pool, their order and their health.
///
/// A pool whose list changes gets another roster. Connections that began with the old one keep it. Both share the health
/// of the members, so what a late connection learns of a member that stayed counts for the new roster too.
#[derive(Debug)]
pub(super) struct Roster {
    pick: Pick,
    pub(super) members: Vec<PoolMember>,
    pub(super) order: Order,
    pub(super) health: Arc<Health>,
    /// Whether some member takes preferences.
    takes_preferences: bool,
}

impl Roster {
    pub(super) fn new(members: Vec<PoolMember>, pick: Pick) -> Self {
        let order = Order::new(pick, &members, 0);
        let takes_preferences = members.iter().any(|member| member.takes_preferences);
        Self { pick, members, order, health: Arc::default(), takes_preferences }
    }

    /// Creates the roster that follows `last`. Its `members` that were in `last` have the same numbers.
    pub(super) fn following(last: &Self, members: Vec<PoolMember>, pick: Pick) -> Self {
        let mut numbers: Vec<_> = members.iter().map(|member| member.number).collect();
        numbers.sort_unstable();
        last.health.retain(|number| numbers.binary_search(&number).is_ok());
        // Each connection takes its turn, however often the list changes.
        let order = Order::new(pick, &members, last.order.turn());
        Self { order, health: Arc::clone(&last.health), ..Self::new(members, pick) }
    }

    /// Returns this roster with what is known of the members that were in the list of `last` too.
    pub(super) fn with_knowledge_of(&self, last: &Self) -> Self {
        let mut known = last.by_line();
        let member =
            |member: &PoolMember| match known.get_mut(&member.fingerprint).and_then(Vec::pop) {
                Some(PoolMember { number, counts, .. }) => {
                    let counts = Arc::new(counts.of_stayed());
                    PoolMember { number: *number, counts, ..member.clone() }
                }
                None => member.clone(),
            };
        Self::following(last, self.members.iter().map(member).collect(), self.pick)
    }

    /// Returns the members of a list by the fingerprints of their lines. A list may have the same line several times, and
    /// each of them is a member; the first one is last.
    pub(super) fn by_line(&self) -> HashMap<u64, Vec<&PoolMember>> {
        let mut by_line = HashMap::<u64, Vec<&PoolMember>>::new();
        for member in self.members.iter().rev() {
            by_line.entry(member.fingerprint).or_default().push(member);
        }
        by_line
    }

    /// Returns whether clients may name a session: some member takes preferences, or the session chooses the member.
    pub(super) fn takes_preferences(&self) -> bool {
        self.takes_preferences || self.pick == Pick::Sticky
    }

    /// Returns the form in which the members get plain requests, if it is the same for all.
    pub(super) fn plain_form(&self) -> PlainForm {
        PlainForm::of_any(self.members.iter().map(|member| &*member.hop))
    }

    /// Returns the parts of the members' logins that depend on the preferences of a client.
    pub(super) fn login_shape(&self, preferences: &Preferences) -> Vec<LoginShape> {
        let of_member = |member: &PoolMember| {
            let shapes = member.hop.login_shape(preferences).into_iter();
            let named = |shape: LoginShape| LoginShape {
                name: format!("{} of {}", shape.name, member.name),
                ..shape
            };
            shapes.map(named).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of_member).collect()
    }

    /// Ends the waits after rejected credentials of all members.
    pub(super) fn release(&self) {
        self.members.iter().for_each(|member| member.hop.release());
        self.health.release();
    }

    /// Describes each member.
    pub(super) fn status(&self) -> Vec<MemberStatus> {
        let left_out = self.health.left_out();
        let status = |(member, label): (&PoolMember, Arc<str>)| MemberStatus {
            label,
            ..member.status(left_out.get(&member.number))
        };
        self.members.iter().zip(self.labels()).map(status).collect()
    }

    /// Counts what the members do in `ledger`, unless they are counted in one already.
    pub(super) fn count_in(&self, ledger: &MemberLedger) {
        // A long list is not gone through with each reload.
        if self.members.first().is_some_and(|member| member.counts.has_tally()) {
            return;
        }
        let rest = ledger.tally(&MemberLedger::REST.into());
        let (labelled, others) =
            self.members.split_at(self.members.len().min(MemberLedger::LABELLED_MAX));
        others.iter().for_each(|member| member.counts.count_in(|| Arc::clone(&rest)));
        // A member that stays keeps its own counts, also if its label is another one now.
        let mut taken = Vec::new();
        let keyed: Vec<_> = labelled.iter().zip(self.keys()).collect();
        for (member, key) in &keyed {
            if let Some(tally) = member.counts.before().filter(|tally| !Arc::ptr_eq(tally, &rest)) {
                ledger.keep(key, tally);
                taken.push(Arc::clone(tally));
                member.counts.count_in(|| Arc::clone(tally));
            }
        }
        for (member, key) in &keyed {
            member.counts.count_in(|| ledger.free_tally(key, &taken));
        }
    }

    /// Returns the names of the counts of the members that have labels. Members with one address are distinguished by their
    /// logins here, since their lines change.
    fn keys(&self) -> Vec<Arc<str>> {
        let mut times = HashMap::<(String, u64), usize>::new();
        let key = |(member, label): (&PoolMember, Arc<str>)| match member.labelled().usual {
            Some(usual) if *usual != *label => {
                let time = times.entry((usual.clone(), member.identity)).or_default();
                *time += 1;
                format!("{usual} {} {time}", member.identity).into()
            }
            _ => label,
        };
        let labelled = self.members.iter().take(MemberLedger::LABELLED_MAX);
        labelled.zip(self.labels()).map(key).collect()
    }

    fn labels(&self) -> impl Iterator<Item = Arc<str>> {
        labels(self.members.iter().map(PoolMember::labelled))
    }

    /// Returns the index of the member that carries `request` while all of them work, if that is always the same.
    pub(super) fn usual_member(&self, request: Request<'_>) -> Option<usize> {
        if !matches!(self.pick, Pick::Failover | Pick::Sticky) {
            return None;
        }
        let must_take_preferences = self.takes_preferences && !request.preferences.is_empty();
        let mut candidates = self.order.candidates(request, must_take_preferences);
        let taken = self.order.take(&mut candidates, &self.members, &Health::default());
        taken.map(|(index, _)| index)
    }

    /// Chooses a member for `request`.
    pub(super) fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let preferences = request.preferences;
        let must_take_preferences = if self.takes_preferences {
            !preferences.is_empty()
        } else {
            // A session chooses among the members of a sticky pool. A country is for none of them to choose.
            if preferences.country.is_some() && self.pick == Pick::Sticky {
                return Eventual::Ready(Err(InvalidPreferences::NoCountry.into()));
            }
            false
        };
        // Searched for only by a request that comes back to a member, which few do.
        let repeated = request.repeated.first();
        let repeated =
            repeated.and_then(|number| self.members.iter().position(|one| one.number == *number));
        let candidates = match repeated {
            Some(index) => self.order.candidates_after(index, request, must_take_preferences),
            None => self.order.candidates(request, must_take_preferences),
        };
        self.pick(candidates, Arc::new(Wish::of(request)))
    }

    /// Takes the first of `candidates` that is well and can meet the wish.
    ///
    /// A member may be a hop that has to wait for its own choice. Then the rest of the search waits with it, and is
    /// boxed; as long as every member answers at once, nothing is.
    pub(super) fn pick(
        self: Arc<Self>,
        mut candidates: Candidates,
        wish: Arc<Wish>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let mut unmet = ChooseError::from(InvalidPreferences::Unknown);
        while let Some((index, taken)) =
            self.order.take(&mut candidates, &self.members, &self.health)
        {
            let PoolMember { hop, number, .. } = &self.members[index];
            let (hop, number) = (Arc::clone(hop), *number);
            let (roster, wished) = (Arc::clone(&self), Arc::clone(&wish));
            let picked = Picked::new(roster, index, taken, wished, candidates.clone());
            match hop.choose(wish.request_to(number)) {
                Eventual::Ready(Ok(chosen)) => {
                    return Eventual::Ready(Ok(Box::new(picked).of(chosen)));
                }
                // Dropping `picked` gives the member back.
                Eventual::Ready(Err(error)) => unmet = unmet.joined(error),
                Eventual::Pending(choice) => {
                    return Eventual::later(async move {
                        match choice.await {
                            Ok(chosen) => Ok(Box::new(picked).of(chosen)),
                            Err(error) => {
                                drop(picked);
                                match self.pick(candidates, wish).wait().await {
                                    Err(unmet) => Err(error.joined(unmet)),
                                    chosen => chosen,
                                }
                            }
                        }
                    });
                }
            }
        }
        // The members that are left were not taken because they asked to wait.
        Eventual::Ready(Err(match self.asked_to_wait(&candidates) {
            Some(asked) => unmet.joined(HopError::from(asked).into()),
            None => unmet,
        }))
    }

    /// Describes the members that could serve the connection of `candidates`, and asked to wait. Returns `None` if there are
    /// none.
    fn asked_to_wait(&self, candidates: &Candidates) -> Option<AskedToWait> {
        let able = self.members.iter().filter(|member| candidates.allow(member));
        let asked = self.health.asked_to_wait(able.map(|member| member.number))?;
        let are_all = self.members.iter().all(|member| candidates.allow(member));
        Some(AskedToWait { are_all, ..asked })
    }
}
