//! `mooltiroute probe`: makes one request through its chain, and reports each step.

mod outcome;
mod probe_request;
mod report;
mod steps;
mod visit;

use std::{
    future::Future,
    io::{self, Write},
    pin::{Pin, pin},
    process::ExitCode,
    time::{Duration, Instant},
};

use mooltiroute_hops::{Registry, tls::TlsClient};
use tokio::time::timeout;

pub use self::probe_request::ProbeRequest;
use self::{
    outcome::{ConfigFacts, ProbeOutcome, Remarks},
    report::{doubtful_credentials, kept_lists},
    steps::Steps,
    visit::{ProbeAnswer, Visit},
};
use super::{USAGE, Verdict, complain, preferences_of, running, write_problems};
use crate::{
    cli::{self, Format},
    client::{
        ask::{Denial, no_say},
        reply::{Reply, advice},
    },
    config::{Config, Environment, Loader, Problems},
    state::{
        generation::{Generation, Live, Way},
        saved_lists::SavedLists,
    },
    system::runtime,
};

/// Runs the command.
pub fn run(flags: &cli::Probe, registry: Registry, environment: &Environment) -> ExitCode {
    // Not parsed by clap, whose errors quote the argument: a URL may contain a password.
    let probe_request = match flags.url.parse::<ProbeRequest>() {
        Ok(probe_request) => probe_request,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    let preferences = flags.request.client.as_deref().map(preferences_of).transpose();
    let probe_request = match preferences {
        Ok(preferences) => probe_request.preferring(preferences.unwrap_or_default()),
        Err(error) => {
            complain(&format_args!("--as: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    let tls = match probe_request.tls(flags.ca.as_deref()) {
        Ok(tls) => tls,
        Err(error) => {
            complain(&format_args!("--ca: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    let loader = match super::loader_of(&flags.request, flags.format, registry, environment) {
        Ok(loader) => loader,
        Err(status) => return status,
    };
    let runtime = match runtime::build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&runtime::not_built(&error)),
    };
    let mut out = super::answer(flags.format);
    let written =
        runtime.block_on(probe(&loader, &probe_request, tls.as_ref(), flags.format, &mut out));
    // A name look-up that never returns must not delay the exit.
    runtime.shutdown_background();
    super::status(written)
}

/// Loads the configuration, makes the request of `probe_request` through its chain, and reports each step.
///
/// Returns [`Verdict::Invalid`] if the target was not reached or the configuration is invalid.
///
/// # Errors
/// Writing to `out` failed.
pub async fn probe(
    loader: &Loader,
    probe_request: &ProbeRequest,
    tls: Option<&TlsClient>,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Verdict> {
    let config = match load_for_network(loader).await {
        Ok(config) => config,
        Err(problems) => return write_problems(loader, &problems, format, out),
    };
    let facts = ConfigFacts::of(&config, &loader.network);
    let live = begin(loader, config);
    let generation = live.current();
    let admitted = probe_request.admitted();
    let ask = probe_request.ask(&admitted);
    // From here on the steps are those of a client's request, so that the answer is that of the running
    // proxy.
    let way = ask.way(&generation);
    if format == Format::Human {
        announce(probe_request, way.as_ref().ok(), &facts, out)?;
    }
    let began = Instant::now();
    // JSON is one document, so its steps are kept until the end.
    let steps = Steps::new(&probe_request.target, (format == Format::Human).then_some(&mut *out));
    // As for a client, preferences are refused before anything is connected to.
    let allowed = way.clone().and_then(|way| ask.preferences(way, &generation).map(|_| way));
    let lacks_session = matches!(allowed, Err(Denial::NoSession { .. }));
    let reached = match allowed {
        Err(denial) => Err(denial.into()),
        Ok(Way { chain, .. }) => {
            let visit = Visit { probe_request, chain, generation: &generation, tls, steps: &steps };
            make(&visit, format).await
        }
    };
    let (steps, took) = (steps.finish()?, began.elapsed());
    let way = way.ok();
    let ignored = way.filter(|way| ask.has_unused_preferences(*way, &generation));
    let doubts = reached.as_ref().err().map(|reply| doubtful_credentials(&facts.warnings, reply));
    let remarks = Remarks {
        doubts: doubts.unwrap_or_default(),
        kept_lists: way.map_or_else(Vec::new, |way| kept_lists(&generation, way.chain)),
        ignored: ignored.map(|way| no_say(way.chain.name(), way.chain.is_of_urls())),
        // This process counts nothing, so only the running proxy knows.
        used_up: running::used_up_budgets(loader, &facts.budgeted_on(way.as_ref())),
    };
    let probed =
        ProbeOutcome { probe_request, way, facts, steps, took, reached, lacks_session, remarks };
    match format {
        Format::Human => probed.describe(out)?,
        Format::Json => writeln!(out, "{:#}", probed.to_json())?,
    }
    Ok(if probed.is_reached() { Verdict::Valid } else { Verdict::Invalid })
}

/// Applies `config`, as a proxy does that starts with it.
fn begin(loader: &Loader, config: Config) -> Live {
    // The chain refuses addresses that lead back to the proxy that runs on this configuration.
    let listeners = config.server.listen.iter();
    let listening = listeners.flat_map(|listener| listener.address.sockets()).collect();
    // A running proxy begins with the lists that it has kept, and so does this.
    let lists = SavedLists::find(loader.source(), loader.environment()).read_only();
    Live::new(Generation::first(config, listening, &loader.network, lists, advice))
}

/// Writes the request and the way that it takes.
fn announce(
    probe_request: &ProbeRequest,
    way: Option<&Way<'_>>,
    facts: &ConfigFacts,
    out: &mut dyn Write,
) -> io::Result<()> {
    match probe_request.preferences.is_empty() {
        true => writeln!(out, "{probe_request}")?,
        false => writeln!(out, "{probe_request} as {}", probe_request.preferences)?,
    }
    let Some(Way { route, chain, .. }) = way else { return Ok(()) };
    let hops: Vec<_> = chain.hops().iter().map(|hop| &*hop.name).collect();
    let hops = if hops.is_empty() { "direct".to_owned() } else { hops.join(", then ") };
    writeln!(out, "route {route}, chain {}: {hops}", chain.name())?;
    // A chain that goes direct since a condition is false looks like one without hops.
    for switch in facts.switches.get(chain.name()).into_iter().flatten() {
        writeln!(out, "{switch}")?;
    }
    writeln!(out)
}

/// Makes the request of `visit`.
///
/// # Errors
/// The reply that a client of the proxy would get.
async fn make(visit: &Visit<'_, '_>, format: Format) -> Result<Option<ProbeAnswer>, Reply> {
    let made = visit.make();
    let made = match format {
        Format::Human => telling_waits(visit.steps, pin!(made)).await,
        Format::Json => made.await,
    };
    made.map_err(Reply::for_probe)
}

/// Waits for `work`, and tells the user on standard error which step takes long. The steps on standard output are those that have
/// ended.
async fn telling_waits<F: Future>(steps: &Steps<'_>, mut work: Pin<&mut F>) -> F::Output {
    loop {
        match timeout(WAIT_CHECK, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => {
                if let Some(wait) = steps.long_wait() {
                    complain(&wait);
                }
            }
        }
    }
}

/// Loads the configuration for the network that this machine is in.
///
/// A running proxy has asked about the network by the time of a request. Here that happens before the way is chosen.
async fn load_for_network(loader: &Loader) -> Result<Config, Problems> {
    let config = loader.load()?;
    let conditions: Vec<_> = config.hops.iter().filter_map(|hop| hop.condition.clone()).collect();
    if conditions.is_empty() {
        return Ok(config);
    }
    // The outcomes are an input of the loader, like the files, so the configuration is built again for them.
    loader.network.ask_once(&conditions).await;
    loader.load()
}

/// How often the running step is checked.
const WAIT_CHECK: Duration = Duration::from_millis(100);
