//! Lists failures by the hop or target, and says why a hop failed last.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::Value;

use super::{columns::write_section, list, removed::Removed, word};
use crate::duration;

pub(super) fn failures(
    status: &Value,
    removed: &Removed<'_>,
    out: &mut dyn Write,
) -> io::Result<()> {
    // Failures of targets have a list of their own, since no hop is responsible for them.
    let hops = removed.others("hops", status);
    let hops = hops.map(|(name, hop)| (name.as_str(), &hop["failures"]));
    let rows = hops.chain([("(target)", &status["target_failures"])]).flat_map(|(at, failures)| {
        let row = move |failure: &Value| {
            let mut row = vec![at.to_owned()];
            row.extend(["count", "stage", "error"].map(|key| word(&failure[key])));
            row
        };
        list(failures).iter().map(row)
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        Ok(())
    } else {
        let met = |stage: &str| rows.iter().any(|row| row.get(2).is_some_and(|at| at == stage));
        let legend = STAGES.iter().filter(|(stage, _)| met(stage));
        let legend: Vec<_> = legend.map(|(stage, meaning)| format!("{stage}: {meaning}")).collect();
        write_section(&["failed at", "times", "stage", "error"], rows.clone(), out)?;
        if !legend.is_empty() {
            writeln!(out, "{}", legend.join("; "))?;
        }
        last_failures(removed.others("hops", status), out)
    }
}

/// Says for each hop that failed why it did so the last time, and whether its credentials are held back.
fn last_failures<'a>(
    hops: impl Iterator<Item = (&'a String, &'a Value)>,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (name, hop) in hops {
        let last = &hop["last_failure"];
        if !last["cause"].is_string() {
            continue;
        }
        let (at, cause) = (word(&last["at"]), word(&last["cause"]));
        let held = hop["held_back_seconds"].as_u64().map(|seconds| {
            let wait = duration::in_words(Duration::from_secs(seconds));
            format!("; its credentials are held back for {wait}, so that the account is not locked")
        });
        writeln!(out, "{name} failed last at {at}: {cause}{}", held.unwrap_or_default())?;
    }
    Ok(())
}

/// The stages of a request, in words.
const STAGES: [(&str, &str); 5] = [
    ("choose", "choosing the proxy to go through"),
    ("dial", "connecting to the hop, or to the target"),
    ("enter", "TLS with it"),
    ("extend", "asking it to connect further"),
    ("response", "the answer to a plain request"),
];
