//! The answer to an inquiry, as text and as JSON.

use std::io::{self, Write};

use mooltiroute_hops::{Authority, Host};
use serde_json::{Value, json};

use super::{
    Inquiry, NO_EFFECT, NO_ROUTE,
    client::ClientVerdict,
    way::{ExplainedStep, ExplainedWay},
};
use crate::{
    commands::{describe, doubtful_preferences, json::ShownRoute, running},
    config::{Config, Loader, Route, Source},
    network::Network,
    router::{Condition, Query, Router, Rule},
};

/// The route and the hops that a request would take, and what there is to say about them.
pub(super) struct InquiryAnswer<'a> {
    config: &'a Config,
    question: &'a Inquiry,
    /// The position of the route that applies.
    found: Option<usize>,
    way: Option<ExplainedWay<'a>>,
    /// The refusal of the client, or why its preferences have no effect.
    verdict: Option<ClientVerdict>,
    /// A note for a target that is an address.
    by_address: Option<&'static str>,
    /// A note for a target that the last hop takes for another machine.
    near: Option<String>,
    /// The hops on the way whose budget is used up in the running proxy.
    used_up: Vec<String>,
}

impl<'a> InquiryAnswer<'a> {
    pub(super) fn new(config: &'a Config, question: &'a Inquiry, loader: &Loader) -> Self {
        let Inquiry { asked, client } = question;
        let target = &asked.target;
        // The router that serves requests is asked here as well, so that the answer can't differ from what the
        // proxy does.
        let router = Router::new(config.routes.iter().map(|route| &route.rule));
        let found = router.find(&Query { target });
        let route = found.map(|index| &config.routes[index]);
        let verdict = route.and_then(|route| {
            ClientVerdict::of(config, &config.chains[route.chain], target, client.as_ref())
        });
        let preferences = client.clone().unwrap_or_default();
        let mut way = route
            .map(|route| ExplainedWay::new(config, route, (asked, &preferences), &loader.network));
        // The variables of a hop on the command line are made up for the file that means the same.
        if let (Some(way), Source::CommandLine { .. }) = (&mut way, loader.source()) {
            way.steps.iter_mut().for_each(ExplainedStep::take_credentials_from_url);
        }
        let on_way = way.iter().flat_map(|way| &way.steps).filter_map(|step| step.hop);
        let has_budget =
            |name: &&str| config.hops.iter().any(|hop| hop.budget.is_some() && *hop.name == **name);
        let budgeted: Vec<_> = on_way.filter(has_budget).collect();
        Self {
            config,
            question,
            found,
            verdict,
            by_address: found.and_then(|index| note_on_address(config, index, target)),
            near: way.as_ref().and_then(|way| way.note_on_near_target(target, config)),
            used_up: running::used_up_budgets(loader, &budgeted),
            way,
        }
    }

    /// Returns whether the client is served, as far as that is known without asking anything.
    pub(super) fn is_served(&self) -> bool {
        let is_refused = matches!(self.verdict, Some(ClientVerdict::Refused { .. }));
        self.way.as_ref().is_some_and(ExplainedWay::is_served) && !is_refused
    }

    pub(super) fn describe(&self, network: &Network, out: &mut dyn Write) -> io::Result<()> {
        let Inquiry { asked, client } = self.question;
        match client {
            Some(client) => writeln!(out, "{asked} as {client}")?,
            None => writeln!(out, "{asked}")?,
        }
        self.describe_routes(out)?;
        if let Some(way) = &self.way {
            way.describe(out)?;
            way.decided.iter().try_for_each(|decided| decided.describe(out))?;
            way.describe_conditions(network, out)?;
        }
        match &self.verdict {
            Some(ClientVerdict::Refused { status, why }) => {
                writeln!(out, "\nThe client is refused with {status}: {why}")?;
            }
            Some(ClientVerdict::Ignored(why)) => writeln!(out, "\n{NO_EFFECT}: {why}")?,
            None => {}
        }
        if let Some(note) = self.by_address {
            writeln!(out, "\n{note}")?;
        }
        if let Some(note) = &self.near {
            writeln!(out, "\nnote: {note}")?;
        }
        for note in client.iter().flat_map(doubtful_preferences) {
            writeln!(out, "\n{note}")?;
        }
        match running::note_on_budgets(&self.used_up) {
            Some(note) => writeln!(out, "\n{note}"),
            None => Ok(()),
        }
    }

