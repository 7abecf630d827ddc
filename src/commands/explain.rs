//! `mooltiroute explain`: shows the route and the hops that a request would take, and why.

mod asked;
mod client;
mod decided;
mod way;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use mooltiroute_hops::{Authority, Host, Preferences, Registry};
use serde_json::json;

pub use self::asked::{Asked, Form, InvalidUrl};
use self::{
    client::ClientVerdict,
    way::{ExplainedStep, ExplainedWay},
};
use super::{
    USAGE, Verdict, complain, describe, doubtful_preferences, graph::Graph, json::ShownRoute,
    preferences_of, running, write_problems,
};
use crate::{
    cli::{Explain, Format, Picture},
    config::{Config, Environment, Loader, Route, Source},
    router::{Condition, Query, Router, Rule},
};

/// Runs the command.
pub fn run(flags: &Explain, registry: Registry, environment: &Environment) -> ExitCode {
    // Not parsed by clap, whose errors quote the argument: a URL may contain a password.
    let asked = match flags.url.parse::<Asked>() {
        Ok(asked) => asked,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    let client = match flags.request.client.as_deref().map(preferences_of).transpose() {
        Ok(client) => client,
        Err(error) => {
            complain(&format_args!("--as: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    let loader = match super::loader_of(&flags.request, flags.format, registry, environment) {
        Ok(loader) => loader,
        Err(status) => return status,
    };
    let question = Inquiry { asked, client };
    super::status(match flags.graph {
        None => explain(&loader, &question, flags.format, &mut super::answer(flags.format)),
        Some(picture) => draw(&loader, &question, picture),
    })
}

/// A request, and the preferences of the client that makes it.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// The request.
    pub asked: Asked,
    /// The preferences that the client's username states.
    pub client: Option<Preferences>,
}

/// Draws the route and the chain that the request of `question` would take.
fn draw(loader: &Loader, question: &Inquiry, picture: Picture) -> io::Result<Verdict> {
    let mut out = super::answer(Format::Human);
    let config = match loader.load() {
        Ok(config) => config,
        Err(problems) => return write_problems(loader, &problems, Format::Human, &mut out),
    };
    let target = &question.asked.target;
    // The picture is of the way of one request, so without a route there is nothing to draw.
    let router = Router::new(config.routes.iter().map(|route| &route.rule));
    let Some(index) = router.find(&Query { target }) else {
        writeln!(out, "{NO_ROUTE}")?;
        return Ok(Verdict::Invalid);
    };
    Graph::of_request(&config, index, target.to_string()).write(picture, &mut super::stdout())?;
    Ok(Verdict::Valid)
}

/// Loads the configuration, and writes the route and the hops that the request `asked` would take.
///
/// Opens no connection. Returns [`Verdict::Invalid`] if the configuration is invalid or has no route for the request.
///
/// # Errors
/// Writing to `out` failed.
pub fn explain(
    loader: &Loader,
    question: &Inquiry,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Verdict> {
    let config = match loader.load() {
        Ok(config) => config,
        Err(problems) => return write_problems(loader, &problems, format, out),
    };
    let Inquiry { asked, client } = question;
    // The router that serves requests is asked here as well, so that the answer can't differ from what the
    // proxy does.
    let router = Router::new(config.routes.iter().map(|route| &route.rule));
    let found = router.find(&Query { target: &asked.target });
    let route = found.map(|index| &config.routes[index]);
    let verdict = route.and_then(|route| {
        ClientVerdict::of(&config, &config.chains[route.chain], &asked.target, client.as_ref())
    });
    let preferences = client.clone().unwrap_or_default();
    let mut way = found.map(|index| {
        ExplainedWay::new(&config, &config.routes[index], (asked, &preferences), &loader.network)
    });
    // The variables of a hop on the command line are made up for the file that means the same.
    if let (Some(way), Source::CommandLine { .. }) = (&mut way, loader.source()) {
        way.steps.iter_mut().for_each(ExplainedStep::take_credentials_from_url);
    }
    let by_address = found.and_then(|index| note_on_address(&config, index, &asked.target));
    let near = way.as_ref().and_then(|way| way.note_on_near_target(&asked.target, &config));
    let on_way = way.iter().flat_map(|way| &way.steps).filter_map(|step| step.hop);
    let has_budget =
        |name: &&str| config.hops.iter().any(|hop| hop.budget.is_some() && *hop.name == **name);
    let used_up = running::used_up_budgets(loader, &on_way.filter(has_budget).collect::<Vec<_>>());
    match format {
        Format::Human => {
            match client {
                Some(client) => writeln!(out, "{asked} as {client}")?,
                None => writeln!(out, "{asked}")?,
            }
            describe_routes(&config, &asked.target, found, out)?;
            if let Some(way) = &way {
                way.describe(out)?;
                way.decided.iter().try_for_each(|decided| decided.describe(out))?;
                way.describe_conditions(&loader.network, out)?;
            }
            match &verdict {
                Some(ClientVerdict::Refused { status, why }) => {
                    writeln!(out, "\nThe client is refused with {status}: {why}")?;
                }
                Some(ClientVerdict::Ignored(why)) => {
                    writeln!(out, "\n{NO_EFFECT}: {why}")?;
                }
                None => {}
            }
            if let Some(note) = &by_address {
                writeln!(out, "\n{note}")?;
            }
            if let Some(note) = &near {
                writeln!(out, "\nnote: {note}")?;
            }
            for note in client.iter().flat_map(doubtful_preferences) {
                writeln!(out, "\n{note}")?;
            }
            if let Some(note) = running::note_on_budgets(&used_up) {
                writeln!(out, "\n{note}")?;
            }
        }
        Format::Json => {
            // The routes before the one that applies are the reason for the answer. Without one that applies,
            // all are.
            let before = &config.routes[..found.unwrap_or(config.routes.len())];
            let before: Vec<_> = before
                .iter()
                .map(|route| {
                    json!({
                        "route": ShownRoute::new(route, &config),
                        "hint": hint(&route.rule, &asked.target),
                        "mismatch": route.rule.applies(&Query { target: &asked.target }).err().map(Condition::name),
                    })
                })
                .collect();
            let route = found.map(|index| ShownRoute::new(&config.routes[index], &config));
            let (refused, ignored) = match &verdict {
                Some(ClientVerdict::Refused { why, .. }) => (Some(why), None),
                Some(ClientVerdict::Ignored(why)) => (None, Some(why)),
                None => (None, None),
            };
            let explained = json!({
                "target": asked.target.to_string(),
                "request": asked.form.name(),
                "as": client.as_ref().map(ToString::to_string),
                "refused": refused,
                "ignored": ignored,
                "budgets_used_up": used_up,
                "index": found,
                "route": route,
                "before": before,
                "note": by_address,
                "near_target": near,
                "chain": way,
            });
            writeln!(out, "{explained:#}")?;
        }
    }
    let is_way_open = way.as_ref().is_none_or(ExplainedWay::is_served);
    let is_refused = matches!(verdict, Some(ClientVerdict::Refused { .. }));
    let is_served = found.is_some() && !is_refused && is_way_open;
    Ok(if is_served { Verdict::Valid } else { Verdict::Invalid })
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

/// Lists the routes up to the one that applies, each with the reason.
fn describe_routes(
    config: &Config,
    target: &Authority,
    found: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    // Routes after the one that applies are not tried, so they are not part of the answer.
    writeln!(out, "\nroutes (the first match applies)")?;
    for (index, route) in
        config.routes.iter().enumerate().take(found.map_or(usize::MAX, |at| at + 1))
    {
        writeln!(out, "  {}", describe::route(index, route, config))?;
        let why = reason(&route.rule, &Query { target });
        writeln!(out, "     {why}")?;
    }
    if found.is_none() {
        writeln!(out, "\n{NO_ROUTE}")?;
        writeln!(out, "help: write a last route for everything, such as `- {{ chain: default }}`")?;
    }
    Ok(())
}

/// The beginning of the note that the proxy serves the client as if it had given no username.
pub(super) const NO_EFFECT: &str = "The client is served, and its username has no effect";

const NO_ROUTE: &str = "No route matches: the client gets an error, and no connection is made.";

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
