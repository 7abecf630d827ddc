//! Texts about requests that this proxy itself refuses.

use mooltiroute_hops::Authority;

use crate::{duration, state::generation::OverBudget};

pub(in crate::client::reply) const LOOP: &str = "The request would come back to this proxy again and again. Take the proxy's own \
     address out of the hops, or ask for another target.";

pub(in crate::client::reply) const LOOP_THROUGH_HOPS: &str = "Two proxies are probably each other's hop. Check the addresses of their \
     hops.";

pub(in crate::client::reply) fn over_budget(budget: &OverBudget) -> String {
    let OverBudget { hop, bytes, per, left } = budget;
    let left = duration::in_words(*left);
    let bytes = in_units(*bytes);
    format!(
        "Hop `{hop}` has carried the {bytes} that its budget allows for one {per}. The next {per} begins in {left}. \
         To go on now, raise `hops.{hop}.budget.bytes`, or name another chain in `then`; `mooltiroute usage` shows what \
         the bytes were used for."
    )
}

pub(in crate::client::reply) fn over_limit(limit: usize) -> String {
    format!(
        "This proxy has reached its limit of connections (`limits.connections: {limit}`). Close some connections, or \
         raise the limit in the proxy's configuration."
    )
}

pub(in crate::client::reply) fn looped(target: &Authority) -> String {
    format!(
        "The request for `{target}` loops: its `Via` field says that it has been here before. {LOOP_THROUGH_HOPS}"
    )
}

pub(in crate::client::reply) fn seems_to_loop(count: usize, target: &Authority) -> String {
    format!(
        "The request for `{target}` seems to loop: {count} equal requests came one after the other, and none has been \
         answered. {LOOP_THROUGH_HOPS}"
    )
}

pub(in crate::client::reply) fn unanswered(count: usize, target: &Authority) -> String {
    format!(
        "{count} equal requests for `{target}` are waiting for the hops, and none has been answered. Check that the hops \
         answer and that none of them leads back to this proxy, or raise `limits.connections`: equal requests may \
         take a tenth of it."
    )
}

pub(in crate::client::reply) fn unsettled(target: &Authority) -> String {
    format!(
        "The network has changed, and a hop on the way to `{target}` has to be switched on or off for it. That did not \
         work, and Mooltiroute never sends a request round a hop. `mooltiroute status` says why."
    )
}

pub(in crate::client::reply) fn no_route(target: &Authority) -> String {
    format!(
        "No route of the configuration matches `{target}`, and Mooltiroute never falls back to a direct connection. \
         Add a route, such as `- {{ chain: default }}` as the last one."
    )
}

/// Returns a size as an operator writes it: in the largest unit that divides it.
fn in_units(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &&(u32, &str)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(fits) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}
