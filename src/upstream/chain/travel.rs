//! Travels along a chain, attempt by attempt.

use std::sync::Arc;

use mooltiroute_hops::{Field, PlainRequest, Request, Tunnel};
use tokio::time::Instant;

use super::{
    Chain, Connected,
    attempt::AttemptEnd,
    error::ChainError,
    journey::Journey,
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

/// A connection that has got to its end.
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

impl Chain {
    /// Opens a connection for `request` as far as `destination`, and reports each step to `trace`.
    ///
    /// # Errors
    /// The first step that failed, if no hop knows another way. The chain never goes round a hop.
    pub(crate) async fn travel<T: Trace>(
        &self,
        request: Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Connected, ChainError> {
        // The time includes all detours, since the client waits for all of them.
        let begun = Instant::now();
        let Arrived { tunnel, fields, journey, taken, is_at_hop, attempts } =
            self.go(request.begun_at(begun), destination, trace).await?;
        let reuse = journey.reuse();
        let passage = Passage { taken: Some(taken), attempts, connect: Some(begun.elapsed()) };
        Ok(Connected { tunnel, fields, last: journey.arrive(is_at_hop), is_at_hop, reuse, passage })
    }

    /// Opens a connection, and returns the journey that led there.
    pub(super) async fn go<T: Trace>(
        &self,
        request: Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Arrived<'_>, ChainError> {
        let mut journey = Journey::new(self, request).await?;
        // The client has not been told anything before the last attempt ends, so a chain may try as
        // often as its hops know another way, within a bound that no honest hop meets.
        let mut attempts = 0;
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
            match self.attempt(&journey, request, end, trace).await {
                Ok((tunnel, fields)) => {
                    let is_at_hop = !matches!(end, AttemptEnd::Target(_));
                    return Ok(Arrived { tunnel, fields, journey, taken, is_at_hop, attempts });
                }
                Err(mut failed) => {
                    failed.error.attempts = attempts;
                    trace.failed(&failed.error);
                    if attempts > DETOURS_MAX {
                        return Err(failed.error);
                    }
                    journey.detour(failed).await?;
                }
            }
        }
    }
}

/// Each detour is a connection of its own; no honest hop offers more.
const DETOURS_MAX: u32 = 32;
