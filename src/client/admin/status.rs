//! The state of the proxy at one moment, as `/status`, `/metrics` and `mooltiroute status` report it. None of it is
//! secret.

mod pools;
mod prometheus;
mod sources;

use std::{
    collections::BTreeMap, net::SocketAddr, process, sync::atomic::Ordering::Relaxed,
    time::SystemTime,
};

use mooltiroute_hops::SourceKind;
use serde::Serialize;

use self::{pools::Pool, sources::SourceStatus};
use crate::{
    client::admin::metrics_format::MetricsFormat,
    config::Per,
    metrics::{Buckets, Failure, HopCounts, LastFailure, Totals, WarmTotals},
    network::ShownCondition,
    state::{
        generation::Generation,
        shared::{Rejection, Shared},
    },
    timestamp::rfc_3339,
    usage::{Sum, UsageAccount},
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
    /// When that came in force.
    pub generation_since: String,
    /// The configuration that was rejected since then, until a valid one comes.
    pub rejected: Option<Rejected>,
    /// Reloads by outcome.
    pub reloads: ReloadStatus,
    /// The addresses that it listens on.
    pub listeners: Vec<SocketAddr>,
    /// Clients' connections.
    pub connections: ConnectionStatus,
    /// Whether it is about to end.
    pub draining: bool,
    /// The generations in use, the one in force last.
    pub generations: Vec<InUse>,
    /// By chain.
    pub chains: BTreeMap<String, Totals>,
    /// By hop.
    pub hops: BTreeMap<String, HopTotals>,
    /// The hops that are off in the generation in force, so that chains leave them out.
    pub hops_off: Vec<String>,
    /// The options of the command line that switch hops, by the hops, whatever the configuration says.
    pub hops_switched: BTreeMap<String, &'static str>,
    /// The conditions of the network, by the hops that they switch.
    pub conditions: BTreeMap<String, ConditionStatus>,
    /// The hops that choose among several members.
    pub pools: BTreeMap<String, Pool>,
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

/// A configuration that was not taken.
#[derive(Debug, Serialize)]
pub(crate) struct Rejected {
    /// When.
    pub at: String,
    /// The problems, one per line.
    pub problems: Vec<String>,
}

/// Reloads by outcome.
#[derive(Debug, Serialize)]
pub(crate) struct ReloadStatus {
    /// A new generation came in force.
    pub applied: u64,
    /// Nothing had changed that has a meaning.
    pub unchanged: u64,
    /// Something was wrong, and the old generation stayed in force.
    pub rejected: u64,
}

/// Clients' connections.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionStatus {
    /// How many are open.
    pub open: usize,
    /// How many may be.
    pub limit: usize,
}

/// A generation that is in force, or has users left.
#[derive(Debug, Serialize)]
pub(crate) struct InUse {
    /// Its number.
    pub number: u64,
    /// When it came in force.
    pub since: String,
    /// Tunnels that began under it and are open.
    pub tunnels: usize,
    /// Requests that began under it and are under way.
    pub requests: usize,
}

/// A condition of the network, and the hop that it switches.
#[derive(Debug, Serialize)]
pub(crate) struct ConditionStatus {
    /// Whether the hop is on in the generation in force.
    pub enabled: bool,
    /// The condition with its present value.
    #[serde(flatten)]
    pub shown: ShownCondition,
}

/// The traffic of a hop, and its failures.
#[derive(Debug, Serialize)]
pub(crate) struct HopTotals {
    /// Its counts.
    #[serde(flatten)]
    pub totals: Totals,
    /// The failures by kind.
    pub failures: Vec<Failure>,
    /// The last failure.
    pub last_failure: Option<LastFailure>,
    /// How long its credentials are still held back, because it has rejected them.
    pub held_back_seconds: Option<u64>,
    /// The mean time of its answers to CONNECT; `None` before the first one.
    pub handshake_seconds_mean: Option<f64>,
    /// The distribution of those times.
    #[serde(skip)]
    pub handshakes: Buckets,
}

/// The use of the budget of a hop.
#[derive(Debug, Serialize)]
pub(crate) struct BudgetStatus {
    /// The limit in bytes.
    pub bytes: u64,
    /// The length of a period.
    pub per: Per,
    /// The bytes of the current period.
    pub used: u64,
    /// The seconds until the next period.
    pub seconds_left: u64,
    /// Whether the warning is due.
    pub is_warned: bool,
    /// Whether it is used up.
    pub is_reached: bool,
    /// Requests that were refused, or sent through another chain.
    pub refused: u64,
}

impl BudgetStatus {
    fn of(account: &UsageAccount) -> Option<Self> {
        let (budget, used) = account.budget_use()?;
        Some(Self {
            bytes: budget.bytes,
            per: budget.per,
            used: used.used,
            seconds_left: used.period.left(SystemTime::now()).as_secs(),
            is_warned: used.is_warned,
            is_reached: used.is_reached,
            refused: used.refused,
        })
    }
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
        Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: process::id(),
            started: rfc_3339(origin.at),
            uptime_seconds: origin.instant.elapsed().as_secs(),
            config: origin.source.to_string(),
            generation: current.number(),
            generation_since: rfc_3339(current.since),
            rejected: shared.rejection().as_deref().map(Rejected::from),
            reloads: ReloadStatus {
                applied: metrics.reloads.applied.load(Relaxed),
                unchanged: metrics.reloads.unchanged.load(Relaxed),
                rejected: metrics.reloads.rejected.load(Relaxed),
            },
            listeners: current.listening.clone(),
            connections: ConnectionStatus {
                open: shared.open(),
                limit: current.limits.connections,
            },
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
            pools: Pool::all(&current),
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

impl From<&Rejection> for Rejected {
    fn from(rejection: &Rejection) -> Self {
        Self { at: rfc_3339(rejection.at), problems: rejection.problems.clone() }
    }
}

impl From<&Generation> for InUse {
    fn from(generation: &Generation) -> Self {
        Self {
            number: generation.number(),
            since: rfc_3339(generation.since),
            tunnels: generation.users.tunnels.load(Relaxed),
            requests: generation.users.requests.load(Relaxed),
        }
    }
}

impl From<&HopCounts> for HopTotals {
    fn from(counts: &HopCounts) -> Self {
        let handshakes = counts.handshakes.buckets();
        let mean = (handshakes.count > 0).then(|| handshakes.seconds / handshakes.count as f64);
        Self {
            totals: counts.totals(),
            failures: counts.failures(),
            last_failure: counts.last_failure(),
            held_back_seconds: None,
            handshake_seconds_mean: mean,
            handshakes,
        }
    }
}
