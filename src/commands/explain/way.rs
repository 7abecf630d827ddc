//! The way of a request, hop by hop.

mod step;
mod taken_member;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use mooltiroute_hops::{Authority, Decision, Preferences, SourceKind, SourceState};
use serde::Serialize;

use self::step::ExplainedRequest;
pub(super) use self::step::ExplainedStep;
use super::{asked::Asked, decided::DecidedHop};
use crate::{
    client::reply::NearTarget,
    commands::describe,
    config::{ChainConfig, Config, NamedHop, Route},
    network::{Network, ShownCondition, Truth},
};

/// The steps of a request through a chain.
#[derive(Serialize)]
pub(super) struct ExplainedWay<'a> {
    name: &'a str,
    direct: bool,
    pub(super) steps: Vec<ExplainedStep<'a>>,
    switched_off: Vec<&'a str>,
    /// The hops that an option of the command line has switched. Conditions are shown apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    switches: Vec<String>,
    /// The decisions of hops that decide per request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) decided: Vec<DecidedHop<'a>>,
    /// The lists at a URL that some of the hops choose from. Nothing is fetched here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lists: Vec<UnfetchedList<'a>>,
    /// The conditions of the hops, with their present values.
    conditions: BTreeMap<&'a str, ShownCondition>,
    #[serde(skip)]
    conditional: Vec<&'a NamedHop>,
    /// Whether the last of the steps refuses every request now.
    #[serde(skip)]
    is_refused: bool,
}

/// A list of proxies at a URL, one of which takes the request.
#[derive(Serialize)]
struct UnfetchedList<'a> {
    hop: &'a str,
    source: String,
}

/// The kinds that are the gateways of providers.
const PROVIDERS: [&str; 2] = ["webshare", "rotating"];

impl<'a> ExplainedWay<'a> {
    pub(super) fn new(
        config: &'a Config,
        route: &Route,
        (asked, preferences): (&Asked, &Preferences),
        network: &Network,
    ) -> Self {
        let ChainConfig { name, hops, switched_off, .. } = &config.chains[route.chain];
        let conditional = conditional_hops(config, &config.chains[route.chain]);
        let shown = |hop: &&'a NamedHop| Some((&*hop.name, network.shown(hop.condition.as_ref()?)));
        let conditions = conditional.iter().filter_map(shown).collect();
        let hops: Vec<&NamedHop> = hops.iter().map(|hop| &config.hops[*hop]).collect();
        let decided: Vec<_> = hops.iter().filter_map(|hop| DecidedHop::new(hop, asked)).collect();
        let taken = |hop: &'a NamedHop| taken_hop(hop, &decided, config);
        let hops: Vec<&NamedHop> = hops.into_iter().filter_map(taken).collect();
        let request = ExplainedRequest { asked, preferences, decided: &decided };
        let refusing = hops.iter().position(|hop| request.is_refused_by(hop));
        // Nothing is sent beyond a hop that refuses the request.
        let hops = &hops[..refusing.map_or(hops.len(), |position| position + 1)];
        let next = |position: usize| hops.get(position + 1).copied();
        let of_hops = hops.iter().enumerate();
        let of_hops = of_hops.map(|(position, hop)| request.step(hop, next(position)));
        // A hop that forwards the request connects to the target itself, so the target is not a step of ours then.
        let ends_in_tunnel =
            refusing.is_none() && !hops.last().is_some_and(|hop| request.is_forwarded_by(hop));
        let at_target = ends_in_tunnel.then(|| request.step_at_target());
        let steps = of_hops.chain(at_target).collect();
        let lists = hops.iter().filter_map(|hop| {
            let SourceState { kind, source, .. } = hop.asker()?.state();
            (kind == SourceKind::List).then_some(UnfetchedList { hop: &hop.name, source })
        });
        let is_listed = |hop: &&NamedHop| {
            hops.iter().any(|one| one.name == hop.name) || switched_off.contains(&hop.name)
        };
        let by_option = |hop: &&NamedHop| config.switched_by_option(&hop.name).is_some();
        let switched = config.hops.iter().filter(is_listed).filter(by_option);
        let switches = switched.filter_map(|hop| describe::switch(hop, config, network)).collect();
        Self {
            name,
            switches,
            lists: lists.collect(),
            direct: hops.is_empty(),
            steps,
            switched_off: switched_off.iter().map(|name| &**name).collect(),
            decided,
            conditions,
            conditional,
            is_refused: refusing.is_some(),
        }
    }

