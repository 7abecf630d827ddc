//! Travels along a chain, attempt by attempt.

use std::{sync::Arc, time::Duration};

use mooltiroute_hops::{Field, PlainRequest, Request, Tunnel};
use tokio::time::Instant;

use super::{
    Chain, Connected,
    attempt::AttemptEnd,
    error::{Cause, ChainError},
    journey::{Journey, PausedJourney},
    passage::{Passage, TakenHop},
    trace::Trace,
};

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<'a> {
    /// The target.
    Target,
    /// The last hop if it forwards plain requests, starting with this one; the target otherwise.
    Forwarder(PlainRequest<'a>),
    /// The last hop, which is sent nothing.
    LastHop,
}

/// A connection that has reached its destination.
pub(super) struct Arrived<'a> {
    pub(super) tunnel: Tunnel,
    /// The fields that the last hop needs in the request.
    pub(super) fields: Arc<[Field]>,
    pub(super) journey: Journey<'a>,
    /// The choices of the hops that had one.
    pub(super) taken: Arc<[TakenHop]>,
    /// Whether the end is the last hop, and not the target.
    pub(super) is_at_hop: bool,
    /// The number of connections that were tried.
    pub(super) attempts: u32,
}

/// The last hop of a connection, which something chose, and which has not answered its first request. Dropping it reports
/// nothing about the hop.
#[derive(Debug)]
pub(crate) struct Unproved {
    journey: PausedJourney,
    /// The number of connections that were tried.
    attempts: u32,
}

/// How the last hop failed a plain request that another hop is to serve instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainOutcome {
    /// It gave no answer.
    Failed,
    /// It refused, or the target imitated that.
    Refused,
    /// It rejected the credentials, which are held back now.
    Rejected,
    /// It answered in another protocol than its own, or passed on what the target had sent.
    Misunderstood,
}

/// The answer of a last hop to a plain request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastAnswer {
    /// Its status.
    pub status: u16,
    /// Whether the hop carried the request: the answer is neither a refusal nor a challenge.
    pub is_carried: bool,
}

impl Arrived<'_> {
    /// Reports the hops that did their part. A last hop that has not been asked for anything yet is not reported.
    fn connected(self, begun: Instant) -> (Connected, Option<Unproved>) {
        let Self { tunnel, fields, journey, taken, is_at_hop, attempts } = self;
        let reuse = journey.reuse();
        let without_session = journey.without_session();
        let connect = begun.elapsed().into();
        let passage = Passage { taken: Some(taken), attempts, connect, without_session };
        let (last, unproved) = if is_at_hop {
            let last = journey.arrive_at_hop();
            // A hop that nothing chose has nobody to report to.
            let journey = Some(journey.pause()).filter(|paused| paused.last_selection().is_some());
            (last, journey.map(|journey| Unproved { journey, attempts }))
        } else {
            (journey.arrive(), None)
        };
        (Connected { tunnel, fields, last, is_at_hop, reuse, passage }, unproved)
    }
}

impl Unproved {
    /// Returns whether the hop is known to have answered nobody since it was chosen.
    pub(crate) fn is_silent(&self) -> bool {
        self.journey.last_selection().is_some_and(|selection| selection.is_silent())
    }

    /// Returns whether the hop failed a client that left, if nothing came from it for as long as `silent`.
    pub(crate) fn has_failed_after(&self, silent: Duration) -> bool {
        silent >= SILENCE_MIN && self.is_silent()
    }

    /// Returns whether the hop is on trial after it was left out, and `status` may repeat the refusal that led to that.
    pub(crate) fn may_repeat_refusal(&self, status: u16) -> bool {
        let selection = self.journey.last_selection();
        selection.is_some_and(|one| one.is_trial() && one.may_repeat_refusal(status))
    }

    /// Reports that the hop, which is the last one of `chain`, gave `answer`.
    pub(crate) fn proved(self, chain: &Chain, answer: LastAnswer) {
        self.journey.resume(chain).last_answered(answer);
    }

    /// Reports that the hop, which is the last one of `chain`, failed with `error`, and that no other hop is to be tried.
    pub(crate) fn failed(self, chain: &Chain, error: &ChainError) {
        self.journey.resume(chain).give_up(error);
    }
}

