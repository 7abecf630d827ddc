//! The health of a pool's members.

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

use crate::{AskedToWait, Hop, HopError, Meaning, MemberStatus, Refusal};

/// The pool's knowledge of its members, from the connections that passed them.
///
/// A member that failed is left out for a pause. After it, one connection at a time tries it; the pause doubles with
/// each such trial that fails. Members that never failed take no room.
///
/// A member that asked to be left alone for some time is left out for that time, and is not the last resort of a connection
/// that finds no other one: its rate limit would only last longer.
#[derive(Debug, Default)]
pub(in crate::kinds) struct Health {
    members: Mutex<HashMap<usize, Illness>>,
    /// Whether a member is ill. While none is, connections take no lock. A connection that begins as the first one fails
    /// may still choose as if it were well, as it would if it had begun a moment earlier.
    is_any_ill: AtomicBool,
}

/// Write access to the unhealthy members. Updates `is_any_ill` when dropped.
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
    pub(in crate::kinds) is_trial: bool,
}

#[derive(Clone, Debug)]
struct Illness {
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

/// A member's failure, as far as it is known.
#[derive(Debug, Default)]
pub(in crate::kinds) struct LeftFor {
    /// Why it failed.
    pub(in crate::kinds) why: Option<Arc<str>>,
    /// How long it is to be left alone, if its failure says that.
    pub(in crate::kinds) wait: Option<Wait>,
    /// The refusal that the failure was, if it was one.
    pub(in crate::kinds) refusal: Option<RefusalKind>,
}

/// The refusals of a proxy that mean about the same, so that the same fault may lead to any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds) enum RefusalKind {
    /// It does not accept the credentials, or the account may not do this. Some proxies answer 401 or 403 in place of 407.
    Account,
    /// Too much is asked of it.
    Busy,
    /// It answers with this other status.
    Other(u16),
}

