//! The health of a pool's members.

mod cause;
#[cfg(test)]
mod tests;

use std::{
    cell::LazyCell,
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

pub(in crate::kinds) use self::cause::{LeftFor, RefusalKind, Wait};
use crate::{AskedToWait, Hop, MemberStatus, Refusal, refusal::whole_seconds};

/// The pool's knowledge of its members, from the connections that passed them.
///
/// A member that failed is left out for a pause. After it, one connection at a time tries it; the pause doubles with
/// each such trial that fails. Members that never failed take no room.
///
/// A member that asked to be left alone for some time is left out for that time, and is not the last resort of a connection
/// that finds no other one: its rate limit would only last longer.
#[derive(Debug, Default)]
pub(in crate::kinds) struct Health {
    members: Mutex<HashMap<usize, MemberOutage>>,
    /// Whether a member is ill. While none is, connections take no lock. A connection that begins just as the first member
    /// fails may still take that member, as if it had begun a moment earlier.
    is_any_ill: AtomicBool,
}

/// Write access to the unhealthy members. Updates `is_any_ill` when dropped.
struct Change<'a> {
    members: MutexGuard<'a, HashMap<usize, MemberOutage>>,
    is_any_ill: &'a AtomicBool,
}

impl Deref for Change<'_> {
    type Target = HashMap<usize, MemberOutage>;

    fn deref(&self) -> &Self::Target {
        &self.members
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.members
    }
}

impl Drop for Change<'_> {
    /// Notes whether a member is ill, before the lock is released.
    fn drop(&mut self) {
        self.is_any_ill.store(!self.members.is_empty(), Ordering::Relaxed);
    }
}

/// A member that a connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds) struct Taken {
    /// The number of the member.
    pub(in crate::kinds) member: usize,
    /// Whether the connection is the one that tries a member which was ill.
    pub(in crate::kinds) is_trial: bool,
}

#[derive(Clone, Debug)]
struct MemberOutage {
    until: Instant,
    pause: Duration,
    is_on_trial: bool,
    /// Why it failed the last time, as far as that is known.
    why: Option<Arc<str>>,
    /// Why it is left alone for longer than `pause`, if it is.
    wait: Option<Wait>,
    /// The refusal for which it is left out, if it is one.
    refusal: Option<RefusalKind>,
}

impl MemberOutage {
    /// Returns the answer in which the member asked for a pause that has not ended.
    fn asks_at(&self, now: Instant) -> Option<&Arc<Refusal>> {
        match &self.wait {
            Some(Wait::Asked(_, refusal)) if self.until > now => Some(refusal),
            _ => None,
        }
    }
}

/// A member that is left out.
#[derive(Clone, Debug)]
pub(in crate::kinds) struct LeftOut {
    /// The time until it is tried again.
    pub(in crate::kinds) pause: Duration,
    /// Why it failed, as far as that is known.
    pub(in crate::kinds) why: Option<Arc<str>>,
    /// Whether it asked for this.
    pub(in crate::kinds) is_asked: bool,
}

impl LeftOut {
    /// Adds to `status` why the member with the hop `hop` is not in use. It may be `left_out`, and its credentials may be held
    /// back for longer, even if no connection has failed for that yet.
    pub(in crate::kinds) fn shown_in(
        left_out: Option<&Self>,
        hop: Option<&dyn Hop>,
        status: MemberStatus,
    ) -> MemberStatus {
        let held_back = hop.and_then(Hop::held_back);
        MemberStatus {
            // `None` is less than any time.
            left_out: left_out.map(|left_out| left_out.pause).max(held_back),
            held_back,
            asked_to_wait: left_out.is_some_and(|left_out| left_out.is_asked),
            problem: left_out.and_then(|left_out| left_out.why.clone()),
            ..status
        }
    }
}

impl Health {
    /// Takes the first of `order` that is well or may be tried. If there is none, takes the one that may be tried soonest,
    /// since a connection without a member fails for certain. Never takes members that asked to wait. `number` returns the
    /// number by which the pool knows a member.
    pub(in crate::kinds) fn take<T: Copy>(
        &self,
        mut order: impl Iterator<Item = T> + Clone,
        number: impl Fn(T) -> usize,
    ) -> Option<(T, Taken)> {
        if !self.is_any_ill() {
            let one = order.next()?;
            return Some((one, Taken { member: number(one), is_trial: false }));
        }
        let mut members = self.members();
        // If all members in question are well, the clock is not read.
        let now = LazyCell::new(Instant::now);
        let is_ready = |one: &T| {
            let outage = members.get(&number(*one));
            outage.is_none_or(|outage| !outage.is_on_trial && outage.until <= *now)
        };
        let until = |one: &T| members.get(&number(*one)).map(|outage| outage.until);
        let Some(one) = order.clone().find(is_ready) else {
            let asks = |one: &T| {
                members.get(&number(*one)).is_some_and(|outage| outage.asks_at(*now).is_some())
            };
            let one = order.filter(|one| !asks(one)).min_by_key(until)?;
            return Some((one, Taken { member: number(one), is_trial: false }));
        };
        let member = number(one);
        let outage = members.get_mut(&member);
        let is_trial = outage.is_some();
        if let Some(outage) = outage {
            outage.is_on_trial = true;
        }
        Some((one, Taken { member, is_trial }))
    }

    /// Forgets the members that are gone.
    pub(in crate::kinds) fn retain(&self, is_member: impl Fn(usize) -> bool) {
        self.members().retain(|member, _| is_member(*member));
    }

