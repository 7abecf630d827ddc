//! The outcome of a plain request for the hop that it was sent to.

use std::sync::{MutexGuard, PoisonError};

use mooltiroute_hops::HopError;
use tracing::debug;

use super::Plan;
use crate::{
    client::{
        forward::{exchange::AnswerProgress, upstream::Upstream},
        reply::with_causes,
    },
    upstream::chain::{Cause, ChainError, LastAnswer, PlainOutcome, Unproved},
};

/// A last hop that takes a plain request and has not answered it.
///
/// A hop that is asked for a tunnel answers before it is taken to work. A hop that is sent a plain request has only its
/// answer to show that, so a pool learns here how its member did.
#[derive(Debug, Default)]
pub(super) struct LastHopTrial {
    pub(super) hop: Option<Unproved>,
    /// The hop that failed or refused, which another one is to replace.
    pub(super) replaced: Option<(Unproved, ChainError, PlainOutcome)>,
    /// Whether the answer is a refusal, or in another protocol, with the error if it is the hop's own or the target imitates
    /// that. An answer in another protocol does not show that the hop works.
    pub(super) refusal: Option<(PlainOutcome, Option<ChainError>)>,
    /// The status of the answer; zero before it has come.
    pub(super) status: u16,
    /// The number of hops that closed the connection or refused, and were replaced.
    repeats: usize,
}

impl Plan<'_> {
    /// Notes that the last hop answered, so that it works.
    pub(crate) fn is_proved(&self) {
        let mut trial = self.trial();
        if let Some(hop) = trial.hop.take() {
            let (status, is_carried) = (trial.status, trial.refusal.is_none());
            hop.proved(self.chain, LastAnswer { status, is_carried });
        }
    }

    /// Returns whether an answer of `status` is to be taken for a refusal of the last hop: it may be the one for which the
    /// hop is left out, and the request can be sent through another one.
    pub(crate) fn is_doubted(&self, status: u16) -> bool {
        let trial = self.trial();
        trial.hop.as_ref().is_some_and(|hop| hop.may_repeat_refusal(status))
            && self.may_repeat(&trial)
    }

    fn may_repeat(&self, trial: &LastHopTrial) -> bool {
        trial.repeats < REPEATS_MAX && self.is_repeatable()
    }

    /// Notes that the answer of the last hop is a refusal, and that the hop is not asked again. `own` is the error if the
    /// refusal is for a reason of the hop's own.
    pub(crate) fn is_refused(&self, own: Option<ChainError>) {
        self.trial().refusal = Some((PlainOutcome::Refused, own));
    }

    /// Notes that the answer of the last hop is in another protocol, as `error` says, and whether the hop stays in use.
    pub(crate) fn is_misunderstood(&self, error: ChainError, stays: bool) {
        let outcome = if stays { PlainOutcome::Misunderstood } else { PlainOutcome::Failed };
        self.trial().refusal = Some((outcome, Some(error)));
    }

    /// Reports how the last hop did, after an exchange over `upstream` that ended with `progress`. Returns whether the
    /// request is to be sent through another hop.
    ///
    /// A hop that closed the connection may have passed the request on, so that only an idempotent one is repeated, and
    /// only a few times: a request that makes each hop close must not take all of them out of use (RFC 9110 §9.2.2). A
    /// hop that was silent has used up the time of the client. Any answer shows that the hop works, a 407 too: the
    /// target can imitate it, and must not be able to take hops out of use. So a hop that refuses is passed over for
    /// this request only, within the same bounds. If its credentials are held back from now on, no connection could use
    /// it, and it is left out at once. An answer in another protocol shows nothing of a hop that has answered in its
    /// own: a careless hop may pass on what a target sent. A hop that has never answered in its own protocol counts as
    /// failed.
    pub(crate) fn settle(&self, progress: AnswerProgress, upstream: &Upstream) -> bool {
        use PlainOutcome::Failed;
        let mut trial = self.trial();
        let Some(unproved) = trial.hop.take() else { return false };
        let unheard = |cause: Cause| {
            let last = upstream.end.hop.as_ref()?;
            Some(self.chain.unheard(last, self.resource.authority(), cause))
        };
        let may_repeat = self.may_repeat(&trial);
        let (error, is_repeated, outcome) = match progress {
            // The client left while it was sending, or the proxy ends. That says nothing about the hop.
            AnswerProgress::Nothing => return false,
            AnswerProgress::Something | AnswerProgress::Challenged => match trial.refusal.take() {
                Some((PlainOutcome::Refused, Some(error))) if error.holds_back() => {
                    (Some(error), may_repeat, PlainOutcome::Rejected)
                }
                Some((Failed, error)) => (error, may_repeat, Failed),
                Some((outcome, Some(error))) if may_repeat => (Some(error), true, outcome),
                Some((PlainOutcome::Misunderstood, _)) => return false,
                refusal => {
                    let is_carried = refusal.is_none() && progress == AnswerProgress::Something;
                    let status = trial.status;
                    unproved.proved(self.chain, LastAnswer { status, is_carried });
                    return false;
                }
            },
            AnswerProgress::ClosedUnanswered => {
                (unheard(HopError::Closed.into()), may_repeat, Failed)
            }
            // A target that is slow is not a fault of a hop that answers others meanwhile.
            AnswerProgress::Silent if !unproved.is_silent() => return false,
            AnswerProgress::Abandoned { silent, .. } if !unproved.has_failed_after(silent) => {
                return false;
            }
            AnswerProgress::Abandoned { waited, .. } => {
                (unheard(Cause::ClientLeft(waited)), false, Failed)
            }
            AnswerProgress::Silent => {
                let timeout = self.generation.timeouts.response.unwrap_or_default();
                (unheard(Cause::Timeout(timeout, "timeouts.response")), false, Failed)
            }
        };
        let Some(error) = error else { return false };
        if !is_repeated {
            unproved.failed(self.chain, &error);
            return false;
        }
        debug!(error = with_causes(&error), "{AGAIN}");
        trial.repeats += 1;
        trial.replaced = Some((unproved, error, outcome));
        true
    }

    pub(super) fn trial(&self) -> MutexGuard<'_, LastHopTrial> {
        // Nothing in here panics half-way.
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many hops are replaced for one request, since they closed the connection without an answer, or refused.
const REPEATS_MAX: usize = 3;

const AGAIN: &str = "the request is sent again, through another hop";
