//! `mooltiroute usage`: shows the bytes that were used.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    time::SystemTime,
};

use serde_json::json;

use super::{Verdict, complain, running, status::table};
use crate::{
    cli::{self, Format, UsageBy},
    config::{Environment, Source},
    duration,
    state::usage_file::usage_file,
    timestamp::rfc_3339_of,
    usage::{BudgetRecord, Sum, UsageRecord},
};

/// Runs the command. It asks the proxy with this configuration if that runs, and reads the file that the proxy keeps
/// otherwise.
pub fn run(flags: &cli::Usage, environment: &Environment) -> ExitCode {
    let out = &mut super::stdout();
    super::status(match (record(flags, environment), flags.format) {
        (Ok(record), Format::Human) => human(&record, flags.by, out).map(|()| Verdict::Valid),
        (Ok(record), Format::Json) => {
            writeln!(out, "{:#}", shown(&record, flags.by)).map(|()| Verdict::Valid)
        }
        (Err(why), Format::Human) => return complain(&why),
        (Err(why), Format::Json) => {
            // A program that asked for JSON gets it for a failure too.
            writeln!(out, "{:#}", json!({ "error": why })).map(|()| Verdict::Invalid)
        }
    })
}

/// Returns the counts of the running proxy, or those that were saved.
///
/// # Errors
/// A description of why there are none.
fn record(flags: &cli::Usage, environment: &Environment) -> Result<UsageRecord, String> {
    let source = Source::find(flags.config.path.clone(), environment);
    let source = source.map_err(|problems| problems.to_string())?;
    // The proxy may have files that another command would not find.
    let running = running::of_choice(&flags.config, environment);
    if let Some(record) = running.and_then(|control| control.get("/v1/usage").ok()) {
        return Ok(record);
    }
    running::doubt_source(&flags.config, &source, environment);
    // Its counts are in a file that only its user can read.
    let running = running::out_of_reach(&flags.config, environment);
    match (of_file(&source, environment), running) {
        (Ok(record), Some(running)) => {
            complain(&format_args!("{running}\nThe counts below were saved earlier"));
            Ok(record)
        }
        (Err(_), Some(running)) => Err(running),
        (saved, None) => saved,
    }
}

/// Reads the counts that the last proxy with this configuration has saved.
fn of_file(source: &Source, environment: &Environment) -> Result<UsageRecord, String> {
    let file = usage_file(source, environment).ok_or(NO_DIRECTORY)?;
    let path = file.path().display();
    match file.read() {
        Ok(Some(record)) => Ok(record),
        Ok(None) => Err(format!(
            "nothing was counted yet: there is no `{path}`; a running proxy writes it within ten seconds of the first request"
        )),
        Err(error) => {
            let is_foreign = error.kind() == io::ErrorKind::PermissionDenied;
            let advice = if is_foreign { OTHER_USER } else { "" };
            Err(format!("`{path}` can't be read: {error}{advice}"))
        }
    }
}

fn shown(record: &UsageRecord, by: Option<UsageBy>) -> serde_json::Value {
    let mut shown = json!({ "since": rfc_3339_of(record.since), "budgets": record.budgets });
    for (sort, name, sums) in books(record) {
        if by.is_none_or(|by| by == sort) {
            shown[name] = json!(sums);
        }
    }
    shown
}

fn human(record: &UsageRecord, by: Option<UsageBy>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "since {}", rfc_3339_of(record.since))?;
    writeln!(out, "{WHAT_COUNTS}")?;
    let wanted = by.unwrap_or(UsageBy::Hop);
    for (_, name, sums) in books(record).into_iter().filter(|(sort, ..)| *sort == wanted) {
        table(name, sums, out)?;
    }
    if by.is_none_or(|by| by == UsageBy::Hop) && !record.budgets.is_empty() {
        budgets(&record.budgets, out)?;
    }
    Ok(())
}

fn books(record: &UsageRecord) -> [(UsageBy, &'static str, &BTreeMap<String, Sum>); 5] {
    [
        (UsageBy::Hop, "hops", &record.hops),
        (UsageBy::Chain, "chains", &record.chains),
        (UsageBy::Route, "routes", &record.routes),
        (UsageBy::Session, "sessions", &record.sessions),
        (UsageBy::Target, "targets", &record.targets),
    ]
}

/// Writes the sums, the largest first.
fn table(name: &str, sums: &BTreeMap<String, Sum>, out: &mut dyn Write) -> io::Result<()> {
    if sums.is_empty() {
        return match name {
            "sessions" => writeln!(out, "\nno client has named a session"),
            _ => writeln!(out, "\n{name}: nothing was counted yet"),
        };
    }
    let mut rows: Vec<_> = sums.iter().collect();
    rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.sent.saturating_add(sum.received)));
    let width = rows.iter().map(|(name, _)| name.chars().count()).chain([name.len()]).max();
    let width = width.unwrap_or_default();
    writeln!(out, "\n{name:width$}  {:>10}  {:>10}  {:>10}", "requests", "sent", "received")?;
    for (name, Sum { requests, sent, received }) in rows {
        let (sent, received) = (table::bytes(*sent), table::bytes(*received));
        writeln!(out, "{name:width$}  {requests:>10}  {sent:>10}  {received:>10}")?;
    }
    Ok(())
}

fn budgets(budgets: &BTreeMap<String, BudgetRecord>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nbudgets")?;
    for (hop, BudgetRecord { bytes, per, used }) in budgets {
        let now = SystemTime::now();
        // The clock may have been wrong when the period was saved.
        if used.period.is_over(now) || used.period.is_ahead(now) {
            writeln!(out, "{hop}: nothing of {} per {per} so far", table::bytes(*bytes))?;
            continue;
        }
        let percent = used.used.saturating_mul(100) / (*bytes).max(1);
        let left = duration::in_words(used.period.left(now));
        let state = if used.is_reached { ", used up" } else { "" };
        writeln!(
            out,
            "{hop}: {} of {} per {per} ({percent}%{state}); the next {per} begins in {left}",
            table::bytes(used.used),
            table::bytes(*bytes)
        )?;
    }
    Ok(())
}

const WHAT_COUNTS: &str = "bytes on the wire, as a provider bills them: with CONNECT, logins and TLS with hops. requests: tunnels and plain \
                           requests, failed ones too";
const OTHER_USER: &str = "; run this command as the user of the proxy";
const NO_DIRECTORY: &str = "usage is kept in the directory of `$STATE_DIRECTORY`, `$XDG_STATE_HOME` or the user's home, \
     and none of them is set";
