//! `mooltiroute reload`: has the running proxy load its configuration, and waits for the verdict.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::json;

use super::running;
use crate::{
    cli,
    config::Environment,
    control::verdict::{OverriddenSetting, ReloadOutcome, ReloadVerdict},
};

/// Runs the command.
pub fn run(flags: &cli::Reload, environment: &Environment) -> ExitCode {
    let verdict = running::find(&flags.proxy, environment).and_then(|control| {
        control.post::<ReloadVerdict>("/v1/reload", &json!({})).map_err(|error| error.to_string())
    });
    running::answer(verdict, flags.format, write, command_verdict)
}

/// Returns whether the files are in force.
fn command_verdict(verdict: &ReloadVerdict) -> super::Verdict {
    match verdict.verdict {
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => super::Verdict::Valid,
        ReloadOutcome::Rejected | ReloadOutcome::Unsettled => super::Verdict::Invalid,
    }
}

/// Writes `verdict` for people.
pub(super) fn write(verdict: &ReloadVerdict, out: &mut dyn Write) -> io::Result<()> {
    let generation = verdict.generation;
    match verdict.verdict {
        ReloadOutcome::Applied => {
            writeln!(out, "generation {generation} is in force")?;
            for changed in &verdict.changed {
                writeln!(out, "  {changed}")?;
            }
        }
        ReloadOutcome::Unchanged => {
            writeln!(
                out,
                "generation {generation} stays in force: the configuration means the same"
            )?;
        }
        ReloadOutcome::Rejected => {
            for problem in &verdict.problems {
                writeln!(out, "{}", problem.text)?;
            }
            writeln!(out, "\nrejected; generation {generation} stays in force")?;
        }
        ReloadOutcome::Unsettled if !verdict.problems.is_empty() => {
            for problem in &verdict.problems {
                writeln!(out, "{}", problem.text)?;
            }
            writeln!(out, "generation {generation} stays in force until then")?;
        }
        ReloadOutcome::Unsettled => {
            writeln!(
                out,
                "the files change too fast to be read; generation {generation} stays in force, and the proxy tries again"
            )?;
        }
    }
    verdict.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))?;
    verdict.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
    // Said for each outcome: an edit without effect is easily taken for a reload that failed.
    for OverriddenSetting { path, option } in &verdict.overridden {
        writeln!(
            out,
            "note: {path} in the files has no effect: the proxy was started with {option}"
        )?;
    }
    Ok(())
}
