//! `mooltiroute reload`: has the running proxy load its configuration, and waits for the verdict.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::SystemTime,
};

use serde::Serialize;

use super::running;
use crate::{
    cli,
    config::Environment,
    control::{
        api::ProxyIdentity,
        client::Control,
        verdict::{OverriddenSetting, ReloadOutcome, ReloadVerdict},
    },
    timestamp::rfc_3339,
};

/// The verdict of a proxy, and which proxy that is.
#[derive(Debug, Serialize)]
struct ProxyVerdict {
    #[serde(flatten)]
    verdict: ReloadVerdict,
    proxy: ProxyIdentity,
    /// Words that name the proxy, if the command did not.
    #[serde(skip)]
    place: String,
}

/// Runs the command.
pub fn run(flags: &cli::Reload, environment: &Environment) -> ExitCode {
    let verdict = running::find(&flags.proxy, environment).and_then(reload);
    running::answer(verdict, flags.format, write, |reloaded| command_verdict(&reloaded.verdict))
}

fn reload(control: Control) -> Result<ProxyVerdict, String> {
    let verdict = running::order::reload(&control).map_err(|missing| missing.why)?;
    let (place, generation) = (control.place(), verdict.generation);
    // The proxy described itself before the reload.
    let proxy = ProxyIdentity { generation, ..control.identity };
    Ok(ProxyVerdict { verdict, proxy, place })
}

/// Returns whether the files are in force.
fn command_verdict(verdict: &ReloadVerdict) -> super::Verdict {
    match verdict.verdict {
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => super::Verdict::Valid,
        ReloadOutcome::Rejected | ReloadOutcome::Unsettled => super::Verdict::Invalid,
    }
}

/// Writes `verdict` for people.
fn write(reloaded: &ProxyVerdict, out: &mut dyn Write) -> io::Result<()> {
    let ProxyVerdict { verdict, place, .. } = reloaded;
    let generation = verdict.generation;
    match verdict.verdict {
        ReloadOutcome::Applied => {
            writeln!(out, "generation {generation} is in force{place}")?;
            for changed in &verdict.changed {
                writeln!(out, "  {changed}")?;
            }
        }
        // The proxy may have read an edit by itself a moment ago, and then this must not read as if the edit had no effect.
        ReloadOutcome::Unchanged => match &verdict.since {
            Some(since) => {
                let since = since_in_words(since, &rfc_3339(SystemTime::now()));
                writeln!(
                    out,
                    "already in force since {since} (generation {generation}){place}: the files mean the same"
                )?;
            }
            None => writeln!(
                out,
                "generation {generation} stays in force{place}: the configuration means the same"
            )?,
        },
        ReloadOutcome::Rejected => {
            for problem in &verdict.problems {
                writeln!(out, "{}", problem.text)?;
            }
            writeln!(out, "\nrejected; generation {generation} stays in force{place}")?;
        }
        ReloadOutcome::Unsettled if !verdict.problems.is_empty() => {
            for problem in &verdict.problems {
                writeln!(out, "{}", problem.text)?;
            }
            writeln!(out, "generation {generation} stays in force{place} until then")?;
        }
        ReloadOutcome::Unsettled => {
            writeln!(
                out,
                "the files change too fast to be read; generation {generation} stays in force{place}, and the proxy tries again"
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

/// Returns a time in UTC without its date if that is the date of `now`.
fn since_in_words(since: &str, now: &str) -> String {
    match (since.split_once('T'), now.split_once('T')) {
        (Some((date, time)), Some((today, _))) if date == today => {
            format!("{} UTC", time.trim_end_matches('Z'))
        }
        _ => since.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_today_has_no_date() {
        let now = "2026-11-27T02:30:00Z";
        assert_eq!(since_in_words("2026-11-27T02:29:58Z", now), "02:29:58 UTC");
        assert_eq!(since_in_words("2026-11-26T02:29:58Z", now), "2026-11-26T02:29:58Z");
    }
}
