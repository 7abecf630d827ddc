//! The services of the proxy for a hop that has to ask before it can choose.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mooltiroute_hops::{Authority, Eventual, OpenError, Preferences, Request, Services, Tunnel};
use tracing::{debug, info, warn};

use crate::{
    error::with_causes,
    network::{Dependence, Network, NetworkCondition},
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
    /// The outcomes of these conditions that the generation of the chain was built with.
    pub outcomes: Vec<(Arc<NetworkCondition>, bool)>,
    /// How long an undecided condition is waited for.
    pub patience: Duration,
    /// The facts about the network.
    pub network: Arc<Network>,
}

impl Services for HopServices {
    fn open(&self, target: Authority) -> Eventual<'static, Result<Tunnel, OpenError>> {
        let (chain, dependence, patience) =
            (self.chain.upgrade(), self.dependence.clone(), self.patience);
        let (network, outcomes) = (Arc::clone(&self.network), self.outcomes.clone());
        Eventual::later(async move {
            let gone = || OpenError("the chain is no longer in force".into());
            let chain = chain.ok_or_else(gone)?;
            if let Some(dependence) = dependence
                && dependence.settle(patience).await.is_err()
            {
                return Err(OpenError("a condition of the network is not decided".into()));
            }
            // The wait may have ended with a reload that switched a hop on. This chain lacks that hop, and may be alive
            // only because of requests under way. The PAC hop tries again with the services of the new generation.
            if network.has_other_outcomes(&outcomes) {
                return Err(gone());
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        network::Requirement,
        upstream::{chain::StepTimeouts, dial::Dialer},
    };

    #[tokio::test]
    async fn nothing_is_fetched_around_a_hop_that_a_reload_switched_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Authority::from(listener.local_addr().unwrap());
        let patience = Duration::from_secs(5);
        let steps = StepTimeouts { connect: patience, handshake: patience };
        // The hop was off when this chain was built. A request under way keeps it alive.
        let chain = Arc::new(Chain::new("via".into(), vec![], steps, Dialer::default()));
        let condition =
            Arc::new(NetworkCondition { when: Requirement::All(vec![]), unknown: false });
        let network = Arc::new(Network::default());
        network.put_in_force([(Arc::clone(&condition), true)], true);
        let services = |is_on: bool| HopServices {
            hop: "office".into(),
            chain: Arc::downgrade(&chain),
            dependence: Dependence::new(&network, std::slice::from_ref(&condition)),
            outcomes: vec![(Arc::clone(&condition), is_on)],
            patience,
            network: Arc::clone(&network),
        };
        let error = services(false).open(target.clone()).wait().await.unwrap_err();
        assert_eq!(error.to_string(), "the chain is no longer in force");
        assert!(services(true).open(target).wait().await.is_ok());
    }
}
