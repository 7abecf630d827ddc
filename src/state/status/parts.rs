//! The parts of the status.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use serde::Serialize;

use crate::{
    config::{Consequence, Per},
    metrics::{Buckets, Failure, HopCounts, LastFailure, Totals},
    network::ShownCondition,
    state::{
        denials::AuthRefusals,
        generation::Generation,
        shared::{DirectTarget, Rejection, WentDirect},
    },
    timestamp::rfc_3339,
    usage::UsageAccount,
};

/// A configuration that was not taken.
#[derive(Debug, Serialize)]
pub(crate) struct Rejected {
    /// When.
    pub at: String,
    /// The problems, one per line.
    pub problems: Vec<String>,
    /// Explanations of what the proxy can't see, such as a new value of a variable. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The targets that reloads have taken from their hops, and that go direct now.
#[derive(Debug, Serialize)]
pub(crate) struct DirectSince {
    /// Since when.
    pub at: String,
    /// The patterns of the targets, each with the chain that it took before.
    pub targets: Vec<String>,
}

impl From<&WentDirect> for DirectSince {
    fn from(direct: &WentDirect) -> Self {
        Self { at: rfc_3339(direct.at), targets: DirectTarget::in_words(&direct.targets) }
    }
}

/// Reloads by outcome.
#[derive(Debug, Serialize)]
pub(crate) struct ReloadStatus {
    /// A new generation took effect.
    pub applied: u64,
    /// The files had changed, but not their meaning.
    pub unchanged: u64,
    /// Something was wrong, and the old generation stayed in force.
    pub rejected: u64,
}

/// The chains and hops that are no longer configured, but have counts.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedNames {
    /// The names of the chains.
    pub chains: Vec<String>,
    /// The names of the hops.
    pub hops: Vec<String>,
}

impl RemovedNames {
    /// Returns those of `chains` and `hops` that `current` does not have.
    pub(crate) fn of<C, H>(
        current: &Generation,
        chains: &[(Arc<str>, C)],
        hops: &[(Arc<str>, H)],
    ) -> Self {
        let has_chains: HashSet<&str> =
            current.chains().iter().map(|chain| &**chain.name()).collect();
        let has_hops: HashSet<&str> = current.hops().iter().map(|hop| &*hop.name).collect();
        Self { chains: names_outside(&has_chains, chains), hops: names_outside(&has_hops, hops) }
    }
}

fn names_outside<T>(configured: &HashSet<&str>, counted: &[(Arc<str>, T)]) -> Vec<String> {
    let names = counted.iter().map(|(name, _)| name);
    names.filter(|name| !configured.contains(&***name)).map(|name| name.to_string()).collect()
}

/// Clients' connections.
#[derive(Debug, Serialize)]
pub(crate) struct ConnectionStatus {
    /// How many are open.
    pub open: usize,
    /// How many may be.
    pub limit: usize,
}

/// Requests that `server.auth` refused.
#[derive(Debug, Serialize)]
pub(crate) struct AuthRefusalStatus {
    /// Those whose clients sent no credentials when they were asked for them.
    pub without_credentials: u64,
    /// Those with other credentials, or by another scheme.
    pub with_wrong_credentials: u64,
}

impl From<AuthRefusals> for AuthRefusalStatus {
    fn from(counts: AuthRefusals) -> Self {
        let AuthRefusals { without_credentials, with_wrong_credentials } = counts;
        Self { without_credentials, with_wrong_credentials }
    }
}

/// A generation that is in force, or has users left.
#[derive(Debug, Serialize)]
pub(crate) struct InUse {
    /// Its number.
    pub number: u64,
    /// When it took effect.
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
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that took another chain, and were not refused.
    pub rerouted: u64,
    /// The chain that requests take once it is used up, if they are not refused.
    pub then: Option<String>,
}

impl BudgetStatus {
    pub(super) fn of(account: &UsageAccount) -> Option<Self> {
        let (budget, used) = account.budget_use()?;
        Some(Self {
            bytes: budget.bytes,
            per: budget.per,
            used: used.used,
            seconds_left: used.period.left(SystemTime::now()).as_secs(),
            is_warned: used.is_warned,
            is_reached: used.is_reached,
            refused: used.refused,
            rerouted: used.rerouted,
            then: match &budget.then {
                Consequence::Refuse => None,
                Consequence::Chain(chain) => Some(chain.to_string()),
            },
        })
    }
}

impl From<&Rejection> for Rejected {
    fn from(rejection: &Rejection) -> Self {
        let (problems, notes) = (rejection.problems.clone(), rejection.notes.clone());
        Self { at: rfc_3339(rejection.at), problems, notes }
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