    /// Returns a note if the last hop means another machine by `target`, or can't reach it.
    pub(super) fn note_on_near_target(
        &self,
        target: &Authority,
        config: &Config,
    ) -> Option<String> {
        let step = self.steps.iter().rfind(|step| step.hop.is_some())?;
        let (name, host) = (step.hop?, target.host());
        let near = NearTarget::of(host)?;
        let is_provider = step.kind.is_some_and(|kind| PROVIDERS.contains(&kind));
        let hop = config.hops.iter().find(|hop| *hop.name == *name)?;
        (near == NearTarget::Loopback || is_provider)
            .then(|| near.note(host, name, hop.url.is_none()))
    }

    /// Returns whether the hops serve this request, as far as that is known without asking anything.
    pub(super) fn is_served(&self) -> bool {
        !self.is_refused && self.decided.iter().all(DecidedHop::is_served)
    }

    /// Shows what the hops of this chain depend on. This command asks nothing, so what has to be asked is undecided here.
    pub(super) fn describe_conditions(
        &self,
        network: &Network,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        for hop in &self.conditional {
            let is_on = if hop.is_enabled { "on" } else { "off" };
            writeln!(out, "\n{} is {is_on} in this answer", hop.name)?;
            describe::condition(hop, network, "  ", out)?;
        }
        // Interfaces are read at once, but names and ports would have to be asked for.
        if self.conditions.values().any(|condition| condition.value == Truth::Undecided.word()) {
            writeln!(
                out,
                "\n`explain` opens no connection; a running proxy asks. See `mooltiroute status`."
            )?;
        }
        Ok(())
    }

    pub(super) fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { name, direct, steps, switched_off, switches, lists, .. } = self;
        let is_direct = if *direct { ", which goes direct" } else { "" };
        writeln!(out, "\nchain {name}{is_direct}")?;
        for (position, step) in steps.iter().enumerate() {
            let ExplainedStep { hop, kind, address, request, words, login, sessions, .. } = step;
            match (hop, kind) {
                (Some(hop), Some(kind)) => {
                    // A list that is not fetched has no address yet.
                    let comma = if address.is_empty() { "" } else { ", " };
                    writeln!(out, "  {}. {hop}: {kind}{comma}{address}{words}", position + 1)?;
                }
                _ => writeln!(out, "  {}. the target, {address}", position + 1)?,
            }
            let gets = if self.is_refused && position + 1 == steps.len() { "" } else { "gets " };
            writeln!(out, "     {gets}{request}")?;
            for (name, text) in login {
                writeln!(out, "     with the {name} `{text}`")?;
            }
            sessions.iter().try_for_each(|words| writeln!(out, "     {words}"))?;
        }
        if !switched_off.is_empty() {
            writeln!(out, "  switched off: {}", switched_off.join(", "))?;
        }
        switches.iter().try_for_each(|switch| writeln!(out, "  {switch}"))?;
        for UnfetchedList { hop, source } in lists {
            writeln!(
                out,
                "\n{hop} takes one of the proxies in the list at {source}\n  \
                 `explain` does not fetch it; `mooltiroute probe` asks as the proxy does."
            )?;
        }
        Ok(())
    }
}

/// Returns the hops with a condition that `chain` depends on.
///
/// Hops that are switched off are among them, and so are members: their conditions are why the way is as it is.
fn conditional_hops<'a>(config: &'a Config, chain: &ChainConfig) -> Vec<&'a NamedHop> {
    // A hop elsewhere may have an equal condition, so the objects are compared.
    let is_on_way = |hop: &&NamedHop| {
        let condition = hop.condition.as_ref();
        condition.is_some_and(|own| chain.depends_on.iter().any(|one| Arc::ptr_eq(one, own)))
    };
    config.hops.iter().filter(is_on_way).collect()
}

/// Returns the hop that takes a request at the place of `hop`, which may have chosen another one or none.
fn taken_hop<'a>(
    hop: &'a NamedHop,
    decided: &[DecidedHop<'_>],
    config: &'a Config,
) -> Option<&'a NamedHop> {
    match decided.iter().find(|one| one.hop == &*hop.name).map(|one| &one.decision) {
        Some(Decision::Hop(name)) => config.hops.iter().find(|hop| hop.name == *name),
        Some(Decision::LeftOut) => None,
        _ => Some(hop),
    }
}
