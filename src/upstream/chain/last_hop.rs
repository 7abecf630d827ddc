//! The last hop of a connection that carries plain requests, after the first of them.

use std::sync::Arc;

use mooltiroute_hops::{
    Authority, Eventual, Field, HopError, Link, PlainRequest, Refusal, Request, Spoken, Tunnel,
};
use tokio::time;

use super::{Chain, ChainError, Stage, Step};

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
        request: Request<'_>,
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
            // A connection that was kept may have ended since the last request. That is no failure
            // of the hop, so a new connection is tried, and shows whether the hop fails.
            Err(HopError::Again(_) | HopError::Closed | HopError::Io(_)) => Ok(None),
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

    /// Describes an answer to a plain request for `target` that is not in the protocol of the last hop.
    pub(crate) fn misunderstood(
        &self,
        last: &LastHop,
        target: &Authority,
        spoken: Spoken,
    ) -> ChainError {
        self.error(self.last_stage(last, target), HopError::OtherProtocol(spoken).into())
    }

    fn last_stage(&self, last: &LastHop, target: &Authority) -> Stage {
        let named = self.hops.get(last.position);
        let stage = Stage::new(named, last.member.clone(), Step::Extend, target.clone());
        Stage { settings: last.link.settings(), through: last.through.clone(), ..stage }
    }
}
