//! Advice about a hop that did not reach the next stop.

use super::lower_first;
use crate::upstream::chain::Stage;

/// Returns advice for a hop that did not reach the next stop.
pub(in crate::client::reply) fn not_reached(stage: &Stage) -> String {
    let check = next_address(stage).unwrap_or_else(|| look_at_log(stage));
    format!("It could not reach the address that it was asked for. {check}")
}

/// Returns advice for a hop that can't look up the name of the next stop.
pub(in crate::client::reply) fn unknown_name(stage: &Stage) -> String {
    match next_address(stage) {
        Some(check) => format!("It can't look up the name. {check}"),
        None => format!(
            "Check the host name first: the hop can't look up the name `{}`. If it is right, {}",
            stage.stop.host(),
            lower_first(&look_at_log(stage))
        ),
    }
}

/// Returns advice for a hop that reached the next stop, which refused.
pub(in crate::client::reply) fn target_refused(stage: &Stage) -> String {
    let check = next_address(stage).unwrap_or_else(|| "Check that something listens there.".into());
    format!("It reached the address that it was asked for, which refused the connection. {check}")
}

/// Returns advice for a failure that only the hop itself can explain.
fn look_at_log(stage: &Stage) -> String {
    match stage.hop_name() {
        Some(hop) => format!(
            "Try again. If it fails each time, ask the administrator of `{hop}`, or look at the log there."
        ),
        None => "Try again.".to_owned(),
    }
}

/// Returns advice that names the setting with the next hop's address, if the step was to reach one.
pub(super) fn next_address(stage: &Stage) -> Option<String> {
    let Stage { next, next_place, stop, .. } = stage;
    let next = next.as_ref()?;
    if stage.url.is_some() {
        return Some(format!(
            "`{stop}` is the address of the next hop, `{next}`: check the URL of that hop, and that this one may reach it."
        ));
    }
    let place = next_place.clone().unwrap_or_else(|| format!("hops.{next}"));
    Some(format!(
        "`{stop}` is the address of the next hop, `{next}`: check `{place}`, and that this hop may reach it."
    ))
}
