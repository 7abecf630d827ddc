//! The way of a request when budgets on it are used up.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracing::debug;

use super::{Generation, Way};
use crate::{
    config::{Budget, Consequence, Per},
    router::Query,
    upstream::chain::Chain,
    usage::{BudgetUse, UsageAccount, announce},
};

/// A budget that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverBudget {
    /// The hop.
    pub hop: Arc<str>,
    /// The bytes that it may carry in a period.
    pub bytes: u64,
    /// The length of a period.
    pub per: Per,
    /// How long this one lasts.
    pub left: Duration,
}

/// A hop whose budget is used up.
struct UsedUp<'a> {
    hop: &'a Arc<str>,
    account: &'a UsageAccount,
    budget: Budget,
    used: BudgetUse,
}

impl Generation {
    /// Returns the way that a request may take instead of `way` now: `way` itself, or the chain that a budget on it names
    /// for the time after it is used up, which may have a budget too. Counts the request for each budget that sends it on,
    /// and logs first that it is used up.
    ///
    /// # Errors
    /// [`OverBudget`] if a budget is used up and names no other chain.
    pub(crate) fn within_budgets<'g>(&'g self, way: Way<'g>) -> Result<Way<'g>, OverBudget> {
        self.follow(way, |over, is_rerouted| {
            announce(over.hop, over.account);
            debug!(hop = %over.hop, "the budget is used up");
            match is_rerouted {
                true => over.account.rerouted(),
                false => over.account.refused(),
            }
        })
    }

    /// Returns the way of `query` as [`way`](Self::way) does, and after the budgets that are used up now.
    pub(crate) fn present_way(&self, query: &Query<'_>) -> Option<Way<'_>> {
        self.follow(self.way(query)?, |_, _| {}).ok()
    }

    fn follow<'g>(
        &'g self,
        mut way: Way<'g>,
        each: impl Fn(&UsedUp<'_>, bool),
    ) -> Result<Way<'g>, OverBudget> {
        // Budgets may lead to each other in a circle, which ends if all of them are used up.
        for detour in 0..=BUDGET_DETOURS_MAX {
            let Some(over) = UsedUp::first(way.chain) else { break };
            let instead = match &over.budget.then {
                Consequence::Chain(name) if detour < BUDGET_DETOURS_MAX => self.chain_index(name),
                Consequence::Chain(_) | Consequence::Refuse => None,
            };
            let instead = instead.and_then(|index| self.way_through(way.route, index));
            each(&over, instead.is_some());
            way = instead.ok_or_else(|| over.into_error())?;
        }
        Ok(way)
    }
}

impl<'a> UsedUp<'a> {
    /// Returns the first hop of `chain` whose budget is used up. Without such a hop it costs one read for each.
    fn first(chain: &'a Chain) -> Option<Self> {
        let (_, hops) = chain.accounts().all().split_first()?;
        chain.hops().iter().zip(hops).find_map(|(hop, account)| {
            let (budget, used) = account.exhausted()?;
            Some(Self { hop: &hop.name, account, budget, used })
        })
    }

    fn into_error(self) -> OverBudget {
        let Budget { bytes, per, .. } = self.budget;
        let left = self.used.period.left(SystemTime::now());
        OverBudget { hop: Arc::clone(self.hop), bytes, per, left }
    }
}

/// How many budgets in a row may send a request to another chain.
const BUDGET_DETOURS_MAX: usize = 8;
