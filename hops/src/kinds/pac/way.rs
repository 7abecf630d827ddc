//! The way that a connection takes: a hop of the plan, or none.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{PacMember, choice::Choosing};
use crate::{
    AnswerRecord, Chosen, Eventual, HopError, Selection, WhyDirect,
    kinds::{
        outer_choice::OuterChoice,
        pool::health::{LeftFor, RefusalKind, Taken, Wait},
    },
};

/// A way that a connection takes.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) choosing: Choosing,
    /// The member, unless the hop is left out.
    taken: Option<Taken>,
    /// The choice that the member itself made, if it had one.
    inner: Option<Box<dyn Selection>>,
    /// Whether the outcome was reported to the health of the hops.
    is_settled: AtomicBool,
    /// The failure of the hop, if it failed.
    left_for: LeftFor,
}

impl Way {
    pub(super) fn new(choosing: Choosing, taken: Option<Taken>) -> Box<Self> {
        let (is_settled, left_for) = (AtomicBool::new(false), LeftFor::default());
        Box::new(Self { choosing, taken, inner: None, is_settled, left_for })
    }

    /// Leaves the hop out.
    pub(super) fn direct(choosing: Choosing, why: WhyDirect) -> Chosen {
        // If the target can't be reached directly, the next entry of the plan may reach it.
        let has_more = !choosing.is_over();
        let selection = has_more.then(|| Self::new(choosing, None) as Box<dyn Selection>);
        Chosen { selection, why_direct: Some(why), ..Chosen::left_out() }
    }

    /// Gives the hop back, unless its outcome was reported, and returns the choice among the ways that are left.
    pub(super) fn given_up(mut self) -> Choosing {
        self.choosing.take_rest()
    }

    fn member(&self) -> Option<&PacMember> {
        self.choosing.member(self.taken?.member)
    }

    /// Marks the outcome as reported. Returns `false` if it already was.
    fn settle(&self) -> bool {
        !self.is_settled.swap(true, Ordering::Relaxed)
    }

    /// Has later connections leave the hop out.
    fn leave_out(&mut self) {
        self.settle();
        let left_for = std::mem::take(&mut self.left_for);
        if let Some(taken) = self.taken {
            self.choosing.health().failed(taken, left_for);
        }
    }

    /// Records that the hop failed, with all of its own members, and takes another way.
    fn next_way(mut self) -> Eventual<'static, Option<Chosen>> {
        // A connection that sent nothing, to keep an account from being locked, was not a try.
        if let Some(member) = self.member()
            && !self.left_for.wait.as_ref().is_some_and(Wait::is_unsent)
        {
            member.counts.failed();
        }
        self.leave_out();
        self.given_up().next().map(Result::ok)
    }
}

impl OuterChoice for Way {
    fn inner(&mut self) -> &mut Option<Box<dyn Selection>> {
        &mut self.inner
    }
}

impl Selection for Way {
    fn member(&self) -> String {
        let name = self.member().map_or("direct", |member| &*member.name);
        match &self.inner {
            Some(inner) => format!("{name}.{}", inner.member()),
            None => name.to_owned(),
        }
    }

    fn numbers(&self) -> Vec<usize> {
        let inner = self.inner.iter().flat_map(|inner| inner.numbers());
        self.taken.map(|taken| taken.member).into_iter().chain(inner).collect()
    }

    fn place(&self, at: &str) -> String {
        let own = self.member().map_or_else(|| at.to_owned(), |one| format!("hops.{}", one.name));
        self.inner.as_ref().map_or_else(|| own.clone(), |inner| inner.place(&own))
    }

    fn hops(&self) -> Vec<Arc<str>> {
        let inner = self.inner.iter().flat_map(|inner| inner.hops());
        self.member().map(|member| Arc::clone(&member.name)).into_iter().chain(inner).collect()
    }

    fn is_in_use(&self) -> Option<bool> {
        let inner = self.inner.as_ref().and_then(|inner| inner.is_in_use());
        inner.or_else(|| Some(self.choosing.health().is_in_use(self.taken?.member)))
    }

    fn reached(&self) {
        if let Some(inner) = &self.inner {
            inner.reached();
        }
        if self.settle()
            && let (Some(taken), Some(member)) = (self.taken, self.member())
        {
            self.choosing.health().reached(taken);
            member.counts.reached();
        }
    }

    fn answered(&self) {
        if let Some(inner) = &self.inner {
            inner.answered();
        }
        if let Some(taken) = self.taken.filter(|_| self.settle()) {
            self.choosing.health().reached(taken);
        }
    }

    fn may_repeat_refusal(&self, status: u16) -> bool {
        match &self.inner {
            Some(inner) => inner.may_repeat_refusal(status),
            None => self
                .taken
                .is_some_and(|taken| self.choosing.health().may_repeat_refusal(taken, status)),
        }
    }

    /// A connection that tries a proxy of the PAC file has no other one: the next entry may be `DIRECT`.
    fn is_trial(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_trial())
    }

    fn stays_out(&self) {
        if let Some(inner) = &self.inner {
            inner.stays_out();
        }
        if let Some(taken) = self.taken.filter(|_| self.settle()) {
            match &self.inner {
                // A pool works if one of its members may.
                Some(_) => self.choosing.health().reached(taken),
                None => self.choosing.health().stays_out(taken),
            }
        }
    }

    fn refused(&self, why: &Arc<str>) -> u64 {
        let of_inner = self.inner.as_ref().map(|inner| inner.refused(why));
        if self.settle()
            && let (Some(taken), Some(member)) = (self.taken, self.member())
        {
            self.choosing.health().reached(taken);
            let in_a_row = member.counts.refused(why);
            return of_inner.unwrap_or(in_a_row);
        }
        of_inner.unwrap_or_default()
    }

    fn record(&self) -> Option<Arc<dyn AnswerRecord>> {
        let own = || Some(Arc::clone(&self.member()?.counts) as Arc<dyn AnswerRecord>);
        self.inner.as_ref().and_then(|inner| inner.record()).or_else(own)
    }

    fn note_failure(&mut self, why: &Arc<str>) {
        if let Some(inner) = &mut self.inner {
            inner.note_failure(why);
        }
        self.left_for.why = Some(Arc::clone(why));
    }

    fn note_error(&mut self, error: &HopError) {
        match &mut self.inner {
            // The other members of a pool are not to be left alone.
            Some(inner) => inner.note_error(error),
            None => self.left_for.wait = Wait::of(error),
        }
        self.left_for.refusal = RefusalKind::of(error);
        self.left_for.why = Wait::reason(error).or_else(|| self.left_for.why.take());
    }

    /// Stays with the proxy of the PAC file. The next entry may be `DIRECT`, which a target must not be able to choose.
    fn another(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.after_inner(|inner| inner.another(), |_| Eventual::Ready(None))
    }

    /// Stays with the proxy of the PAC file, as `another` does.
    fn instead_of_rejecting(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.after_inner(
            |inner| inner.instead_of_rejecting(),
            |mut way| {
                way.leave_out();
                Eventual::Ready(None)
            },
        )
    }

    fn instead(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.after_inner(|inner| inner.instead(), |way| way.next_way())
    }
}

impl Drop for Way {
    /// A connection that was cancelled says nothing about the hop.
    fn drop(&mut self) {
        if !*self.is_settled.get_mut()
            && let Some(taken) = self.taken
        {
            self.choosing.health().released(taken);
        }
    }
}
