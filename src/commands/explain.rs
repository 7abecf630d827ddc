//! `mooltiroute explain`: shows the route and the hops that a request would take, and why.

mod answer;
mod asked;
mod client;
mod decided;
mod way;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use mooltiroute_hops::{Preferences, Registry};

use self::answer::InquiryAnswer;
pub use self::asked::{Asked, Form, InvalidUrl};
use super::{USAGE, Verdict, complain, graph::Graph, preferences_of, write_problems};
use crate::{
    cli::{Explain, Format, GraphFormat},
    config::{Environment, Loader},
    router::{Query, Router},
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
fn draw(loader: &Loader, question: &Inquiry, format: GraphFormat) -> io::Result<Verdict> {
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
    Graph::of_request(&config, index, target.to_string()).write(format, &mut super::stdout())?;
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
    let answer = InquiryAnswer::new(&config, question, loader);
    match format {
        Format::Human => answer.describe(&loader.network, out)?,
        Format::Json => writeln!(out, "{:#}", answer.to_json())?,
    }
    Ok(if answer.is_served() { Verdict::Valid } else { Verdict::Invalid })
}

/// The beginning of the note that the proxy serves the client as if it had given no username.
pub(super) const NO_EFFECT: &str = "The client is served, and its username has no effect";

const NO_ROUTE: &str = "No route matches: the client gets an error, and no connection is made.";
