//! The way of a request, hop by hop.

mod step;
mod taken_member;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use mooltiroute_hops::{
    Authority, Decision, PlainForm, Preferences, Request, SourceKind, SourceState,
};
use serde::Serialize;

pub(super) use self::step::ExplainedStep;
use self::{step::login, taken_member::TakenMember};
use super::{
    asked::{Asked, Form},
    decided::DecidedHop,
};
use crate::{
    client::reply::NearTarget,
    commands::{describe, json::ShownCredential},
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
        let ChainConfig { name, hops, switched_off, depends_on, .. } = &config.chains[route.chain];
        // Conditions of hops that are switched off belong here too, and so do those of members: they are why
        // the way is as it is.
        // A hop elsewhere may have an equal condition, so the objects are compared.
        let is_on_way = |hop: &&NamedHop| {
            let condition = hop.condition.as_ref();
            condition.is_some_and(|own| depends_on.iter().any(|one| Arc::ptr_eq(one, own)))
        };
        let conditional: Vec<_> = config.hops.iter().filter(is_on_way).collect();
        let shown = |hop: &&'a NamedHop| Some((&*hop.name, network.shown(hop.condition.as_ref()?)));
        let conditions = conditional.iter().filter_map(shown).collect();
        let hops: Vec<&NamedHop> = hops.iter().map(|hop| &config.hops[*hop]).collect();
        let decided: Vec<_> = hops.iter().filter_map(|hop| DecidedHop::new(hop, asked)).collect();
        let taken = |hop: &'a NamedHop| match decided.iter().find(|one| one.hop == &*hop.name) {
            None => Some(hop),
            Some(one) => match &one.decision {
                Decision::Hop(name) => config.hops.iter().find(|hop| hop.name == *name),
                Decision::LeftOut => None,
                _ => Some(hop),
            },
        };
        let hops: Vec<&NamedHop> = hops.into_iter().filter_map(taken).collect();
        let asking = Request::new(&asked.target, preferences);
        let address = |hop: &NamedHop| match TakenMember::of(hop, asking) {
            TakenMember::None => hop.hop.as_ref().and_then(|hop| hop.describe().address.cloned()),
            TakenMember::One(_, address) | TakenMember::Sticky(_, address, _) => address,
            TakenMember::PerRequest(_) => None,
        };
        let refuses = |hop: &NamedHop| {
            let is_of_hop = |one: &&DecidedHop<'_>| one.hop == &*hop.name;
            let decided = decided.iter().find(is_of_hop).map(|one| &one.decision);
            matches!(decided, Some(Decision::Refused))
        };
        let refusing = hops.iter().position(|hop| hop.has_all_members_off || refuses(hop));
        // Nothing is sent beyond a hop that refuses the request.
        let hops = &hops[..refusing.map_or(hops.len(), |position| position + 1)];
        let (mut steps, mut ends_in_tunnel) = (Vec::new(), refusing.is_none());
        for (position, hop) in hops.iter().enumerate() {
            let next = hops.get(position + 1).map(|next| address(next));
            // As in `client::forward`: a last hop that accepts plain requests gets the request itself and not
            // a tunnel. All hops before it are passed with CONNECT, whatever the form of the request.
            let form = hop.hop.as_ref().map_or(PlainForm::Tunnel, |hop| hop.plain_form());
            let form = if asked.form == Form::Plain { form } else { PlainForm::Tunnel };
            let target = &asked.target;
            // It chose nothing here, so what follows is only what it does if it chooses a hop.
            let may_be_left_out = decided.iter().any(|one| {
                one.hop == &*hop.name
                    && !matches!(one.decision, Decision::Hop(_) | Decision::Refused)
            });
            let request = match (next, form) {
                _ if hop.has_all_members_off => describe::MEMBERS_OFF.to_owned(),
                _ if refuses(hop) => "refuses the request".to_owned(),
                (Some(Some(next)), _) => format!("CONNECT {next}"),
                (Some(None), _) => "CONNECT to the address of the next hop".to_owned(),
                (None, PlainForm::Absolute) => {
                    ends_in_tunnel = false;
                    format!("the request in absolute-form, for http://{target}")
                }
                (None, PlainForm::ByMember) => {
                    ends_in_tunnel = false;
                    format!(
                        "the request in absolute-form, for http://{target}, if the proxy that it takes forwards plain \
                         requests; otherwise CONNECT {target}"
                    )
                }
                (None, _) => format!("CONNECT {target}"),
            };
            let request = match may_be_left_out {
                true => format!("{request}; or the PAC file chooses no hop, and it gets nothing"),
                false => request,
            };
            steps.push(ExplainedStep {
                hop: Some(&hop.name),
                kind: Some(&hop.kind),
                address: address(hop).map(|address| address.to_string()).unwrap_or_default(),
                request,
                credentials: hop.credentials.iter().map(ShownCredential::from).collect(),
                words: format!(
                    "{}{}",
                    TakenMember::of(hop, asking),
                    describe::credentials(&hop.credentials)
                ),
                login: login(hop, preferences),
                sessions: describe::sessions(hop, Some(preferences)),
            });
        }
        // A hop that forwards the request connects to the target itself, so the target is not a step of ours
        // then.
        if ends_in_tunnel {
            let request = match asked.form {
                Form::Tunnel => "what the client sends through the tunnel",
                Form::Plain => "the request in origin-form",
            };
            steps.push(ExplainedStep {
                hop: None,
                kind: None,
                address: asked.target.to_string(),
                request: request.to_owned(),
                credentials: Vec::new(),
                words: String::new(),
                login: BTreeMap::new(),
                sessions: Vec::new(),
            });
        }
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

    /// Returns whether the hops serve this request, as far as that can be told without asking anything.
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
