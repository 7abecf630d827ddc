//! Targets that a proxy refuses to a user whose credentials are good, by asking for credentials again.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    Hold, Rejection, Sent,
    standing::{DOUBLINGS_MAX, TICKET_WINDOW_MAX, WINDOW_MIN},
};
use crate::Authority;

/// The targets for which credentials were rejected that were accepted for others, or may be.
#[derive(Debug, Default)]
pub(super) struct HeldTargets {
    /// With the oldest first.
    targets: VecDeque<HeldTarget>,
    /// Whether the proxy has ever refused a target by itself.
    are_any_known: bool,
}

#[derive(Debug)]
struct HeldTarget {
    target: Authority,
    rejection: Rejection,
    /// When the rejected credentials were sent.
    sent: Instant,
    /// Whether nothing has shown since then that the credentials are good.
    is_suspect: bool,
    /// How often the target was found to be refused by itself.
    times: u32,
    /// The end of the wait for a target that is no suspect.
    until: Instant,
}

impl HeldTargets {
    /// Adds a target whose request was rejected. Returns whether it is known to be refused by itself.
    pub(super) fn suspect(&mut self, rejection: Rejection, sent: &Sent) -> bool {
        let known = self.targets.iter().position(|held| held.target == sent.target);
        let times = known.and_then(|at| self.targets.remove(at)).map_or(0, |held| held.times);
        if self.targets.len() == TARGETS_MAX {
            self.targets.pop_front();
        }
        self.targets.push_back(HeldTarget {
            target: sent.target.clone(),
            rejection,
            sent: sent.at,
            is_suspect: true,
            times,
            until: sent.at,
        });
        times > 0
    }

    /// Notes that credentials that were sent at `accepted` are good. The targets whose rejected ones were sent before are
    /// refused by themselves. Returns whether no suspect is left.
    pub(super) fn clear_suspects(&mut self, accepted: Instant, now: Instant) -> bool {
        for held in self.targets.iter_mut().filter(|held| held.is_suspect && held.sent < accepted) {
            held.is_suspect = false;
            held.until = now + WINDOW_MIN * 2_u32.pow(held.times.min(DOUBLINGS_MAX));
            held.until = held.until.min(now + TICKET_WINDOW_MAX);
            held.times = held.times.saturating_add(1);
            self.are_any_known = true;
        }
        !self.targets.iter().any(|held| held.is_suspect)
    }

    /// Returns why and how long the credentials are not sent to `target`, if no other rejection counts.
    ///
    /// A suspect that was refused by itself before waits until the credentials are found good again. By itself, it could
    /// only add failed logons.
    pub(super) fn hold(&self, target: &Authority, now: Instant) -> Option<Hold> {
        let held = self.find(target)?;
        match (held.is_suspect, held.times) {
            (true, 0) => None,
            (true, _) => Some(held.hold(WINDOW_MIN)),
            (false, _) => (held.until > now).then(|| held.hold(held.until - now)),
        }
    }

    /// Returns why and how long the credentials are not sent to a target that is refused by itself, while they are under
    /// suspicion themselves.
    pub(super) fn hold_if_refused_alone(&self, target: &Authority, now: Instant) -> Option<Hold> {
        let held = self.find(target).filter(|held| held.times > 0)?;
        let rest = held.until.saturating_duration_since(now);
        Some(held.hold(if rest.is_zero() { WINDOW_MIN } else { rest }))
    }

    pub(super) fn is_suspect(&self, target: &Authority) -> bool {
        self.find(target).is_some_and(|held| held.is_suspect)
    }

    /// Returns whether the proxy has ever refused a target by itself.
    pub(super) fn are_any_known(&self) -> bool {
        self.are_any_known
    }

    /// Forgets a target that was reached.
    pub(super) fn forget(&mut self, target: &Authority) {
        self.targets.retain(|held| held.target != *target);
    }

    /// Ends all waits. What is known about the proxy stays.
    pub(super) fn release(&mut self) {
        self.targets.clear();
    }

    fn find(&self, target: &Authority) -> Option<&HeldTarget> {
        self.targets.iter().find(|held| held.target == *target)
    }
}

impl HeldTarget {
    fn hold(&self, wait: Duration) -> Hold {
        Hold::of_target(self.rejection.clone(), wait)
    }
}

/// How many targets are remembered. One that is forgotten costs another rejection.
const TARGETS_MAX: usize = 64;