impl Chain {
    /// Opens a connection for `request` as far as `destination`, and reports each step to `trace`.
    ///
    /// # Errors
    /// The first step that failed, if no hop knows another way. The chain never goes round a hop.
    pub(crate) async fn travel<T: Trace>(
        &self,
        request: &Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Connected, ChainError> {
        let (connected, unproved) = self.open(request, destination, &[], trace).await?;
        if let Some(unproved) = unproved {
            unproved.proved(self, LastAnswer { status: 0, is_carried: true });
        }
        Ok(connected)
    }

    /// Opens a connection like [`travel`](Self::travel). If it ends at a hop, that hop has not answered anything yet, and
    /// the caller has to report whether it does. The hops in `before` choose the same again, if they can.
    ///
    /// # Errors
    /// Those of [`travel`](Self::travel).
    pub(crate) async fn open<T: Trace>(
        &self,
        request: &Request<'_>,
        destination: Destination<'_>,
        before: &[TakenHop],
        trace: &T,
    ) -> Result<(Connected, Option<Unproved>), ChainError> {
        // The time includes all detours, since the client waits for all of them.
        let begun = Instant::now();
        let request = request.begun_at(begun);
        let journey = Journey::new(self, &request, before).await?;
        let arrived = self.go_on(journey, 0, &request, destination, trace).await?;
        Ok(arrived.connected(begun))
    }

    /// Opens another connection after the last hop of `unproved` failed or refused its request with `error`. A hop that
    /// refused stays in use.
    ///
    /// # Errors
    /// `error` if no other hop can take the place of that one, or the failure of the next step.
    pub(crate) async fn open_instead<T: Trace>(
        &self,
        (unproved, mut error, outcome): (Unproved, ChainError, PlainOutcome),
        request: &Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<(Connected, Option<Unproved>), ChainError> {
        let begun = Instant::now();
        let Unproved { journey, attempts } = unproved;
        let mut journey = journey.resume(self);
        error.attempts = attempts;
        trace.failed(&error);
        match outcome {
            PlainOutcome::Failed => journey.last_failed(error).await?,
            PlainOutcome::Rejected => journey.last_rejected(error).await?,
            PlainOutcome::Refused => journey.last_refused(error, true).await?,
            PlainOutcome::Misunderstood => journey.last_refused(error, false).await?,
        }
        let request = request.begun_at(begun);
        let arrived = self.go_on(journey, attempts, &request, destination, trace).await?;
        Ok(arrived.connected(begun))
    }

    /// Opens a connection, and returns the journey that led there.
    pub(super) async fn go<T: Trace>(
        &self,
        request: &Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Arrived<'_>, ChainError> {
        let journey = Journey::new(self, request, &[]).await?;
        self.go_on(journey, 0, request, destination, trace).await
    }

    /// Continues a journey for which `attempts` connections were tried.
    async fn go_on<'c, T: Trace>(
        &'c self,
        mut journey: Journey<'c>,
        mut attempts: u32,
        request: &Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Arrived<'c>, ChainError> {
        // The client has not been told anything before the last attempt ends, so a chain may try as
        // often as its hops know another way, within a bound that no honest hop meets.
        loop {
            attempts += 1;
            let end = match destination {
                // Decided for each attempt, since a detour may have put another link in the last
                // place.
                Destination::Forwarder(line) if journey.is_forwarded() => {
                    AttemptEnd::Forwarder(line)
                }
                Destination::Target | Destination::Forwarder(_) => AttemptEnd::Target(request),
                Destination::LastHop => AttemptEnd::LastHop,
            };
            let taken = journey.taken();
            if !taken.is_empty() {
                trace.chosen(&taken);
            }
            journey.direct_hops_for(trace);
            match self.attempt(&journey, request, end, trace).await {
                Ok((tunnel, fields)) => {
                    let is_at_hop = !matches!(end, AttemptEnd::Target(_));
                    return Ok(Arrived { tunnel, fields, journey, taken, is_at_hop, attempts });
                }
                Err(mut failed) => {
                    failed.error.attempts = attempts;
                    if let direct_hops @ [_, ..] = &*journey.direct_hops() {
                        failed.error.direct_hops = direct_hops.to_vec();
                        failed.error.taken = Some(Arc::clone(&taken));
                    }
                    if matches!(failed.error.cause, Cause::ClientLeft(_)) {
                        return Err(journey.abandon(failed));
                    }
                    trace.failed(&failed.error);
                    if attempts > DETOURS_MAX {
                        return Err(journey.end(failed));
                    }
                    journey.detour(failed).await?;
                }
            }
        }
    }
}

/// How long a hop that has answered nobody must have been silent for a client that leaves to be its failure. Many clients
/// wait for five seconds. People who change their mind are faster.
pub(super) const SILENCE_MIN: Duration = Duration::from_secs(3);

/// Each detour is a connection of its own; no honest hop offers more.
const DETOURS_MAX: u32 = 32;
