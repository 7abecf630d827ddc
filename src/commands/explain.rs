//! `mooltiroute explain`: shows the route and the hops that a request would take, and why.

mod asked;
mod decided;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use mooltiroute_hops::{
    self as hops, Authority, ChooseError, Decision, Eventual, PlainForm, Preferences, Registry,
    SourceKind, SourceState,
};
use serde::Serialize;
use serde_json::json;

use super::{
    ASK_WITH_A_SESSION, USAGE, Verdict, complain, describe, doubtful_session, example_address,
    graph::Graph,
    json::{ShownCredential, ShownRoute},
    preferences_of, running, write_problems,
};
use crate::{
    cli::{Explain, Format, Picture},
    client::{ask::no_say, reply::Reply},
    config::{ChainConfig, Config, Environment, Loader, NamedHop, Route, Source},
    network::{Network, ShownCondition, Truth},
    router::{Condition, Query, Router, Rule},
};

pub use self::asked::{Asked, Form, InvalidUrl};
use self::decided::DecidedHop;

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
            if let Some(note) = client.as_ref().and_then(doubtful_session) {
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

/// The reaction of the proxy to a username whose preferences it can't follow.
enum ClientVerdict {
    /// It answers with an error.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The text of the answer.
        why: String,
    },
    /// It serves the request as if there were no username, for this reason.
    Ignored(String),
}

impl ClientVerdict {
    /// Judges the preferences of `client` for a request to `target` through `chain`, as the proxy does. Returns `None` if
    /// it follows them. A request without a username has no preferences, which some hops refuse.
    fn of(
        config: &Config,
        chain: &ChainConfig,
        target: &Authority,
        client: Option<&Preferences>,
    ) -> Option<Self> {
        let address = example_address(&config.server);
        let refused = |reply: Reply| Self::Refused {
            status: reply.status(),
            why: reply.text_at(address).into_owned(),
        };
        let hops = chain.hops.iter().filter_map(|hop| config.hops[*hop].hop.as_ref());
        let requires_session = hops.clone().any(|hop| hop.describe().requires_session);
        if requires_session && client.is_none_or(|client| client.session.is_none()) {
            let reply = Reply::no_session(config.server.auth.is_some());
            let why = format!("{} {ASK_WITH_A_SESSION}", reply.text_at(address));
            return Some(Self::Refused { status: reply.status(), why });
        }
        let client = client?;
        // Only hops that take preferences are asked; the proxy passes none to the others. `Reply` has the words
        // that the client would get.
        let mut hops = hops.filter(|hop| hop.describe().takes_preferences).peekable();
        if hops.peek().is_none() {
            // Without `server.auth` a username may be left over from the settings of another proxy.
            return Some(match &config.server.auth {
                Some(_) => refused(Reply::no_say(&chain.name)),
                None => Self::Ignored(no_say(&chain.name)),
            });
        }
        // A hop that has to wait for its choice is not asked: nothing is connected to here.
        let invalid =
            hops.find_map(|hop| match Arc::clone(hop).choose(hops::Request::new(target, client)) {
                Eventual::Ready(Err(ChooseError::Preferences(invalid))) => Some(invalid),
                _ => None,
            });
        let is_beside_auth = config.server.auth.is_some();
        invalid.map(|invalid| refused(Reply::invalid_preferences(invalid, is_beside_auth)))
    }
}

/// Lists the routes up to the one that applies, each with the reason.
fn describe_routes(
    config: &Config,
    target: &Authority,
    found: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    // Routes after the one that applies are not tried, so they are no part of the answer.
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

/// The steps of a request through a chain.
#[derive(Serialize)]
struct ExplainedWay<'a> {
    name: &'a str,
    direct: bool,
    steps: Vec<ExplainedStep<'a>>,
    switched_off: Vec<&'a str>,
    /// The hops that an option of the command line has switched. Conditions are shown apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    switches: Vec<String>,
    /// The decisions of hops that decide per request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decided: Vec<DecidedHop<'a>>,
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

/// One stop, and the request that it receives.
#[derive(Serialize)]
struct ExplainedStep<'a> {
    /// The hop's name, or `None` for the target.
    hop: Option<&'a str>,
    kind: Option<&'a str>,
    address: String,
    /// The request that it receives.
    request: String,
    credentials: Vec<ShownCredential<'a>>,
    #[serde(skip)]
    words: String,
    /// The parts of the login that depend on the client, without secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    login: BTreeMap<String, String>,
}

impl ExplainedStep<'_> {
    /// Says that the credentials come from the URL of `--hop`.
    fn take_credentials_from_url(&mut self) {
        let from_url = |one: &ShownCredential<'_>| format!(", {} from `--hop`", one.setting);
        self.words = self.credentials.iter().map(from_url).collect();
    }
}

/// Returns the login of `hop` for a client with these preferences, as far as it depends on them.
fn login(hop: &NamedHop, preferences: &Preferences) -> BTreeMap<String, String> {
    let shapes = hop.hop.as_ref().map(|hop| hop.login_shape(preferences)).unwrap_or_default();
    shapes.into_iter().take(SHAPES_MAX).map(|shape| (shape.name, shape.text)).collect()
}

/// A pool may have many members with a login of this sort.
const SHAPES_MAX: usize = 10;

impl<'a> ExplainedWay<'a> {
    fn new(
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
        let address =
            |hop: &NamedHop| hop.hop.as_ref().and_then(|hop| hop.describe().address.cloned());
        let refusing = hops.iter().position(|hop| hop.has_all_members_off);
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
                words: describe::credentials(&hop.credentials),
                login: login(hop, preferences),
            });
        }
        // A hop that forwards the request connects to the target itself, so the target is no step of ours
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

    /// Returns whether the hops serve this request, as far as that can be told without asking anything.
    fn is_served(&self) -> bool {
        !self.is_refused && self.decided.iter().all(DecidedHop::is_served)
    }

    /// Shows what the hops of this chain depend on. This command asks nothing, so what has to be asked is undecided here.
    fn describe_conditions(&self, network: &Network, out: &mut dyn Write) -> io::Result<()> {
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

    fn describe(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { name, direct, steps, switched_off, switches, lists, .. } = self;
        let is_direct = if *direct { ", which goes direct" } else { "" };
        writeln!(out, "\nchain {name}{is_direct}")?;
        for (position, step) in steps.iter().enumerate() {
            let ExplainedStep { hop, kind, address, request, words, login, .. } = step;
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

/// Returns the reason why `rule` does or does not apply to `query`.
fn reason(rule: &Rule, query: &Query<'_>) -> String {
    let host = query.target.host();
    match rule.applies(query) {
        Err(Condition::Hosts(_)) => format!("no: `{host}` is not one of its hosts"),
        Err(Condition::Ports(_)) => format!("no: {} is not one of its ports", query.target.port()),
        // A rule that applies has matched its ports too; the host is what operators look for.
        Ok(()) => match rule.parts().hosts.iter().find(|pattern| pattern.matches(host)) {
            Some(pattern) => format!("yes: `{host}` is one of its hosts, by `{pattern}`"),
            None => "yes: it is for every host".to_owned(),
        },
    }
}
