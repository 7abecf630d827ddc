//! The proxy at a glance, for `top`: chains and hops with their counts, and the recent failures.

use serde::{Deserialize, Serialize};

use crate::{
    metrics::Totals,
    state::{connections::RecentFailure, shared::Shared},
};

/// The proxy at a glance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// The version of the program.
    pub version: String,
    /// The number of the process.
    pub pid: u32,
    /// How long it has run.
    pub uptime_seconds: u64,
    /// The generation in force.
    pub generation: u64,
    /// Whether the files on disk are rejected.
    pub is_rejected: bool,
    /// Whether it is draining, and will end. A proxy of an earlier version does not say it.
    #[serde(default)]
    pub is_draining: bool,
    /// Client connections that are open.
    pub open: usize,
    /// Client connections that may be open.
    pub limit: usize,
    /// The chains of the generation in force.
    pub chains: Vec<ChainOverview>,
    /// The hops of the generation in force.
    pub hops: Vec<HopOverview>,
    /// The recent failures, the newest first.
    pub failures: Vec<RecentFailure>,
}

/// A chain and its counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChainOverview {
    /// Its name.
    pub name: String,
    /// Its hops, in the order of travel. Empty if it goes direct.
    pub hops: Vec<String>,
    /// Its counts since the process began.
    pub counts: OverviewCounts,
}

/// A hop and its counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HopOverview {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Whether chains use it.
    pub is_enabled: bool,
    /// Its counts since the process began.
    pub counts: OverviewCounts,
}

/// Counts of a chain or a hop.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct OverviewCounts {
    /// Tunnels that are open.
    pub open: u64,
    /// Tunnels and requests that failed.
    pub failed: u64,
    /// Bytes from clients.
    pub bytes_sent: u64,
    /// Bytes to clients.
    pub bytes_received: u64,
}

impl Overview {
    /// Describes the proxy whose sessions share `shared`, as it is now.
    pub(crate) fn of(shared: &Shared) -> Self {
        let current = shared.live().current();
        let metrics = current.metrics();
        let (chain_counts, hop_counts) = (metrics.chains.all(), metrics.hops.all());
        // Counts outlive generations, so only those of chains and hops in force are shown.
        let chains = current.chains().iter().map(|chain| {
            let counts = chain_counts.iter().find(|(name, _)| name == chain.name());
            ChainOverview {
                name: chain.name().to_string(),
                hops: chain.hops().iter().map(|hop| hop.name.to_string()).collect(),
                counts: counts.map(|(_, counts)| counts.totals().into()).unwrap_or_default(),
            }
        });
        let hops = current.hops().iter().map(|hop| {
            let counts = hop_counts.iter().find(|(name, _)| *name == hop.name);
            HopOverview {
                name: hop.name.to_string(),
                kind: hop.kind.clone(),
                is_enabled: hop.is_enabled,
                counts: counts.map(|(_, counts)| counts.totals().into()).unwrap_or_default(),
            }
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: shared.origin().instant.elapsed().as_secs(),
            generation: current.number(),
            is_rejected: shared.rejection().is_some(),
            is_draining: shared.shutdown().is_draining(),
            open: shared.open(),
            limit: current.limits.connections,
            chains: chains.collect(),
            hops: hops.collect(),
            failures: shared.connections().recent_failures(),
        }
    }
}

impl From<Totals> for OverviewCounts {
    fn from(totals: Totals) -> Self {
        let Totals { tunnels_open: open, failed, bytes_sent, bytes_received, .. } = totals;
        Self { open, failed, bytes_sent, bytes_received }
    }
}
