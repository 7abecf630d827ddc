//! The member that one connection takes, and what the pool learns from it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    health::{LeftFor, RefusalKind, Taken, Wait},
    order::{Candidates, PoolMember},
    roster::Roster,
};
use crate::{
    AnswerRecord, Chosen, Eventual, HopError, Selection,
    kinds::{outer_choice::OuterChoice, wish::Wish},
};

/// The member that a connection takes.
#[derive(Debug)]
pub(super) struct Picked {
    roster: Arc<Roster>,
    index: usize,
    taken: Taken,
    /// The choice that the member itself made, if it had one.
    inner: Option<Box<dyn Selection>>,
    wish: Arc<Wish>,
    /// The members that the connection may still take instead.
    others: Candidates,
    /// The number of answers that the member had given when it was chosen.
    answers_before: u64,
    /// Whether the pool knows how it went.
    is_settled: AtomicBool,
    /// The failure of the member, if it failed.
    left_for: LeftFor,
    /// Whether it only refused the target, so that it stays.
    refused_target: bool,
}

impl Picked {
    /// Takes the member at `index` of the roster, for which its health was asked.
    pub(super) fn new(
        roster: Arc<Roster>,
        index: usize,
        taken: Taken,
        wish: Arc<Wish>,
        others: Candidates,
    ) -> Self {
        let (is_settled, left_for) = (AtomicBool::new(false), LeftFor::default());
        let answers_before = roster.members[index].counts.answers();
        Self {
            roster,
            index,
            taken,
            inner: None,
            wish,
            others,
            answers_before,
            is_settled,
            left_for,
            refused_target: false,
        }
    }

    fn picked(&self) -> &PoolMember {
        &self.roster.members[self.index]
    }

    /// Returns whether the pool did not know yet how it went, and makes it so.
    fn settle(&self) -> bool {
        !self.is_settled.swap(true, Ordering::Relaxed)
    }

    /// Takes another member in place of this one, which failed with all hops that it may hold.
    fn next_member(self) -> Eventual<'static, Option<Chosen>> {
        if self.refused_target {
            if self.settle() {
                self.roster.health.reached(self.taken);
            }
            return self.other_member();
        }
        // A connection that sent nothing, to keep an account from being locked, was not a try.
        if !self.left_for.wait.as_ref().is_some_and(Wait::is_unsent) {
            self.picked().counts.failed();
        }
        self.member_after_failure()
    }

    /// Leaves the member out, and takes another one.
    fn member_after_failure(mut self) -> Eventual<'static, Option<Chosen>> {
        self.settle();
        self.roster.health.failed(self.taken, std::mem::take(&mut self.left_for));
        self.other_member()
    }

    /// Takes one of the members that the connection has not tried.
    fn other_member(mut self) -> Eventual<'static, Option<Chosen>> {
        let others = std::mem::take(&mut self.others);
        Arc::clone(&self.roster).pick(others, Arc::clone(&self.wish)).map(Result::ok)
    }
}

impl OuterChoice for Picked {
    fn inner(&mut self) -> &mut Option<Box<dyn Selection>> {
        &mut self.inner
    }
}

impl Selection for Picked {
    fn member(&self) -> String {
        let name = &self.picked().name;
        match &self.inner {
            Some(inner) => format!("{name}.{}", inner.member()),
            None => name.to_string(),
        }
    }

    fn identity(&self) -> String {
        // The lines of a list change. A member keeps its number as long as its address and its login stay.
        let (name, number) = (&self.picked().name, self.picked().number);
        match &self.inner {
            Some(inner) => format!("{name}#{number}.{}", inner.identity()),
            None => format!("{name}#{number}"),
        }
    }

    fn numbers(&self) -> Vec<usize> {
        let inner = self.inner.iter().flat_map(|inner| inner.numbers());
        std::iter::once(self.picked().number).chain(inner).collect()
    }

    fn place(&self, at: &str) -> String {
        let member = self.picked();
        let own = match &member.hop_name {
            Some(name) => format!("hops.{name}"),
            None => format!("{at}.{}", member.name),
        };
        self.inner.as_ref().map_or_else(|| own.clone(), |inner| inner.place(&own))
    }

