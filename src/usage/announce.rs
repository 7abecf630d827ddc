//! Logs that a budget is nearly or completely used up.

use std::time::SystemTime;

use tracing::warn;

use super::{BudgetUse, UsageAccount, budget::BudgetEvent};
use crate::{
    budget::{Budget, Consequence},
    duration::{in_words, whole_seconds},
};

/// Logs the events of the budget of `hop` that were not logged yet.
///
/// The thread that keeps usage calls this every second. A request that the budget refuses calls it too, so that the log explains
/// the refusal before it reports it.
pub(crate) fn announce(hop: &str, account: &UsageAccount) {
    account.log_news(|event, budget, used| log(hop, event, budget, used));
}

fn log(hop: &str, event: BudgetEvent, budget: &Budget, used: BudgetUse) {
    let (bytes, limit) = (used.used, budget.bytes);
    let left = in_words(whole_seconds(used.period.left(SystemTime::now())));
    match event {
        BudgetEvent::Warning => {
            let percent = bytes.saturating_mul(100) / limit.max(1);
            warn!(%hop, bytes, limit, percent, per = %budget.per, left, "budget nearly used up");
        }
        BudgetEvent::Limit => {
            let then = match &budget.then {
                Consequence::Refuse => "new requests are refused".to_owned(),
                Consequence::Chain(chain) => format!("new requests take chain `{chain}`"),
            };
            warn!(%hop, bytes, limit, per = %budget.per, left, then, "budget used up");
        }
    }
}
