//! The state of the proxy at one moment, as `/status`, `/metrics` and `mooltiroute status` report it. None of it is
//! secret.

mod metrics_format;
mod parts;
mod pools;
mod prometheus;
mod sources;

use std::{collections::BTreeMap, net::SocketAddr, process, sync::atomic::Ordering::Relaxed};

use mooltiroute_hops::SourceKind;
use serde::Serialize;

pub(crate) use self::{
    metrics_format::MetricsFormat,
    parts::{
        AuthRefusalStatus, BudgetStatus, ConditionStatus, ConnectionStatus, DirectSince, HopTotals,
        InUse, Rejected, ReloadStatus, RemovedNames,
    },
};
use self::{pools::ListedPool, sources::SourceStatus};
use crate::{
    metrics::{Failure, Totals, WarmTotals},
    state::shared::Shared,
    timestamp::rfc_3339,
    usage::Sum,
};

/// The state of the proxy at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct StatusDocument {
    /// The version of the program.
    pub version: &'static str,
    /// The number of its process.
    pub pid: u32,
    /// When it began.
    pub started: String,
    /// How long ago that was.
    pub uptime_seconds: u64,
    /// The source of its configuration.
    pub config: String,
    /// The number of the generation in force.
    pub generation: u64,
    /// When that took effect.
    pub generation_since: String,
    /// The last rejected configuration, until a valid one replaces it.
    pub rejected: Option<Rejected>,
    /// The files that a reload waits for at the moment, with the reasons.
    pub waiting_for: Vec<String>,
    /// The targets that reloads have taken from their hops, until they go through hops again.
    pub went_direct: Option<DirectSince>,
    /// Reloads by outcome.
    pub reloads: ReloadStatus,
    /// The addresses that it listens on.
    pub listeners: Vec<SocketAddr>,
    /// The listeners that require TLS.
    pub tls_listeners: Vec<SocketAddr>,
    /// Whether clients may name a session or a country to a hop of a chain that a route leads to.
    pub takes_preferences: bool,
    /// The reason why there is no control socket.
    pub control_socket_error: Option<String>,
    /// Clients' connections.
    pub connections: ConnectionStatus,
    /// Requests that `server.auth` refused since the start.
    pub auth_refusals: AuthRefusalStatus,
    /// Whether the proxy is draining, and will end.
    pub draining: bool,
    /// The generations in use, the one in force last.
    pub generations: Vec<InUse>,
    /// By chain.
    pub chains: BTreeMap<String, Totals>,
    /// By hop.
    pub hops: BTreeMap<String, HopTotals>,
    /// The chains and hops above that are no longer configured.
    pub removed: RemovedNames,
    /// The hops that are off in the generation in force, so that chains leave them out.
    pub hops_off: Vec<String>,
    /// The options of the command line that switch hops, by the hops, whatever the configuration says.
    pub hops_switched: BTreeMap<String, &'static str>,
    /// The conditions of the network, by the hops that they switch.
    pub conditions: BTreeMap<String, ConditionStatus>,
    /// The hops that choose among several members.
    pub pools: BTreeMap<String, ListedPool>,
    /// The PAC files, by the hops that choose by them.
    pub pac_files: BTreeMap<String, SourceStatus>,
    /// The lists of proxies, by the hops whose members they name.
    pub lists: BTreeMap<String, SourceStatus>,
    /// Spare tunnels, by the chains that keep them.
    pub warm: BTreeMap<String, WarmTotals>,
    /// Bytes on the wire by hop, as a provider bills them, in this process and those before it.
    pub wire: BTreeMap<String, Sum>,
    /// The use of budgets, by hop.
    pub budgets: BTreeMap<String, BudgetStatus>,
    /// Failures of targets themselves, and not of hops.
    pub target_failures: Vec<Failure>,
}

/// Returns those of `listening` that are in `with_tls`.
fn with_tls(listening: &[SocketAddr], with_tls: &[SocketAddr]) -> Vec<SocketAddr> {
    listening.iter().copied().filter(|address| with_tls.contains(address)).collect()
}

