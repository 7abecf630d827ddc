//! Lists the PAC files and the lists of proxies that hops depend on.

use std::io::{self, Write};

use serde_json::Value;

use super::{RED, RESET, word};

/// Lists the documents that hops depend on, with their state. `verb` says what a hop does with its document.
pub(super) fn documents(documents: &Value, verb: &str, out: &mut dyn Write) -> io::Result<()> {
    for (hop, file) in documents.as_object().into_iter().flatten() {
        let before = file["members_before"].as_u64();
        let before = before.map(|count| format!(" ({count} in the list before)"));
        let before = before.unwrap_or_default();
        let members = match file["members"].as_u64() {
            None => String::new(),
            Some(1) => format!("1 proxy{before}, "),
            Some(count) => format!("{count} proxies{before}, "),
        };
        let is_in_use = file["loaded_at"].is_string();
        let state = match (file["loaded_at"].as_str(), file["checked_at"].as_str()) {
            (Some(loaded), _) => {
                // A document may have been asked for since then, and be the same still.
                let confirmed = file["confirmed_at"].as_str().filter(|at| *at != loaded);
                let confirmed = confirmed.map(|_| word(&file["confirmed_at"]));
                let confirmed = confirmed.map(|at| format!(", still the same at {at}"));
                format!(
                    "{members}loaded {}{}",
                    word(&file["loaded_at"]),
                    confirmed.unwrap_or_default()
                )
            }
            (None, Some(_)) => "not loaded: its requests are refused".to_owned(),
            (None, None) => "fetched when a request needs it".to_owned(),
        };
        writeln!(out, "\n{hop} {verb} {}, {state}", word(&file["source"]))?;
        if !file["problem"].is_null() {
            let at = word(&file["checked_at"]);
            writeln!(out, "  {RED}failed{RESET} {at}: {}", word(&file["problem"]))?;
            let kept = if is_in_use { "the last good one stays in use; " } else { "" };
            let next = match file["retry_seconds"].as_f64() {
                Some(pause) if pause > 0.0 => {
                    format!("the first request after {pause:.0} s fetches it again")
                }
                _ => "the next request fetches it again".to_owned(),
            };
            writeln!(out, "  {kept}{next}")?;
        }
        if !file["doubt"].is_null() {
            writeln!(out, "  {}", word(&file["doubt"]))?;
        }
    }
    Ok(())
}