    fn hops(&self) -> Vec<Arc<str>> {
        let member = self.picked();
        let inner = self.inner.iter().flat_map(|inner| inner.hops());
        member.hop_name.iter().cloned().chain(inner).collect()
    }

    fn is_in_use(&self) -> Option<bool> {
        let inner = self.inner.as_ref().and_then(|inner| inner.is_in_use());
        inner.or_else(|| Some(self.roster.health.is_in_use(self.taken.member)))
    }

    fn is_silent(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_silent(),
            None => self.picked().counts.answers() == self.answers_before,
        }
    }

    fn reached(&self) {
        if let Some(inner) = &self.inner {
            inner.reached();
        }
        if self.settle() {
            self.roster.health.reached(self.taken);
            self.picked().counts.reached();
            self.picked().counts.answered();
        }
    }

    fn answered(&self) {
        if let Some(inner) = &self.inner {
            inner.answered();
        }
        if self.settle() {
            self.roster.health.reached(self.taken);
            self.picked().counts.answered();
        }
    }

    fn may_repeat_refusal(&self, status: u16) -> bool {
        match &self.inner {
            Some(inner) => inner.may_repeat_refusal(status),
            None => self.roster.health.may_repeat_refusal(self.taken, status),
        }
    }

    fn is_trial(&self) -> bool {
        self.inner.as_ref().map_or(self.taken.is_trial, |inner| inner.is_trial())
    }

    fn stays_out(&self) {
        if let Some(inner) = &self.inner {
            inner.stays_out();
        }
        if self.settle() {
            match &self.inner {
                // A pool in the pool works if one of its members may.
                Some(_) => self.roster.health.reached(self.taken),
                None => self.roster.health.stays_out(self.taken),
            }
            self.picked().counts.answered();
        }
    }

    fn refused(&self, why: &Arc<str>) -> u64 {
        let of_inner = self.inner.as_ref().map(|inner| inner.refused(why));
        if self.settle() {
            // It works. Whether the refusal is about it or about the target is not known.
            self.roster.health.reached(self.taken);
            let in_a_row = self.picked().counts.refused(why);
            return of_inner.unwrap_or(in_a_row);
        }
        of_inner.unwrap_or_default()
    }

    fn record(&self) -> Option<Arc<dyn AnswerRecord>> {
        let own = || Arc::clone(&self.picked().counts) as Arc<dyn AnswerRecord>;
        // A pool in the pool has many exits, and the answers tell of one of them.
        self.inner.as_ref().and_then(|inner| inner.record()).or_else(|| Some(own()))
    }

    fn note_failure(&mut self, why: &Arc<str>) {
        if let Some(inner) = &mut self.inner {
            inner.note_failure(why);
        }
        // A pool in the pool fails with its last member, whose reason is then that of both.
        self.left_for.why = Some(Arc::clone(why));
    }

    fn note_error(&mut self, error: &HopError) {
        match &mut self.inner {
            // The other members of a pool in the pool are not to be left alone.
            Some(inner) => inner.note_error(error),
            None => self.left_for.wait = Wait::of(error),
        }
        self.refused_target = match error {
            HopError::Refused(refusal) => refusal.is_of_target,
            HopError::HeldBack(held) => held.refusal.is_of_target,
            _ => false,
        };
        self.left_for.refusal = RefusalKind::of(error);
        self.left_for.why = Wait::reason(error).or_else(|| self.left_for.why.take());
    }

    fn another(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.after_inner(|inner| inner.another(), |picked| picked.other_member())
    }

    fn instead_of_rejecting(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.after_inner(
            |inner| inner.instead_of_rejecting(),
            |picked| picked.member_after_failure(),
        )
    }

    /// A pool in the pool has failed only when none of its own members is left.
    fn instead(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.after_inner(|inner| inner.instead(), |picked| picked.next_member())
    }
}

impl Drop for Picked {
    /// A connection that was cancelled says nothing about the member.
    fn drop(&mut self) {
        if self.settle() {
            self.roster.health.released(self.taken);
        }
    }
}
