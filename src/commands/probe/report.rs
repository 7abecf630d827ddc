//! Describes the answer, or the failure, of a probe.

use std::io::{self, Write};

use mooltiroute_hops::{SourceKind, SourceState};
use serde_json::json;

use super::visit::ProbeAnswer;
use crate::{
    client::reply::Reply,
    config::{Problem, ProxyAddress},
    proxy_error::ProxyError,
    state::generation::Generation,
    timestamp::rfc_3339,
    upstream::chain::Chain,
};

pub(super) fn describe(answer: Option<&ProbeAnswer>, out: &mut dyn Write) -> io::Result<()> {
    match answer {
        None => writeln!(out, "\nthe tunnel is open"),
        Some(ProbeAnswer { status, reason, exit, perhaps_by, note, sign }) => {
            writeln!(out, "\nanswer        {status} {reason}")?;
            match (perhaps_by, sign) {
                (Some(hop), Some(sign)) => {
                    writeln!(
                        out,
                        "              of a proxy, `{hop}` or one behind it, by its field `{sign}`"
                    )?;
                }
                (Some(hop), None) => {
                    writeln!(
                        out,
                        "              of the target, or of `{hop}`, which does not say"
                    )?;
                }
                (None, _) => {}
            }
            if let Some(note) = note {
                writeln!(out, "              {note}")?;
            }
            match exit {
                Some(exit) => writeln!(out, "exit address  {exit}"),
                None => Ok(()),
            }
        }
    }
}

/// Returns as JSON the failure of a request that a proxy refused by an answer of its own. A client gets that answer.
pub(super) fn refusal_of_a_proxy(answer: &ProbeAnswer) -> Option<serde_json::Value> {
    let (hop, sign) = (answer.perhaps_by.as_deref()?, answer.sign.as_deref()?);
    Some(json!({
        "status": answer.status,
        "error": "http_request_denied",
        "hop": hop,
        "stage": "response",
        "text": format!("`{hop}`, or a proxy behind it, refused the request: `{sign}`; {NOT_BY_TARGET}"),
    }))
}

/// Returns as JSON the failure that a client of the proxy at `address` would see.
pub(super) fn failure(reply: &Reply, address: Option<ProxyAddress>) -> serde_json::Value {
    json!({
        "status": reply.status(),
        "error": reply.error().name(),
        "hop": reply.blame().and_then(|blame| blame.hop.as_deref()),
        "left_out": reply.blame().map_or_else(Vec::new, |blame| {
            blame.left_out.iter().map(|hop| &**hop).collect::<Vec<_>>()
        }),
        "stage": reply.blame().map(|blame| blame.stage),
        "text": reply.text_at(address),
    })
}

/// Returns those of the configuration's `warnings` that are about the credentials of the hop which `reply` blames, if these may
/// be why it failed.
pub(super) fn doubtful_credentials(warnings: &[Problem], reply: &Reply) -> Vec<String> {
    let Some(blame) = reply.blame().filter(|_| reply.error() == ProxyError::ProxyConfiguration)
    else {
        return Vec::new();
    };
    let hops: Vec<_> =
        blame.hop.iter().chain(&blame.through).map(|hop| format!("hops.{hop}")).collect();
    let is_of_hop = |path: &str| {
        let rests = hops.iter().filter_map(|hop| path.strip_prefix(&**hop));
        rests.into_iter().any(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let notes = warnings.iter().filter_map(|warning| {
        let path = warning.path.to_string();
        let is_of_value = match warning.code {
            "odd-credential" => true,
            // The warnings about a file of a password are those of any value.
            "value" => CREDENTIAL_FILES.iter().any(|file| path.ends_with(file)),
            _ => false,
        };
        (is_of_value && is_of_hop(&path)).then(|| {
            format!("`mooltiroute check` warns about this value: {path}: {}", warning.message)
        })
    });
    notes.collect()
}

/// The ends of the paths of settings that name a file with a credential.
const CREDENTIAL_FILES: [&str; 3] = [".password_file", ".pass_file", ".user_file"];

/// Describes the lists of hops of `chain` whose last good copies were used.
pub(super) fn kept_lists(generation: &Generation, chain: &Chain) -> Vec<String> {
    let hops = generation.hops().iter();
    let hops = hops.filter(|hop| chain.hops().iter().any(|one| one.name == hop.name));
    let kept = hops.filter_map(|hop| {
        let SourceState { kind, source, loaded, checked, problem, .. } = hop.asker()?.state();
        let loaded = loaded.filter(|_| problem.is_some() || checked.is_none())?;
        let why = problem.map(|problem| format!(", since the list can't be fetched: {problem}"));
        (kind == SourceKind::List).then(|| {
            format!(
                "{}: the last good copy of the list at {source} was used, as by a running proxy; it is of {}{}",
                hop.name,
                rfc_3339(loaded),
                why.unwrap_or_default()
            )
        })
    });
    kept.collect()
}

pub(super) const NOT_BY_TARGET: &str = "the target was not reached. A client gets this answer, and its page may say why; ask the administrator of that proxy";
