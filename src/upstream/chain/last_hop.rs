//! The last hop of a connection that carries plain requests, after the first of them.

use std::sync::{Arc, atomic::Ordering};

use mooltiroute_hops::{
    AnswerRecord, Authority, Eventual, Field, HopError, Link, PlainRequest, Refusal, Request,
    Spoken, Tunnel,
};
use tokio::time;
use tracing::{info, warn};

use super::{Cause, Chain, ChainError, Stage, Step};
use crate::error::with_causes;

/// The last hop of a connection.
#[derive(Clone, Debug)]
pub(crate) struct LastHop {
    /// Its position in the chain.
    pub position: usize,
    /// The link that was chosen for the connection.
    pub link: Arc<dyn Link>,
    /// Its name below the hop that chose it.
    pub member: Option<String>,
    /// The names of the hops that the hop of the chain chose to go through.
    pub through: Vec<Arc<str>>,
    /// Its path in the configuration, if it has a name of its own below `hops:`, or is below one that has.
    pub place: Option<String>,
    /// The record of the link's answers, if its hop keeps one.
    pub record: Option<Arc<dyn AnswerRecord>>,
}

impl LastHop {
    /// Notes that the link answered a plain request, whatever it said.
    pub(crate) fn answered(&self, chain: &Chain) {
        // A record notes the answers of its link itself.
        if self.is_hop_itself() {
            chain.hop_answered(self.position);
        }
    }

    /// Returns whether the link is known to have answered before.
    fn has_answered(&self, chain: &Chain) -> bool {
        match &self.record {
            Some(record) => record.has_answered(),
            None => self.is_hop_itself() && chain.has_hop_answered(self.position),
        }
    }

    /// Returns whether the hop of the chain has not chosen another one.
    fn is_hop_itself(&self) -> bool {
        self.member.is_none() && self.through.is_empty()
    }

    /// Notes that `link` passed on an answer to a plain request.
    pub(crate) fn agreed(&self, chain: &Chain) {
        if let Some(record) = &self.record {
            chain.note_agreed(self.position, self.member.as_deref(), record.agreed());
        }
    }

    /// Notes an answer to a plain request that refuses it, which may be the link's own.
    pub(crate) fn refused(&self, chain: &Chain, why: &Arc<str>) {
        if let Some(record) = &self.record {
            let in_a_row = record.refused(why);
            chain.note_refused(self.position, self.member.as_deref(), in_a_row, why, None);
        }
    }

    /// Notes an answer to a plain request that is in another protocol, as `error` says. The link may have passed it on for
    /// the target. Returns `false` if the link has answered nothing else so far, and notes nothing then.
    pub(crate) fn misunderstood(&self, chain: &Chain, error: &ChainError) -> bool {
        let Some(record) = &self.record else { return true };
        if !record.has_answered() {
            return false;
        }
        let why = with_causes(&error.cause).into();
        let in_a_row = record.refused(&why);
        chain.note_refused(self.position, self.member.as_deref(), in_a_row, &why, Some(error));
        true
    }
}

impl Chain {
    /// Prepares another plain request on a connection that ends at `last`. Returns the fields that the hop needs, or
    /// `None` if it needs a new connection.
    ///
    /// # Errors
    /// The reason why the hop takes no request.
    pub(crate) async fn authorize(
        &self,
        last: &LastHop,
        tunnel: &mut Tunnel,
        request: &Request<'_>,
        plain: PlainRequest<'_>,
    ) -> Result<Option<Arc<[Field]>>, ChainError> {
        // Most hops know their fields at once, and then no timer is set. Only an authentication of
        // several rounds has to talk to the hop, which may then be silent.
        let work = match last.link.authorize(tunnel, plain) {
            Eventual::Ready(fields) => Eventual::Ready(fields),
            Eventual::Pending(work) => {
                let timeout = self.timeouts.handshake;
                Eventual::later(async move {
                    time::timeout(timeout, work).await.unwrap_or_else(|_| Err(HopError::Closed))
                })
            }
        };
        match work.wait().await {
            Ok(fields) => Ok(Some(fields)),
            // A connection that was kept may have ended since the last request. That is not a failure of the hop, so a
            // new connection is tried, and shows whether the hop fails.
            Err(HopError::Again(_) | HopError::Closed | HopError::Io(_)) => Ok(None),
            // Another member may take the request.
            Err(HopError::HeldBack(_)) if last.record.is_some() => Ok(None),
            // A refusal is the answer of a hop that works, so it goes to the client.
            Err(HopError::Refused(refusal)) => Err(self.refused(last, request.target, *refusal)),
            Err(error) => {
                let stage = self.last_stage(last, request.target);
                Err(self.error(stage, error.into()))
            }
        }
    }