    /// Lists the routes up to the one that applies, each with the reason.
    fn describe_routes(&self, out: &mut dyn Write) -> io::Result<()> {
        let target = &self.question.asked.target;
        writeln!(out, "\nroutes (the first match applies)")?;
        // Routes after the one that applies are not tried, so they are not part of the answer.
        let tried = self.found.map_or(usize::MAX, |at| at + 1);
        for (index, route) in self.config.routes.iter().enumerate().take(tried) {
            writeln!(out, "  {}", describe::route(index, route, self.config))?;
            let why = reason(&route.rule, &Query { target });
            writeln!(out, "     {why}")?;
        }
        if self.found.is_none() {
            writeln!(out, "\n{NO_ROUTE}")?;
            writeln!(
                out,
                "help: write a last route for everything, such as `- {{ chain: default }}`"
            )?;
        }
        Ok(())
    }

    /// Returns all of it as one document.
    pub(super) fn to_json(&self) -> Value {
        let Self { config, question, found, way, by_address, near, used_up, .. } = self;
        let Inquiry { asked, client } = question;
        // The routes before the one that applies are the reason for the answer. Without one that applies, all are.
        let before = &config.routes[..found.unwrap_or(config.routes.len())];
        let before: Vec<_> = before.iter().map(|route| self.mismatch(route)).collect();
        let (refused, ignored) = match &self.verdict {
            Some(ClientVerdict::Refused { why, .. }) => (Some(why), None),
            Some(ClientVerdict::Ignored(why)) => (None, Some(why)),
            None => (None, None),
        };
        json!({
            "target": asked.target.to_string(),
            "request": asked.form.name(),
            "as": client.as_ref().map(ToString::to_string),
            "refused": refused,
            "ignored": ignored,
            "budgets_used_up": used_up,
            "index": found,
            "route": found.map(|index| ShownRoute::new(&config.routes[index], config)),
            "before": before,
            "note": by_address,
            "near_target": near,
            "chain": way,
        })
    }

    /// Returns a route that does not apply, with the reason.
    fn mismatch(&self, route: &Route) -> Value {
        let target = &self.question.asked.target;
        json!({
            "route": ShownRoute::new(route, self.config),
            "hint": hint(&route.rule, target),
            "mismatch": route.rule.applies(&Query { target }).err().map(Condition::name),
        })
    }
}

/// Returns a note for a target that is an address, if a route before the one that it takes is for names.
fn note_on_address(config: &Config, index: usize, target: &Authority) -> Option<&'static str> {
    let (query, taken) = (Query { target }, config.routes.get(index)?);
    let is_by_name =
        |route: &Route| route.rule.is_for_names_at(&query) && route.chain != taken.chain;
    let is_general = taken.rule.parts().hosts.is_empty();
    (matches!(target.host(), Host::Address(_))
        && is_general
        && config.routes[..index].iter().any(is_by_name))
    .then_some(BY_ADDRESS)
}

/// Returns what to write if a name was meant to be one of those below it.
fn hint(rule: &Rule, target: &Authority) -> Option<String> {
    let pattern = rule.suffix_of(target.host())?;
    Some(format!("`{pattern}` is for names below it; write `{}` beside it", target.host()))
}

const BY_ADDRESS: &str = "note: routes by name need the name. A client that looks up names itself sends an address, and takes this way: \
                          with SOCKS, write `socks5h://` in place of `socks5://`";

/// Returns the reason why `rule` does or does not apply to `query`.
fn reason(rule: &Rule, query: &Query<'_>) -> String {
    let host = query.target.host();
    match rule.applies(query) {
        Err(Condition::Hosts(_)) => match hint(rule, query.target) {
            Some(hint) => format!("no: `{host}` is not one of its hosts: {hint}"),
            None => format!("no: `{host}` is not one of its hosts"),
        },
        Err(Condition::Ports(_)) => format!("no: {} is not one of its ports", query.target.port()),
        // A rule that applies has matched its ports too; the host is what operators look for.
        Ok(()) => match rule.parts().hosts.iter().find(|pattern| pattern.matches(host)) {
            Some(pattern) => format!("yes: `{host}` is one of its hosts, by `{pattern}`"),
            None => "yes: it is for every host".to_owned(),
        },
    }
}
