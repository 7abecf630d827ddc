//! Which members of a pool are taken for well.

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

/// The pool's knowledge of its members, from the connections that passed them.
///
/// A member that failed is left out for a pause. After it, one connection at a time tries it; the pause doubles with
/// each such trial that fails. Members that never failed take no room.
#[derive(Debug, Default)]
pub(in crate::kinds) struct Health {
    members: Mutex<HashMap<usize, Illness>>,
    /// Whether a member is ill. While none is, connections take no lock. A connection that begins as the first one fails
    /// may still choose as if it were well, as it would if it had begun a moment earlier.
    is_any_ill: AtomicBool,
}

/// The members that are ill, for a change.
struct Change<'a> {
    members: MutexGuard<'a, HashMap<usize, Illness>>,
    is_any_ill: &'a AtomicBool,
}

impl Deref for Change<'_> {
    type Target = HashMap<usize, Illness>;

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
    is_trial: bool,
}

#[derive(Clone, Debug)]
struct Illness {
    until: Instant,
    pause: Duration,
    is_on_trial: bool,
    /// Why it failed the last time, as far as that is known.
    why: Option<Arc<str>>,
}

/// A member that is left out.
#[derive(Clone, Debug)]
pub(in crate::kinds) struct LeftOut {
    /// The time until it is tried again.
    pub(in crate::kinds) pause: Duration,
    /// Why it failed, as far as that is known.
    pub(in crate::kinds) why: Option<Arc<str>>,
}

impl Health {
    /// Takes the first of `order` that is well or may be tried. If there is none, takes the one that may be tried soonest,
    /// since a connection that is never tried has failed for certain. `number` returns the number of a member, by which
    /// the pool knows it.
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
        // The members that are asked about may all be well, and then the clock is not read.
        let now = LazyCell::new(Instant::now);
        let is_ready = |one: &T| {
            let illness = members.get(&number(*one));
            illness.is_none_or(|illness| !illness.is_on_trial && illness.until <= *now)
        };
        let until = |one: &T| members.get(&number(*one)).map(|illness| illness.until);
        let Some(one) = order.clone().find(is_ready) else {
            let one = order.min_by_key(until)?;
            return Some((one, Taken { member: number(one), is_trial: false }));
        };
        let member = number(one);
        let illness = members.get_mut(&member);
        let is_trial = illness.is_some();
        if let Some(illness) = illness {
            illness.is_on_trial = true;
        }
        Some((one, Taken { member, is_trial }))
    }

    /// Forgets the members that are gone.
    pub(in crate::kinds) fn retain(&self, is_member: impl Fn(usize) -> bool) {
        self.members().retain(|member, _| is_member(*member));
    }

    /// The member did its part.
    pub(in crate::kinds) fn reached(&self, taken: Taken) {
        if self.is_any_ill() {
            self.members().remove(&taken.member);
        }
    }

    /// The member did not do its part, for the reason `why`.
    pub(in crate::kinds) fn failed(&self, taken: Taken, why: Option<Arc<str>>) {
        let mut members = self.members();
        let known = members.get(&taken.member);
        // Connections that were under way when it failed first say nothing new.
        let pause = match known {
            Some(illness) if taken.is_trial => (illness.pause * 2).min(PAUSE_MAX),
            Some(illness) => illness.pause,
            None => PAUSE_MIN,
        };
        let is_on_trial = !taken.is_trial && known.is_some_and(|illness| illness.is_on_trial);
        let until = Instant::now() + pause;
        members.insert(taken.member, Illness { until, pause, is_on_trial, why });
    }

    /// Nothing was learned of the member.
    pub(in crate::kinds) fn released(&self, taken: Taken) {
        // Most connections are no trial, and take no lock.
        if taken.is_trial
            && let Some(illness) = self.members().get_mut(&taken.member)
        {
            illness.is_on_trial = false;
        }
    }

    /// Returns whether connections use the member, and don't leave it out.
    pub(in crate::kinds) fn is_in_use(&self, member: usize) -> bool {
        !self.is_any_ill() || !self.members().contains_key(&member)
    }

    /// Returns the members that are left out.
    pub(in crate::kinds) fn left_out(&self) -> HashMap<usize, LeftOut> {
        let (members, now) = (self.members(), Instant::now());
        let left = |(member, illness): (&usize, &Illness)| {
            let pause = illness.until.saturating_duration_since(now);
            (*member, LeftOut { pause, why: illness.why.clone() })
        };
        members.iter().map(left).collect()
    }

    /// Returns how many members have a state.
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn take(health: &Health, count: usize) -> Taken {
        health.take(0..count, |member| member).unwrap().1
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_failed_is_tried_by_one_connection_after_a_pause() {
        let health = Health::default();
        let first = take(&health, 2);
        assert_eq!(first.member, 0);
        health.failed(first, None);
        assert_eq!(take(&health, 2).member, 1);
        advance(PAUSE_MIN).await;
        let trial = take(&health, 2);
        assert_eq!(trial, Taken { member: 0, is_trial: true });
        assert_eq!(take(&health, 2).member, 1, "a second one does not wait for the trial");
        // One that began earlier and fails now ends no trial and makes no pause longer.
        health.failed(first, None);
        health.failed(trial, None);
        advance(PAUSE_MIN).await;
        assert_eq!(take(&health, 2).member, 1, "the pause is longer now");
        advance(PAUSE_MIN).await;
        let trial = take(&health, 2);
        assert_eq!(trial.member, 0);
        health.reached(trial);
        assert_eq!(take(&health, 2), Taken { member: 0, is_trial: false });
        assert_eq!(take(&health, 2), Taken { member: 0, is_trial: false });
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_was_broken_off_is_open_to_the_next() {
        let health = Health::default();
        let first = take(&health, 2);
        health.failed(first, None);
        advance(PAUSE_MIN).await;
        let trial = take(&health, 2);
        health.released(first);
        assert_eq!(take(&health, 2).member, 1, "another connection does not end the trial");
        health.released(trial);
        assert_eq!(take(&health, 2).member, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_ill_the_first_to_be_tried_is_taken() {
        let health = Health::default();
        health.failed(Taken { member: 1, is_trial: false }, None);
        advance(Duration::from_secs(1)).await;
        health.failed(Taken { member: 0, is_trial: false }, None);
        assert_eq!(take(&health, 2), Taken { member: 1, is_trial: false });
        assert_eq!(health.take(0..0, |member| member), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_has_an_end() {
        let health = Health::default();
        for _ in 0..20 {
            let taken = take(&health, 1);
            health.failed(taken, None);
            advance(PAUSE_MAX).await;
        }
        assert_eq!(health.members()[&0].pause, PAUSE_MAX);
    }
}
