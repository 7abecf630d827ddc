//! Describes parts of a configuration for people.

use std::io::{self, Write};

use mooltiroute_hops::{Hop, SourceKind, SourceState};

use crate::{
    config::{ChainConfig, Config, Credential, NamedHop, OnLeave, Route},
    network::Network,
};

/// Describes the hops of a chain.
pub(super) fn path(chain: &ChainConfig, config: &Config) -> String {
    let hops: Vec<&str> = chain.hops.iter().map(|hop| &*config.hops[*hop].name).collect();
    let mut words = if hops.is_empty() { "direct".to_owned() } else { hops.join(", then ") };
    if !chain.switched_off.is_empty() {
        words += &format!(" (switched off: {})", chain.switched_off.join(", "));
    }
    if chain.warm > 0 {
        words += &format!(", {} warm", chain.warm);
    }
    words
}

/// Describes a route: its number, its targets, its chain, its place.
pub(super) fn route(index: usize, route: &Route, config: &Config) -> String {
    let chain = &config.chains[route.chain].name;
    let place = route.place.as_ref().map(|place| format!("  ({place})"));
    format!("{}. {} -> {chain}{}", index + 1, route.rule, place.unwrap_or_default())
}

/// Describes the condition of `hop`, if it has one: its present value, and what holds while it is undecided.
pub(super) fn condition(
    hop: &NamedHop,
    network: &Network,
    indent: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(condition) = &hop.condition else { return Ok(()) };
    let shown = network.shown(condition);
    writeln!(out, "{indent}on while {}", shown.when)?;
    for fact in &shown.facts {
        writeln!(out, "{indent}  {fact}")?;
    }
    let unknown = match condition.unknown {
        true => "while that is undecided, the hop is on",
        false => "while that is undecided, requests go round the hop: `unknown: off`",
    };
    writeln!(out, "{indent}{unknown}")?;
    if hop.on_leave == OnLeave::Cut {
        writeln!(out, "{indent}when it is switched off, its tunnels are cut")?;
    }
    Ok(())
}

/// Describes the document that a hop depends on: its source, and the meaning of its rules.
pub(super) fn document(hop: &NamedHop, indent: &str, out: &mut dyn Write) -> io::Result<()> {
    let Some(asker) = hop.asker() else { return Ok(()) };
    let SourceState { kind, source, loaded, .. } = asker.state();
    let fetched = match (loaded, asker.via()) {
        (Some(_), _) => String::new(),
        (None, "direct") => ", fetched when a request needs it".to_owned(),
        (None, via) => format!(", fetched through chain {via} when a request needs it"),
    };
    match kind {
        SourceKind::PacFile => writeln!(out, "{indent}chosen by the PAC file {source}{fetched}")?,
        _ => {
            writeln!(out, "{indent}members from the list at {source}{fetched}")?;
            if loaded.is_none() {
                writeln!(
                    out,
                    "{indent}its proxies are not known here, since `check` fetches nothing"
                )?;
            }
        }
    }
    let terms = hop.decider().map(|decider| decider.terms()).unwrap_or_default();
    terms.iter().try_for_each(|term| writeln!(out, "{indent}{term}"))
}

/// Says where credentials come from, with a comma before each.
pub(super) fn credentials(credentials: &[Credential]) -> String {
    credentials.iter().map(|credential| format!(", {credential}")).collect()
}

/// Returns the number of members that a hop chooses among, with a comma before it.
pub(super) fn member_count(hop: &dyn Hop) -> String {
    match hop.members().len() {
        0 => String::new(),
        1 => ", 1 member".to_owned(),
        count => format!(", {count} members"),
    }
}

/// Describes the members that a hop chooses among, a line each.
pub(super) fn members(hop: &dyn Hop) -> Vec<String> {
    let members = hop.members();
    let shown = members.iter().take(MEMBERS_SHOWN_MAX).map(|member| {
        let address = member.address.as_ref();
        let address = address.map(|address| format!(": {address}")).unwrap_or_default();
        // Most are HTTP proxies, and a list seldom says which of its lines are not.
        let scheme = member.scheme.filter(|scheme| *scheme != "http");
        let scheme = scheme.map(|scheme| format!(", {scheme}")).unwrap_or_default();
        format!("{}{address}{scheme}", member.name)
    });
    let rest = members.len().saturating_sub(MEMBERS_SHOWN_MAX);
    shown.chain((rest > 0).then(|| format!("and {rest} more"))).collect()
}

/// A list of thousands must not fill the terminal.
const MEMBERS_SHOWN_MAX: usize = 20;