    /// Describes the refusal of a plain request to `target` by the last hop. No other connection learns from it: the
    /// target may have imitated it.
    pub(crate) fn refused(
        &self,
        last: &LastHop,
        target: &Authority,
        mut refusal: Refusal,
    ) -> ChainError {
        last.link.explain(&mut refusal);
        self.error(self.last_stage(last, target), HopError::from(refusal).into())
    }

    /// Describes a last hop that took a plain request to `target` and gave no answer, for the reason `cause`.
    pub(crate) fn unheard(&self, last: &LastHop, target: &Authority, cause: Cause) -> ChainError {
        self.error(Stage { is_sent: true, ..self.last_stage(last, target) }, cause)
    }

    /// Describes an answer to a plain request for `target` that is not in the protocol of the last hop.
    pub(crate) fn misunderstood(
        &self,
        last: &LastHop,
        target: &Authority,
        spoken: Spoken,
    ) -> ChainError {
        self.error(self.last_stage(last, target), HopError::OtherProtocol(spoken).into())
    }

    /// Logs once that a member refuses one request after the other. Nothing says that it is about the member, so it stays
    /// in its pool.
    pub(super) fn note_refused(
        &self,
        position: usize,
        member: Option<&str>,
        in_a_row: u64,
        why: &str,
        error: Option<&ChainError>,
    ) {
        if in_a_row == REFUSALS_IN_A_ROW {
            let of_error = self.advise.zip(error).map(|(advise, error)| advise(error));
            let advice = of_error.as_deref().unwrap_or(REFUSING_MEMBER);
            let hop = self.hops.get(position).map(|hop| &*hop.name);
            warn!(hop, member, in_a_row, error = why, advice, "pool member refuses");
        }
    }

    /// Logs that a member serves a request after it had refused `in_a_row`, if that was logged.
    pub(super) fn note_agreed(&self, position: usize, member: Option<&str>, in_a_row: u64) {
        if in_a_row >= REFUSALS_IN_A_ROW {
            let hop = self.hops.get(position).map(|hop| &*hop.name);
            info!(hop, member, "pool member agrees again");
        }
    }

    /// Returns the stage of a plain request to `target` that `last` was sent.
    pub(crate) fn last_stage(&self, last: &LastHop, target: &Authority) -> Stage {
        let named = self.hops.get(last.position);
        let stage = Stage::new(named, last.member.clone(), Step::Extend, target.clone());
        Stage {
            settings: last.link.settings(),
            is_secure: last.link.tls().is_some(),
            through: last.through.clone(),
            place: last.place.clone(),
            has_answered: last.has_answered(self),
            ..stage
        }
    }

    /// Notes that the hop at `position` has answered in its own protocol.
    pub(super) fn hop_answered(&self, position: usize) {
        if let Some(hop) = self.hops.get(position) {
            // Read first, since all connections share it, and it changes only once.
            if !hop.has_answered.load(Ordering::Relaxed) {
                hop.has_answered.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn has_hop_answered(&self, position: usize) -> bool {
        self.hops.get(position).is_some_and(|hop| hop.has_answered.load(Ordering::Relaxed))
    }
}

/// Advice on a member that refuses one request after the other.
pub(crate) const REFUSING_MEMBER: &str = "A member that refuses stays in use, as the targets may be why. If it refuses all of them, look at its account, and take \
                                          it out of the pool.";

/// How many refusals in a row are worth a line in the log. A target that is down for a moment is asked for less often.
const REFUSALS_IN_A_ROW: u64 = 3;
