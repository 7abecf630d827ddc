//! Chooses among the ways of a plan for one connection.

use std::sync::Arc;

use super::{
    Pac, PacMember,
    failure::Failure,
    plan::{Candidate, PacPlan},
    way::Way,
};
use crate::{
    AskedToWait, ChooseError, Chosen, Eventual, HopError, InvalidPreferences, WhyDirect,
    kinds::{
        outer_choice::OuterChoice as _,
        pool::health::{Health, Taken},
        wish::Wish,
    },
};

/// A connection that chooses among the ways of a plan.
#[derive(Debug)]
pub(super) struct Choosing {
    pac: Arc<Pac>,
    plan: Arc<PacPlan>,
    wish: Wish,
    tried: TriedWays,
}

/// The ways that a connection has tried, by their places in the plan. Most connections try one, which allocates nothing.
#[derive(Debug, Default)]
struct TriedWays {
    first: Option<usize>,
    others: Vec<usize>,
}

impl Choosing {
    pub(super) fn new(pac: Arc<Pac>, plan: Arc<PacPlan>, wish: Wish) -> Self {
        Self { pac, plan, wish, tried: TriedWays::default() }
    }

    /// Takes the first untried way whose hop is healthy. Going direct always counts as healthy, and so does a refusal,
    /// which ends the search.
    ///
    /// A hop may have to wait for its own choice. Then the rest of the search waits with it, and is boxed.
    pub(super) fn next(mut self) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let mut unmet = ChooseError::from(InvalidPreferences::Unknown);
        while let Some((taken, place)) = self.take() {
            let candidate = self.plan.candidates().nth(place);
            let index = match candidate {
                Some(Candidate::Member { index, .. }) => *index,
                Some(Candidate::Direct { otherwise }) => {
                    let has_others =
                        self.plan.candidates().take(place).any(|one| one.member().is_some());
                    let why = match otherwise {
                        true => WhyDirect::Otherwise,
                        false if has_others => WhyDirect::AfterOthers,
                        false => WhyDirect::PacFile,
                    };
                    return Eventual::Ready(Ok(Way::direct(self, why)));
                }
                Some(Candidate::Refuse { entry, other_port }) => {
                    let failure = Failure::unknown_entry(entry, other_port.as_deref(), &self.plan);
                    return Eventual::Ready(Err(failure.to_error().into()));
                }
                None => continue,
            };
            let Some(hop) = self.pac.members.get(index).and_then(|member| member.hop.clone())
            else {
                continue;
            };
            // It is boxed from the start, since moving it costs more than the box.
            let way = Way::new(self, Some(taken));
            match hop.choose(way.choosing.wish.request_to(index)) {
                Eventual::Ready(Ok(chosen)) => return Eventual::Ready(Ok(way.of(chosen))),
                Eventual::Ready(Err(error)) => {
                    unmet = unmet.joined(error);
                    self = (*way).given_up();
                }
                Eventual::Pending(choice) => {
                    return Eventual::later(async move {
                        match choice.await {
                            Ok(chosen) => Ok(way.of(chosen)),
                            Err(error) => {
                                let left = (*way).given_up();
                                if left.is_over() { Err(error) } else { left.next().wait().await }
                            }
                        }
                    });
                }
            }
        }
        // The ways that are left were not taken because their hops asked to wait.
        let members = self.plan.candidates().filter_map(Candidate::member);
        Eventual::Ready(Err(match self.pac.health.asked_to_wait(members) {
            Some(asked) => {
                let asked = AskedToWait { are_all: false, ..asked };
                unmet.joined(HopError::from(asked).into())
            }
            None => unmet,
        }))
    }

    /// Returns the health of the hops, by the numbers of their members.
    pub(super) fn health(&self) -> &Health {
        &self.pac.health
    }

    pub(super) fn member(&self, number: usize) -> Option<&PacMember> {
        self.pac.members.get(number)
    }

    /// Returns whether every way was tried.
    pub(super) fn is_over(&self) -> bool {
        self.tried.len() >= self.plan.candidates().len()
    }

    /// Returns the choice among the ways that are left. This one has nothing more to choose.
    pub(super) fn take_rest(&mut self) -> Self {
        let (pac, plan, wish) = (Arc::clone(&self.pac), Arc::clone(&self.plan), self.wish.clone());
        Self { pac, plan, wish, tried: std::mem::take(&mut self.tried) }
    }

    /// Takes a way by the health of the hops. Returns its place in the plan.
    fn take(&mut self) -> Option<(Taken, usize)> {
        let members = self.pac.members.len();
        // A way without a hop gets a number beyond those of the members, so no failure is ever recorded for it.
        let number =
            |(place, candidate): (usize, &Candidate)| candidate.member().unwrap_or(members + place);
        let ways = self.plan.candidates().enumerate();
        let left = ways.filter(|(place, _)| !self.tried.contains(*place));
        let ((place, _), taken) = self.pac.health.take(left, number)?;
        self.tried.add(place);
        Some((taken, place))
    }
}

impl TriedWays {
    fn add(&mut self, place: usize) {
        if self.first.is_none() {
            self.first = Some(place);
        } else {
            self.others.push(place);
        }
    }

    fn contains(&self, place: usize) -> bool {
        self.first == Some(place) || self.others.contains(&place)
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }
}
