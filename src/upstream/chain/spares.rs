//! Makes the spare tunnels of a chain.

use std::sync::Weak;

use mooltiroute_hops::{Authority, Preferences, Request, Tunnel};
use tracing::debug;

use super::{Arrived, Chain, ChainError, Destination, LastAnswer};
use crate::{
    error::with_causes,
    upstream::warm::{NotMade, Path, SpareMaker},
};

/// Makes spares for a chain, as long as the chain lives.
#[derive(Debug)]
pub(crate) struct ChainSpares(pub(crate) Weak<Chain>);

impl SpareMaker for ChainSpares {
    fn is_over(&self) -> bool {
        // Weak, so that a chain that is no longer in force ends although its keeper waits.
        self.0.strong_count() == 0
    }

    async fn make(&self, target: &Authority) -> Result<(Path, Tunnel), NotMade> {
        let chain = self.0.upgrade().ok_or(NotMade::Failed)?;
        chain.spare(target).await.map_err(|error| {
            debug!(chain = %chain.name(), error = with_causes(&error), "no spare tunnel");
            if error.is_of_loop() { NotMade::Looped } else { NotMade::Failed }
        })
    }
}

impl Chain {
    /// Opens a tunnel that reaches the last hop and has sent it nothing, as if for `target`.
    async fn spare(&self, target: &Authority) -> Result<(Path, Tunnel), ChainError> {
        // Spares are made only if no hop before the last one treats clients differently
        // (`can_be_warm`), so the preferences of no client are needed.
        let preferences = Preferences::default();
        let request = Request::new(target, &preferences);
        let Arrived { tunnel, journey, .. } = self.go(&request, Destination::LastHop, &()).await?;
        let path = journey.path();
        // The hops did their part, and hear so as they do for the connection of a client.
        journey.arrive_at_hop();
        // It was dialled and entered, and nothing was asked of it.
        journey.last_answered(LastAnswer { status: 0, is_carried: true });
        Ok((path, tunnel))
    }
}
