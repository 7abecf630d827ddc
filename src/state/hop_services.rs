//! The services of the proxy for a hop that has to ask before it can choose.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mooltiroute_hops::{Authority, Eventual, OpenError, Preferences, Request, Services, Tunnel};
use tracing::{debug, info, warn};

use crate::{
    error::with_causes,
    network::{Dependence, Network},
    upstream::chain::Chain,
};

/// The services for one hop of a generation.
#[derive(Debug)]
pub(crate) struct HopServices {
    /// The hop's name.
    pub hop: Arc<str>,
    /// The chain through which it asks. Weak, since the hop may outlive it.
    pub chain: Weak<Chain>,
    /// The conditions of the network that the chain depends on.
    pub dependence: Option<Dependence>,
    /// How long an undecided condition is waited for.
    pub patience: Duration,
    /// The facts about the network.
    pub network: Arc<Network>,
}

impl Services for HopServices {
    fn open(&self, target: Authority) -> Eventual<'static, Result<Tunnel, OpenError>> {
        let (chain, dependence, patience) =
            (self.chain.upgrade(), self.dependence.clone(), self.patience);
        Eventual::later(async move {
            let gone = || OpenError("the chain is no longer in force".into());
            let chain = chain.ok_or_else(gone)?;
            if let Some(dependence) = dependence
                && dependence.settle(patience).await.is_err()
            {
                return Err(OpenError("a condition of the network is not decided".into()));
            }
            let preferences = Preferences::default();
            let connected = chain.connect_through(Request::new(&target, &preferences)).await;
            connected
                .map(|connected| connected.tunnel)
                .map_err(|error| OpenError(with_causes(&error)))
        })
    }

    fn network_epoch(&self) -> u64 {
        self.network.changes_so_far()
    }

    fn read(&self, source: &str, problem: Option<&str>) {
        let hop = &*self.hop;
        match problem {
            None => info!(hop, source, "PAC file loaded"),
            Some(problem) => warn!(hop, source, problem, "PAC file not loaded"),
        }
    }

    fn said(&self, text: &str) {
        debug!(hop = &*self.hop, text, "the PAC file says");
    }
}