impl RefusalKind {
    /// Returns the kind of the refusal that `error` is, if it is one.
    pub(in crate::kinds) fn of(error: &HopError) -> Option<Self> {
        match error {
            HopError::Refused(refusal) if refusal.meaning == Meaning::Credentials => {
                Some(Self::Account)
            }
            HopError::Refused(refusal) => {
                refusal.http.as_ref().map(|http| Self::of_status(http.status))
            }
            HopError::HeldBack(_) | HopError::NoCredentials(_) => Some(Self::Account),
            _ => None,
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 | 402 | 403 | 407 => Self::Account,
            429 | 503 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

/// Why a member is left alone for longer than the pause after a failure.
#[derive(Clone, Debug)]
pub(in crate::kinds) enum Wait {
    /// It asked for this time, by this answer.
    Asked(Duration, Arc<Refusal>),
    /// Its credentials are held back for this time.
    HeldBack {
        /// The time that is left.
        wait: Duration,
        /// Whether they were held back for this connection already, which has sent nothing then.
        is_unsent: bool,
    },
}

impl Wait {
    /// Returns how long a member that failed with `error` is to be left alone, if the error says that.
    pub(in crate::kinds) fn of(error: &HopError) -> Option<Self> {
        let held = |wait, is_unsent| Self::HeldBack { wait, is_unsent };
        match error {
            HopError::Refused(refusal) => match (refusal.held_back, refusal.retry_after) {
                (Some(wait), _) => Some(held(wait, false)),
                (None, Some(wait)) if !wait.is_zero() => {
                    Some(Self::Asked(wait.min(ASKED_MAX), Arc::new((**refusal).clone())))
                }
                (None, _) => None,
            },
            HopError::HeldBack(hold) => Some(held(hold.wait, true)),
            HopError::NoCredentials(missing) => {
                missing.retry_after.map(|wait| held(wait, missing.is_held_back))
            }
            _ => None,
        }
    }

    /// Returns whether nothing was sent to the member, so that nothing was learned of it.
    pub(in crate::kinds) fn is_unsent(&self) -> bool {
        matches!(self, Self::HeldBack { is_unsent: true, .. })
    }

    /// Returns why a member that failed with `error` is left out. Omits the remaining time, because it keeps changing.
    pub(in crate::kinds) fn reason(error: &HopError) -> Option<Arc<str>> {
        match error {
            HopError::HeldBack(hold) => Some(format!("it answered {}", hold.refusal).into()),
            HopError::NoCredentials(missing) => Some((*missing.details).into()),
            _ => None,
        }
    }
}

impl Illness {
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
    /// Adds to `status` why the member is not in use, whose hop is `hop`. It may be `left_out`, and its credentials may be held
    /// back for longer, also if no connection has failed for that yet.
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
    /// since a connection that is never tried has failed for certain. Members that asked to wait are not taken.
    /// `number` returns the number of a member, by which the pool knows it.
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
            let asks = |one: &T| {
                members.get(&number(*one)).is_some_and(|illness| illness.asks_at(*now).is_some())
            };
            let one = order.filter(|one| !asks(one)).min_by_key(until)?;
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
        if !self.is_any_ill() {
            return;
        }
        let mut members = self.members();
        match members.get_mut(&taken.member) {
            // A connection that was under way when the member asked to wait does not end that time.
            Some(illness) if illness.asks_at(Instant::now()).is_some() => {
                illness.is_on_trial &= !taken.is_trial;
            }
            _ => {
                members.remove(&taken.member);
            }
        }
    }

    /// Returns whether the member is left out for a refusal, and an answer of `status` may be the same one.
    pub(in crate::kinds) fn may_repeat_refusal(&self, taken: Taken, status: u16) -> bool {
        status >= 400 && self.is_any_ill() && {
            let refusal = self.members().get(&taken.member).and_then(|illness| illness.refusal);
            refusal == Some(RefusalKind::of_status(status))
        }
    }

    /// The answer of the member may be the refusal for which it is left out, or one of the target. If it was on trial, it is
    /// left out for another pause, which is no longer than the last one.
    pub(in crate::kinds) fn stays_out(&self, taken: Taken) {
        if taken.is_trial
            && let Some(illness) = self.members().get_mut(&taken.member)
        {
            illness.is_on_trial = false;
            illness.until = illness.until.max(Instant::now() + illness.pause);
        }
    }

    /// The member did not do its part.
    pub(in crate::kinds) fn failed(&self, taken: Taken, left_for: LeftFor) {
        let LeftFor { why, wait, refusal } = left_for;
        let (mut members, now) = (self.members(), Instant::now());
        let known = members.get(&taken.member);
        let is_on_trial = !taken.is_trial && known.is_some_and(|illness| illness.is_on_trial);
        // Connections that were under way when it failed first say nothing new.
        let pause = match known {
            Some(illness) if taken.is_trial && !wait.as_ref().is_some_and(Wait::is_unsent) => {
                (illness.pause * 2).min(PAUSE_MAX)
            }
            Some(illness) => illness.pause,
            None => PAUSE_MIN,
        };
        let left = match &wait {
            Some(Wait::Asked(wait, _)) => *wait,
            Some(Wait::HeldBack { wait, .. }) => pause.max(*wait),
            None => pause,
        };
        let failed = Illness { until: now + left, pause, is_on_trial, why, wait, refusal };
        let asks = |illness: &Illness| illness.asks_at(now).is_some();
        match members.get_mut(&taken.member) {
            // It is left alone for the time that it asked for, whatever else happens to it.
            Some(known) if asks(known) && !asks(&failed) => known.is_on_trial = is_on_trial,
            _ => {
                members.insert(taken.member, failed);
            }
        }
    }

    /// The credentials of all members may be sent again, by an order of the operator.
    pub(in crate::kinds) fn release(&self) {
        if !self.is_any_ill() {
            return;
        }
        let now = Instant::now();
        for illness in self.members().values_mut() {
            if let Some(Wait::HeldBack { .. }) = illness.wait {
                illness.until = illness.until.min(now);
                illness.wait = None;
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
            let Some(illness) = members.get(&number) else { continue };
            let Some(refusal) = illness.asks_at(now) else { continue };
            count += 1;
            if first.is_none_or(|(until, _)| illness.until < until) {
                first = Some((illness.until, refusal));
            }
        }
        let (until, refusal) = first?;
        // Rounded up, so that a client that comes back after it is not too early.
        let left = until.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let (wait, refusal) = (Duration::from_secs(seconds), (**refusal).clone());
        Some(AskedToWait { pool: None, members: count, are_all: true, wait, refusal })
    }

    /// Nothing was learned of the member.
    pub(in crate::kinds) fn released(&self, taken: Taken) {
        // Most connections are not a trial, and take no lock.
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
            let is_asked = illness.asks_at(now).is_some();
            (*member, LeftOut { pause, why: illness.why.clone(), is_asked })
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
/// The longest time that a member may ask for. A proxy that asks for a day has a fault more often than a reason.
const ASKED_MAX: Duration = Duration::from_secs(5 * 60);

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
        health.failed(first, LeftFor::default());
        assert_eq!(take(&health, 2).member, 1);
        advance(PAUSE_MIN).await;
        let trial = take(&health, 2);
        assert_eq!(trial, Taken { member: 0, is_trial: true });
        assert_eq!(take(&health, 2).member, 1, "a second one does not wait for the trial");
        // One that began earlier and fails now ends no trial and makes no pause longer.
        health.failed(first, LeftFor::default());
        health.failed(trial, LeftFor::default());
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
        health.failed(first, LeftFor::default());
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
        health.failed(Taken { member: 1, is_trial: false }, LeftFor::default());
        advance(Duration::from_secs(1)).await;
        health.failed(Taken { member: 0, is_trial: false }, LeftFor::default());
        assert_eq!(take(&health, 2), Taken { member: 1, is_trial: false });
        assert_eq!(health.take(0..0, |member| member), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_has_an_end() {
        let health = Health::default();
        for _ in 0..20 {
            let taken = take(&health, 1);
            health.failed(taken, LeftFor::default());
            advance(PAUSE_MAX).await;
        }
        assert_eq!(health.members()[&0].pause, PAUSE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_may_be_the_same_refusal_leaves_a_member_out() {
        for (left_for, same, others) in [
            (407, &[401, 402, 403, 407][..], &[200, 404, 429, 500, 503][..]),
            (401, &[401, 402, 403, 407], &[302, 502]),
            (429, &[429, 503], &[401, 407, 504]),
            (590, &[590], &[591, 407, 200]),
        ] {
            let health = Health::default();
            let refusal = RefusalKind::of(&Refusal::from_http(left_for, b"", []).into());
            health.failed(take(&health, 2), LeftFor { refusal, ..LeftFor::default() });
            let well = take(&health, 2);
            advance(PAUSE_MIN).await;
            let trial = take(&health, 2);
            assert!(trial.is_trial);
            for status in same {
                assert!(health.may_repeat_refusal(trial, *status), "{status} after {left_for}");
                assert!(!health.may_repeat_refusal(well, *status), "that member is in use");
            }
            for status in others {
                assert!(!health.may_repeat_refusal(trial, *status), "{status} after {left_for}");
            }
            health.stays_out(trial);
            assert_eq!(take(&health, 2).member, 1, "it is left out for another pause");
            advance(PAUSE_MIN).await;
            let trial = take(&health, 2);
            assert!(trial.is_trial, "which is no longer than the first one");
            health.reached(trial);
            assert!(health.is_in_use(0) && !health.may_repeat_refusal(trial, left_for));
        }
        let health = Health::default();
        health.failed(take(&health, 1), LeftFor::default());
        assert!(!health.may_repeat_refusal(take(&health, 1), 407), "it refused nothing");
    }

    fn asked(seconds: u64) -> Option<Wait> {
        let wait = seconds.to_string();
        let refusal = Refusal::from_http(429, b"", [(&b"Retry-After"[..], wait.as_bytes())]);
        Wait::of(&refusal.into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_asked_to_wait_is_left_alone_for_that_time() {
        let health = Health::default();
        let first = take(&health, 1);
        let late = take(&health, 1);
        health.failed(first, LeftFor { wait: asked(30), ..LeftFor::default() });
        // Connections that were under way neither end the time nor shorten it.
        health.reached(late);
        health.failed(late, LeftFor::default());
        advance(Duration::from_millis(29_500)).await;
        assert!(health.take(0..1, |member| member).is_none(), "also as the last resort");
        let told = health.asked_to_wait([0].into_iter()).unwrap();
        assert_eq!((told.members, told.wait), (1, Duration::from_secs(1)), "rounded up");
        assert!(health.left_out()[&0].is_asked);
        advance(Duration::from_millis(500)).await;
        assert!(health.asked_to_wait([0].into_iter()).is_none());
        let trial = take(&health, 1);
        assert!(trial.is_trial);
        health.reached(trial);
        assert_eq!(health.ill(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_a_member_asks_for_has_an_end() {
        let health = Health::default();
        let first = take(&health, 1);
        health.failed(first, LeftFor { wait: asked(80_000), ..LeftFor::default() });
        assert_eq!(health.left_out()[&0].pause, ASKED_MAX);
        assert!(asked(0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_failed_otherwise_is_the_last_resort_beside_one_that_asked_to_wait() {
        let health = Health::default();
        health.failed(
            Taken { member: 0, is_trial: false },
            LeftFor { wait: asked(1), ..LeftFor::default() },
        );
        health.failed(Taken { member: 1, is_trial: false }, LeftFor::default());
        assert_eq!(take(&health, 2).member, 1, "though the other one is tried sooner");
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_are_held_back_lengthen_the_pause_until_they_are_released() {
        let health = Health::default();
        let held = |seconds, is_unsent| {
            Some(Wait::HeldBack { wait: Duration::from_secs(seconds), is_unsent })
        };
        let first = take(&health, 2);
        health.failed(first, LeftFor { wait: held(30, false), ..LeftFor::default() });
        assert_eq!(health.left_out()[&0].pause, Duration::from_secs(30));
        advance(Duration::from_secs(10)).await;
        health.failed(first, LeftFor { wait: held(20, true), ..LeftFor::default() });
        assert_eq!(health.left_out()[&0].pause, Duration::from_secs(20));
        assert_eq!(take(&health, 2).member, 1);
        health.release();
        assert_eq!(take(&health, 2), Taken { member: 0, is_trial: true });
    }
}