    /// Notes that the member did its part.
    pub(in crate::kinds) fn reached(&self, taken: Taken) {
        if !self.is_any_ill() {
            return;
        }
        let mut members = self.members();
        match members.get_mut(&taken.member) {
            // A connection that had begun before the member asked to wait does not end the wait.
            Some(outage) if outage.asks_at(Instant::now()).is_some() => {
                outage.is_on_trial &= !taken.is_trial;
            }
            _ => {
                members.remove(&taken.member);
            }
        }
    }

    /// Returns whether the member is left out for a refusal, and an answer of `status` may be the same one.
    pub(in crate::kinds) fn may_repeat_refusal(&self, taken: Taken, status: u16) -> bool {
        status >= 400 && self.is_any_ill() && {
            let refusal = self.members().get(&taken.member).and_then(|outage| outage.refusal);
            refusal == Some(RefusalKind::of_status(status))
        }
    }

    /// Notes an answer that may come from the target, or be the refusal for which the member is left out. If the member was on
    /// trial, it is left out for another pause, which is no longer than the last one.
    pub(in crate::kinds) fn stays_out(&self, taken: Taken) {
        if taken.is_trial
            && let Some(outage) = self.members().get_mut(&taken.member)
        {
            outage.is_on_trial = false;
            outage.until = outage.until.max(Instant::now() + outage.pause);
        }
    }

    /// Notes that the member did not do its part.
    pub(in crate::kinds) fn failed(&self, taken: Taken, left_for: LeftFor) {
        let LeftFor { why, wait, refusal } = left_for;
        let (mut members, now) = (self.members(), Instant::now());
        let known = members.get(&taken.member);
        let is_on_trial = !taken.is_trial && known.is_some_and(|outage| outage.is_on_trial);
        // Connections that had begun before its first failure bring no news.
        let pause = match known {
            Some(outage) if taken.is_trial && !wait.as_ref().is_some_and(Wait::is_unsent) => {
                (outage.pause * 2).min(PAUSE_MAX)
            }
            Some(outage) => outage.pause,
            None => PAUSE_MIN,
        };
        let left = match &wait {
            Some(Wait::Asked(wait, _)) => *wait,
            Some(Wait::HeldBack { wait, .. }) => pause.max(*wait),
            None => pause,
        };
        let failed = MemberOutage { until: now + left, pause, is_on_trial, why, wait, refusal };
        let asks = |outage: &MemberOutage| outage.asks_at(now).is_some();
        match members.get_mut(&taken.member) {
            // It is left alone for the time that it asked for, whatever happens meanwhile.
            Some(known) if asks(known) && !asks(&failed) => known.is_on_trial = is_on_trial,
            _ => {
                members.insert(taken.member, failed);
            }
        }
    }

    /// Allows the credentials of all members to be sent again, at the operator's request.
    pub(in crate::kinds) fn release(&self) {
        if !self.is_any_ill() {
            return;
        }
        let now = Instant::now();
        for outage in self.members().values_mut() {
            if let Some(Wait::HeldBack { .. }) = outage.wait {
                outage.until = outage.until.min(now);
                outage.wait = None;
            }
        }
    }

    /// Returns how many of `numbers` asked to wait, and until when the first of them did. Returns `None` if none did.
    pub(in crate::kinds) fn asked_to_wait(
        &self,
        numbers: impl Iterator<Item = usize>,
    ) -> Option<AskedToWait> {
        if !self.is_any_ill() {
            return None;
        }
        let (members, now) = (self.members(), Instant::now());
        let mut first: Option<(Instant, &Arc<Refusal>)> = None;
        let mut count = 0;
        for number in numbers {
            let Some(outage) = members.get(&number) else { continue };
            let Some(refusal) = outage.asks_at(now) else { continue };
            count += 1;
            if first.is_none_or(|(until, _)| outage.until < until) {
                first = Some((outage.until, refusal));
            }
        }
        let (until, refusal) = first?;
        let wait = whole_seconds(until.saturating_duration_since(now));
        let refusal = (**refusal).clone();
        Some(AskedToWait { pool: None, members: count, are_all: true, wait, refusal })
    }

    /// Notes that a connection ended without learning anything about the member.
    pub(in crate::kinds) fn released(&self, taken: Taken) {
        // Most connections are not a trial, and take no lock.
        if taken.is_trial
            && let Some(outage) = self.members().get_mut(&taken.member)
        {
            outage.is_on_trial = false;
        }
    }

    /// Returns whether connections use the member, and don't leave it out.
    pub(in crate::kinds) fn is_in_use(&self, member: usize) -> bool {
        !self.is_any_ill() || !self.members().contains_key(&member)
    }

    /// Returns the members that are left out.
    pub(in crate::kinds) fn left_out(&self) -> HashMap<usize, LeftOut> {
        let (members, now) = (self.members(), Instant::now());
        let left = |(member, outage): (&usize, &MemberOutage)| {
            let pause = outage.until.saturating_duration_since(now);
            let is_asked = outage.asks_at(now).is_some();
            (*member, LeftOut { pause, why: outage.why.clone(), is_asked })
        };
        members.iter().map(left).collect()
    }

    /// Returns the number of members that are ill.
    #[cfg(test)]
    pub(in crate::kinds::pool) fn ill(&self) -> usize {
        self.members().len()
    }

    fn is_any_ill(&self) -> bool {
        self.is_any_ill.load(Ordering::Relaxed)
    }

    fn members(&self) -> Change<'_> {
        // Nothing in here panics half-way.
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        Change { members, is_any_ill: &self.is_any_ill }
    }
}

const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(2 * 60);
