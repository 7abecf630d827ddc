//! Says what a switch has brought into force, or what keeps it from having an effect.

use serde_json::Value;

use super::{
    error::{HopError, RejectedEdit},
    target::SwitchTarget,
    undo,
};
use crate::{
    cli::HopState,
    commands::running::order::{NoVerdict, reload},
    config::edit::EditedFile,
    control::{
        client::Control,
        verdict::{self, ReloadOutcome},
    },
};

/// Waits until the running proxy has taken the edit. If it rejects it, the old text comes back.
pub(super) fn in_force(
    control: &Control,
    (target, edit): (&SwitchTarget, &EditedFile),
    state: HopState,
    place: &str,
) -> Result<String, HopError> {
    let name = &target.name;
    let verdict = match reload(control) {
        Ok(verdict) => verdict,
        Err(NoVerdict { is_pending: true, why }) => {
            let path = target.path.display();
            return Ok(format!("{name} is {state} in {path}, but that is not in force yet: {why}"));
        }
        // A proxy that ends now will read the edited file at its next start.
        Err(_) => {
            return Ok(format!(
                "{name} is {state} in {}; the proxy has ended",
                target.path.display()
            ));
        }
    };
    let generation = verdict.generation;
    let mut said = match verdict.verdict {
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => {
            let switched = switched(name, state);
            format!("{switched}; generation {generation} is in force{place}")
        }
        ReloadOutcome::Unsettled => format!(
            "{name} is {state} in {}; generation {generation} stays in force{place} until the files stop changing",
            target.path.display()
        ),
        ReloadOutcome::Rejected => {
            // Its verdict on the old text is the one it had before.
            let verdict::ReloadVerdict { problems, notes, .. } = verdict;
            let rejected = RejectedEdit { problems, notes };
            return Err(undo(target, edit, rejected, || drop(reload(control))));
        }
    };
    for warning in &verdict.warnings {
        said += &format!("\nwarning: {warning}");
    }
    let own = format!("hops.{name}.enabled");
    // The verdict is then `Unchanged`, which alone would look like success.
    if let Some(setting) = verdict.overridden.iter().find(|setting| setting.path == own)
        && let Some(words) = overridden_by(&setting.option, name, state, RUNNING)
    {
        said = format!("{words}\n{said}");
    }
    Ok(said)
}

/// Returns what keeps the proxy with this `status` from the state that the file has already. `place` names the proxy.
pub(super) fn obstacle(status: &Value, name: &str, state: HopState, place: &str) -> Option<String> {
    if let Some(option) = status["hops_switched"][name].as_str() {
        return overridden_by(option, name, state, place);
    }
    (!status["rejected"].is_null()).then(|| {
        format!(
            "no effect yet: {place} has rejected the files on disk, and earlier ones stay in force; `mooltiroute reload` says why"
        )
    })
}

/// Returns the words about an option of the command line that decides in place of the file. Returns `None` if both mean
/// the same.
fn overridden_by(option: &str, name: &str, state: HopState, place: &str) -> Option<String> {
    let enables = option == "--enable";
    match state {
        HopState::On if enables => return None,
        HopState::Off if !enables => return None,
        _ => {}
    }
    let stays = if enables { "on" } else { "off" };
    let option = match option {
        // This one names no hop.
        "--no-corporate" => option.to_owned(),
        option => format!("{option} {name}"),
    };
    Some(format!(
        "no effect yet: {place} was started with `{option}`, which overrides the file, so `{name}` stays {stays}; \
         start it again without this option"
    ))
}

/// Describes the new state of the hop.
pub(super) fn switched(name: &str, state: HopState) -> String {
    match state {
        HopState::On | HopState::Off => format!("{name} is {state}"),
        HopState::Auto => {
            format!("{name} has the `enabled` back that it had before `on` or `off`")
        }
    }
}

pub(super) const RUNNING: &str = "the running proxy";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_option_that_holds_a_hop_is_named_with_what_to_do() {
        let words = |option: &str, state| {
            let status = json!({ "hops_switched": { "a": option }, "rejected": null });
            obstacle(&status, "a", state, RUNNING)
        };
        assert_eq!(
            words("--disable", HopState::On).unwrap(),
            "no effect yet: the running proxy was started with `--disable a`, which overrides the file, so `a` stays off; \
             start it again without this option"
        );
        let no_corporate = words("--no-corporate", HopState::On).unwrap();
        assert!(no_corporate.contains("`--no-corporate`, which"), "{no_corporate}");
        let enabled = words("--enable", HopState::Off).unwrap();
        assert!(enabled.contains("`--enable a`") && enabled.contains("stays on"), "{enabled}");
        assert!(words("--enable", HopState::Auto).is_some());
        assert!(words("--disable", HopState::Auto).is_some());
        // The file and the option mean the same.
        assert_eq!(words("--disable", HopState::Off), None);
        assert_eq!(words("--enable", HopState::On), None);
    }

    #[test]
    fn files_that_were_rejected_have_no_effect() {
        let rejected = json!({ "rejected": { "at": "2026-11-27T10:00:00Z", "problems": ["x"] } });
        let words = obstacle(&rejected, "a", HopState::On, RUNNING).unwrap();
        assert!(words.contains("has rejected the files on disk"), "{words}");
        assert_eq!(obstacle(&json!({ "rejected": null }), "a", HopState::On, RUNNING), None);
    }
}
