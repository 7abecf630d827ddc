//! Decides whether a request may go its way now, or has to wait for facts that its way depends on.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{NetworkCondition, Truth, condition::questions, facts::Facts};

/// Whether a request may go on, and what it calls for.
#[derive(Debug)]
pub(super) struct Readiness {
    /// The reason to wait, or `None` if the request may go on.
    pub(super) waiting: Option<Waiting>,
    /// Whether the questions are to be asked.
    pub(super) asks: bool,
    /// Whether a condition has just been waited for long enough.
    pub(super) gave_up: bool,
}

/// The reason why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For facts, and it looks again at this time at the latest.
    ForFacts(Instant),
    /// For the reload that applies an outcome.
    ForReload,
}

impl Facts {
    /// Decides whether a request that depends on `conditions` may go on. Asking is driven from here: without requests, no
    /// question is asked but those after an event.
    pub(super) fn readiness(
        &mut self,
        conditions: &[Arc<NetworkCondition>],
        now: Instant,
        patience: Duration,
    ) -> Readiness {
        // A condition that is not in force has no outcome to wait for: an edit has removed it.
        let is_undecided = |facts: &Self, condition: &Arc<NetworkCondition>| {
            facts.in_force(condition).is_some()
                && facts.truth(&condition.when) == Truth::Undecided
                && !facts.given_up.contains(condition)
        };
        // All requests of an epoch share one clock, so those that come late in it don't wait as long again.
        let mut gave_up = false;
        let mut undecided = conditions.iter().any(|condition| is_undecided(self, condition));
        if (undecided || self.is_settling)
            && now >= *self.waiting_since.get_or_insert(now) + patience
        {
            let late: Vec<_> = conditions.iter().filter(|one| is_undecided(self, one)).collect();
            gave_up = !late.is_empty();
            self.given_up.extend(late.into_iter().cloned());
            undecided = false;
        }
        // Questions are asked often while requests wait, less often once they wait no longer, and rarely if all is
        // known.
        let is_given_up = conditions.iter().any(|condition| {
            self.given_up.contains(condition) && self.truth(&condition.when) == Truth::Undecided
        });
        let pause = match (undecided, is_given_up) {
            (true, _) => RETRY,
            (false, true) => RETRY_LATER,
            (false, false) => FRESH,
        };
        let asks = self.may_ask(conditions, now, pause);
        // A fact is not enough: a request that went on before the reload would still take the old hops.
        let is_in_force = |condition: &Arc<NetworkCondition>| match self.in_force(condition) {
            Some(is_on) => self.is_on(condition) == is_on,
            // An edit has just removed it.
            None => true,
        };
        let waiting = if undecided || self.is_settling {
            let end = self.waiting_since.unwrap_or(now) + patience;
            Some(Waiting::ForFacts(end.min(now + RETRY).max(now + LOOK_MIN)))
        } else if conditions.iter().all(is_in_force) {
            None
        } else {
            Some(Waiting::ForReload)
        };
        Readiness { waiting, asks, gave_up }
    }

    /// Notes that a hop that depends on `conditions` could not be reached. Returns whether to ask their questions.
    pub(super) fn hop_failed(
        &mut self,
        conditions: &[Arc<NetworkCondition>],
        now: Instant,
    ) -> bool {
        self.may_ask(conditions, now, RETRY)
    }

    /// Decides whether the questions are to be asked, which they are not within `pause` of the last time. If so,
    /// notes it for the keeper and returns `true`.
    fn may_ask(
        &mut self,
        conditions: &[Arc<NetworkCondition>],
        now: Instant,
        pause: Duration,
    ) -> bool {
        // While the network settles, an answer may be out of date at once, and the keeper asks by itself when it
        // is at rest.
        let is_due = self.last_asked.is_none_or(|last| now >= last + pause);
        let may =
            is_due && !self.is_settling && !self.wants_answers && !questions(conditions).is_empty();
        self.wants_answers |= may;
        may
    }
}

/// How old answers may get while requests depend on them.
const FRESH: Duration = Duration::from_secs(30);
/// The pause between two attempts while requests wait, or hops fail.
const RETRY: Duration = Duration::from_secs(1);
/// The pause between two attempts once requests no longer wait.
const RETRY_LATER: Duration = Duration::from_secs(5);
/// The shortest wait, so that a time that has just passed does not make the wait a busy loop.
const LOOK_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Question, Requirement, ask::Finding};

    fn setup() -> (Facts, [Arc<NetworkCondition>; 1]) {
        let when = Requirement::Resolves { name: "proxy.test".into(), into: Vec::new() };
        let condition = Arc::new(NetworkCondition { when, unknown: true });
        let mut facts = Facts::default();
        facts.put_in_force([(Arc::clone(&condition), true)].into(), false);
        facts.wants_answers = false;
        (facts, [condition])
    }

    fn hear(facts: &mut Facts, answer: Finding, now: Instant) {
        facts.heard(Question::Addresses("proxy.test".into()), answer);
        facts.wants_answers = false;
        facts.last_asked = Some(now);
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_request_waits_for_an_undecided_condition_and_no_longer_than_it_may() {
        let (mut facts, conditions) = setup();
        let begun = Instant::now();
        let first = facts.readiness(&conditions, begun, PATIENCE);
        assert!(matches!(first.waiting, Some(Waiting::ForFacts(_))) && first.asks);
        hear(&mut facts, Finding::Nothing("silence".into()), begun);
        let soon = facts.readiness(&conditions, begun + RETRY / 2, PATIENCE);
        assert!(soon.waiting.is_some() && !soon.asks, "once a second is enough");
        let late = facts.readiness(&conditions, begun + PATIENCE, PATIENCE);
        assert!(late.waiting.is_none() && late.gave_up);
        let next = facts.readiness(&conditions, begun + PATIENCE, PATIENCE);
        assert!(next.waiting.is_none() && !next.gave_up, "the next request does not wait again");
    }

    #[test]
    fn an_outcome_that_is_not_in_force_is_waited_for() {
        let (mut facts, conditions) = setup();
        let now = Instant::now();
        hear(&mut facts, Finding::NoAddress, now);
        let readiness = facts.readiness(&conditions, now, PATIENCE);
        assert_eq!(readiness.waiting, Some(Waiting::ForReload));
        facts.put_in_force([(Arc::clone(&conditions[0]), false)].into(), false);
        assert_eq!(facts.readiness(&conditions, now, PATIENCE).waiting, None);
        facts.begin_epoch();
        let after = facts.readiness(&conditions, now, PATIENCE);
        assert!(matches!(after.waiting, Some(Waiting::ForFacts(_))), "the network has changed");
    }

    #[test]
    fn answers_are_asked_for_again_after_half_a_minute_of_traffic_or_a_failed_dial() {
        let (mut facts, conditions) = setup();
        let now = Instant::now();
        hear(&mut facts, Finding::NoAddress, now);
        facts.put_in_force([(Arc::clone(&conditions[0]), false)].into(), false);
        for (after, asks) in [(Duration::ZERO, false), (FRESH / 2, false), (FRESH, true)] {
            let readiness = facts.readiness(&conditions, now + after, PATIENCE);
            assert_eq!((readiness.asks, readiness.waiting), (asks, None), "{after:?}");
        }
        hear(&mut facts, Finding::NoAddress, now);
        assert!(!facts.hop_failed(&conditions, now));
        assert!(facts.hop_failed(&conditions, now + RETRY));
        assert!(!facts.hop_failed(&conditions, now + RETRY), "it is being asked already");
    }
}