impl StatusDocument {
    /// Collects the present state of the proxy whose sessions share `shared`.
    pub(crate) fn of(shared: &Shared) -> Self {
        // The generation is taken once, so that all parts of the document describe the same one,
        // even if a reload ends meanwhile. Counts outlive generations, so chains and hops that an
        // edit has removed may still be listed.
        let current = shared.live().current();
        let metrics = current.metrics();
        let origin = shared.origin();
        let chains = metrics.chains.all();
        let hops = metrics.hops.all();
        metrics.usage.fold();
        let accounts = metrics.usage.hops.all();
        let removed = RemovedNames::of(&current, &chains, &hops);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: process::id(),
            started: rfc_3339(origin.at),
            uptime_seconds: origin.instant.elapsed().as_secs(),
            config: origin.source.to_string(),
            generation: current.number(),
            generation_since: rfc_3339(current.since),
            rejected: shared.rejection().as_deref().map(Rejected::from),
            waiting_for: shared.held().map_or_else(Vec::new, |held| held.to_vec()),
            went_direct: shared.went_direct().as_deref().map(DirectSince::from),
            reloads: ReloadStatus {
                applied: metrics.reloads.applied.load(Relaxed),
                unchanged: metrics.reloads.unchanged.load(Relaxed),
                rejected: metrics.reloads.rejected.load(Relaxed),
            },
            tls_listeners: with_tls(&current.listening, &shared.tls_listeners()),
            listeners: current.listening.clone(),
            takes_preferences: current.chains_led_to().any(|chain| chain.takes_preferences()),
            control_socket_error: shared.control_socket_error().as_deref().cloned(),
            connections: ConnectionStatus {
                open: shared.open(),
                limit: current.limits.connections,
            },
            auth_refusals: shared.denials().auth_refusals().into(),
            draining: shared.shutdown().is_draining(),
            generations: shared.live().alive().iter().map(|one| InUse::from(&**one)).collect(),
            chains: chains
                .into_iter()
                .map(|(name, counts)| (name.to_string(), counts.totals()))
                .collect(),
            hops: hops
                .into_iter()
                .map(|(name, counts)| {
                    let built = current.built_hops().find(|(built, _)| **built == name);
                    let held = built.and_then(|(_, hop)| hop.held_back());
                    let held_back_seconds = held.map(|wait| wait.as_secs());
                    let totals = HopTotals { held_back_seconds, ..HopTotals::from(&*counts) };
                    (name.to_string(), totals)
                })
                .collect(),
            removed,
            hops_off: current
                .hops()
                .iter()
                .filter(|hop| !hop.is_enabled)
                .map(|hop| hop.name.to_string())
                .collect(),
            hops_switched: current
                .hops()
                .iter()
                .filter_map(|hop| Some((hop.name.to_string(), current.option_of(&hop.name)?)))
                .collect(),
            // Only hops that depend on a condition are listed. `enabled` is the outcome in force,
            // and the condition shows the present value: a reload may be under way between the two.
            conditions: current
                .hops()
                .iter()
                .filter_map(|hop| {
                    let shown = current.network().shown(hop.condition.as_ref()?);
                    let enabled = hop.is_enabled;
                    Some((hop.name.to_string(), ConditionStatus { enabled, shown }))
                })
                .collect(),
            pools: ListedPool::all(&current),
            pac_files: SourceStatus::all(&current, SourceKind::PacFile),
            lists: SourceStatus::all(&current, SourceKind::List),
            warm: metrics
                .warm
                .all()
                .into_iter()
                .map(|(name, counts)| (name.to_string(), counts.totals()))
                .collect(),
            wire: accounts
                .iter()
                .map(|(name, account)| (name.to_string(), account.sum()))
                .collect(),
            budgets: accounts
                .iter()
                .filter_map(|(name, account)| Some((name.to_string(), BudgetStatus::of(account)?)))
                .collect(),
            target_failures: metrics.target.failures(),
        }
    }

    /// Returns the status as JSON, with a line end.
    pub(crate) fn to_json(&self) -> String {
        // It has only names, numbers and texts, which can all be written.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// Writes it as metrics in `format`.
    pub(crate) fn into_metrics(self, format: MetricsFormat) -> String {
        match format {
            MetricsFormat::Prometheus => prometheus::prometheus(self),
            MetricsFormat::OpenMetrics => prometheus::open_metrics(self),
        }
    }
}
