//! Describes parts of a configuration for people.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use mooltiroute_hops::{Hop, Preferences, SourceKind, SourceState};

use crate::{
    config::{ChainConfig, Config, Credential, NamedHop, OnLeave, Route, ShownSetting},
    duration::{in_words, whole_seconds},
    network::{Network, Truth},
    state::saved_lists::SavedLists,
    timestamp::rfc_3339,
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

/// Says for each hop of `chain` that something may switch whether it is on, and why.
pub(super) fn switches(chain: &ChainConfig, config: &Config, network: &Network) -> Vec<String> {
    let is_conditional = |hop: &NamedHop| {
        let condition = hop.condition.as_ref();
        condition.is_some_and(|own| chain.depends_on.iter().any(|one| Arc::ptr_eq(one, own)))
    };
    let is_listed = |name: &str| {
        let listed = chain.hops.iter().map(|hop| &config.hops[*hop].name);
        listed.chain(&chain.switched_off).any(|one| **one == *name)
    };
    let hops = config.hops.iter().filter(|hop| is_conditional(hop) || is_listed(&hop.name));
    hops.filter_map(|hop| switch(hop, config, network)).collect()
}

/// Returns the [`switches`] of each chain.
pub(super) fn switches_by_chain(
    config: &Config,
    network: &Network,
) -> BTreeMap<Arc<str>, Vec<String>> {
    let of = |chain: &ChainConfig| (Arc::clone(&chain.name), switches(chain, config, network));
    config.chains.iter().map(of).collect()
}

/// Says whether `hop` is on and why, unless it is on since nothing switches it.
pub(super) fn switch(hop: &NamedHop, config: &Config, network: &Network) -> Option<String> {
    let NamedHop { name, is_enabled, condition, .. } = hop;
    let is_on = if *is_enabled { "on" } else { "off" };
    // An option replaces the condition, so it is looked at first.
    if let Some(option) = config.switched_by_option(name) {
        return Some(format!("{name} is {is_on} by `{option}`, whatever the configuration says"));
    }
    match condition {
        Some(condition) => {
            let shown = network.shown(condition);
            let facts: Vec<_> = shown.facts.iter().map(ToString::to_string).collect();
            let undecided = match shown.value == Truth::Undecided.word() {
                true => format!(" (while undecided: {})", shown.unknown),
                false => String::new(),
            };
            Some(format!("{name} is {is_on}{undecided}: {}", facts.join("; ")))
        }
        None if !is_enabled => Some(format!("{name} is off by `enabled: false`")),
        None => None,
    }
}

/// Describes the document that a hop depends on: its source, the copy of it in `lists`, and the meaning of its rules.
pub(super) fn document(
    hop: &NamedHop,
    lists: &SavedLists,
    indent: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(asker) = hop.asker() else { return Ok(()) };
    let SourceState { kind, source, loaded, .. } = asker.state();
    let kept = asker.saved_name().and_then(|name| kept_list(lists, &name));
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
            if let Some(words) = kept {
                writeln!(out, "{indent}{words}")?;
            }
        }
    }
    let terms = hop.decider().map(|decider| decider.terms()).unwrap_or_default();
    terms.iter().try_for_each(|term| writeln!(out, "{indent}{term}"))
}

/// Describes the copy of a list that is kept for the next start, if there is one.
fn kept_list(lists: &SavedLists, name: &str) -> Option<String> {
    Some(match lists.read(name) {
        Ok(found) => {
            let loaded = found?.loaded;
            let age = loaded.elapsed().map(|age| in_words(whole_seconds(age))).unwrap_or_default();
            format!(
                "its last good copy is of {}, {age} ago; a start uses it until the list is fetched",
                rfc_3339(loaded)
            )
        }
        Err(error) => format!(
            "its last good copy can't be used: {error}; it is replaced when the list is fetched"
        ),
    })
}

/// Says where credentials come from, with a comma before each.
pub(super) fn credentials(credentials: &[Credential]) -> String {
    credentials.iter().map(|credential| format!(", {credential}")).collect()
}

/// Says what the written settings about sessions, tunnels and header fields mean, a line each.
/// `client` are the preferences of the client that asks, if there is one.
pub(super) fn sessions(hop: &NamedHop, client: Option<&Preferences>) -> Vec<String> {
    let is_named = client.is_some_and(|client| client.session.is_some());
    let describes = hop.hop.as_ref().map(|built| built.describe());
    let of_client = describes.as_ref().is_some_and(|hop| hop.takes_preferences && is_named);
    let is_required = describes.as_ref().is_some_and(|hop| hop.requires_session);
    let meanings = hop.hop.as_ref().map(|built| built.session_meanings()).unwrap_or_default();
    let meanings = meanings.iter().map(|meaning| (meaning.key, meaning.words));
    let meanings: Vec<_> =
        meanings.chain([("rotate_after", ROTATE_AFTER), ("headers", HEADERS)]).collect();
    let written = hop.settings.iter().filter_map(|ShownSetting { key, value }| {
        let (_, words) = meanings.iter().find(|(of, _)| of == key)?;
        // The session that a client names takes the place of the one in the file.
        Some(match (*key == "session", is_required, of_client) {
            (true, true, _) => {
                format!("{key} {value}: no effect, since each client has to name a session")
            }
            (true, false, true) => {
                format!("{key} {value}: without a session in the client's username, {words}")
            }
            _ => format!("{key} {value}: {words}"),
        })
    });
    written.collect()
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

/// Says how long a client keeps the member of a pool.
pub(super) const PICKED_FOR: &str =
    "for each connection of a client, and again if the member closes its own";

/// Describes a pool without a member that is on.
pub(super) const MEMBERS_OFF: &str =
    "refuses every request now: the conditions of all its members have switched them off";

const HEADERS: &str = "these fields go to this hop with each CONNECT, and never to the target";

const ROTATE_AFTER: &str = "a tunnel that is older ends when nothing has moved in it for a second; the client's next one gets another exit if \
                            the hops give it one";

/// A list of thousands must not fill the terminal.
const MEMBERS_SHOWN_MAX: usize = 20;
