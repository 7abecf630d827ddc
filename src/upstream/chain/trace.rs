//! Observers of a connection that is being made.

use std::sync::Arc;

use mooltiroute_hops::{ObserveRounds, WhyDirect};
use tokio::time::Instant;

use super::{ChainError, Stage, TakenHop};

/// An observer that is called at the end of each step of one connection. `()` observes nothing and costs nothing.
pub(crate) trait Trace {
    /// The hops that have a choice have chosen. Called for each attempt, unless no hop of the chain has a choice.
    fn chosen(&self, _taken: &Arc<[TakenHop]>) {}

    /// The hop of this name left itself out. Called for each attempt.
    fn left_out(&self, _hop: &str, _why: WhyDirect) {}

    /// A step begins, for which the hop or the target is waited for.
    fn begins(&self, _stage: impl FnOnce() -> Stage) {}

    /// The address of the first stop is known, by a look-up if the stop is a name; what is left of the step follows.
    fn looked_up(&self, _stage: impl FnOnce() -> Stage) {}

    /// A step has succeeded. To enter a hop without any exchange with it is not a step.
    fn passed(&self, _stage: impl FnOnce() -> Stage) {}

    /// Returns an observer of the rounds of authentication in the step that begins.
    fn rounds(&self) -> Option<Arc<dyn ObserveRounds>> {
        None
    }

    /// The last hop has made all rounds of authentication that come before a plain request.
    fn logged_on(&self, _stage: impl FnOnce() -> Stage) {}

    /// A step failed. If there is a detour, the connection begins again.
    fn failed(&self, _error: &ChainError) {}

    /// Returns when the client left, if nobody waits for the connection any more. Asked each time the task runs, so that
    /// the task has to be woken when that is noticed.
    fn abandoned(&self) -> Option<Instant> {
        None
    }
}

impl Trace for () {}

impl<T: Trace> Trace for Option<T> {
    fn chosen(&self, taken: &Arc<[TakenHop]>) {
        if let Some(trace) = self {
            trace.chosen(taken);
        }
    }

    fn left_out(&self, hop: &str, why: WhyDirect) {
        if let Some(trace) = self {
            trace.left_out(hop, why);
        }
    }

    fn begins(&self, stage: impl FnOnce() -> Stage) {
        if let Some(trace) = self {
            trace.begins(stage);
        }
    }

    fn looked_up(&self, stage: impl FnOnce() -> Stage) {
        if let Some(trace) = self {
            trace.looked_up(stage);
        }
    }

    fn passed(&self, stage: impl FnOnce() -> Stage) {
        if let Some(trace) = self {
            trace.passed(stage);
        }
    }

    fn rounds(&self) -> Option<Arc<dyn ObserveRounds>> {
        self.as_ref()?.rounds()
    }

    fn logged_on(&self, stage: impl FnOnce() -> Stage) {
        if let Some(trace) = self {
            trace.logged_on(stage);
        }
    }

    fn failed(&self, error: &ChainError) {
        if let Some(trace) = self {
            trace.failed(error);
        }
    }

    fn abandoned(&self) -> Option<Instant> {
        self.as_ref()?.abandoned()
    }
}
