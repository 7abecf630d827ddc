//! `mooltiroute probe`: makes one request through its chain, and reports each step.

mod errand;
mod report;
mod steps;
mod visit;

use std::{
    future::Future,
    io::{self, Write},
    pin::{Pin, pin},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use mooltiroute_hops::{Registry, tls::TlsClient};
use serde_json::json;
use tokio::{runtime::Builder, time::timeout};

pub use self::errand::Errand;
use self::{
    report::{
        NOT_BY_TARGET, describe, doubtful_credentials, failure, kept_lists, refusal_of_a_proxy,
    },
    steps::{Steps, milliseconds},
    visit::Visit,
};
use super::{
    ASK_WITH_A_SESSION, USAGE, Verdict, complain, describe, doubtful_preferences, example_address,
    explain::NO_EFFECT, preferences_of, running, write_problems,
};
use crate::{
    cli::{self, Format},
    client::{
        ask::{Denial, no_say},
        reply::{Reply, advice},
    },
    config::{Config, Environment, Loader, Problems},
    state::{
        generation::{Generation, Live},
        saved_lists::SavedLists,
    },
};

/// Runs the command.
pub fn run(flags: &cli::Probe, registry: Registry, environment: &Environment) -> ExitCode {
    // Not parsed by clap, whose errors quote the argument: a URL may contain a password.
    let errand = match flags.url.parse::<Errand>() {
        Ok(errand) => errand,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    let preferences = flags.request.client.as_deref().map(preferences_of).transpose();
    let errand = match preferences {
        Ok(preferences) => errand.preferring(preferences.unwrap_or_default()),
        Err(error) => {
            complain(&format_args!("--as: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    let tls = match errand.tls(flags.ca.as_deref()) {
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
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format_args!("the runtime can't be started: {error}")),
    };
    let mut out = super::answer(flags.format);
    let written = runtime.block_on(probe(&loader, &errand, tls.as_ref(), flags.format, &mut out));
    // A name look-up that never returns must not delay the exit.
    runtime.shutdown_background();
    super::status(written)
}

/// Loads the configuration, makes the request of `errand` through its chain, and reports each step.
///
/// Returns [`Verdict::Invalid`] if the target was not reached or the configuration is invalid.
///
/// # Errors
/// Writing to `out` failed.
pub async fn probe(
    loader: &Loader,
    errand: &Errand,
    tls: Option<&TlsClient>,
    format: Format,
    out: &mut dyn Write,
) -> io::Result<Verdict> {
    let config = match loader.load() {
        Ok(config) => config,
        Err(problems) => return write_problems(loader, &problems, format, out),
    };
    // A running proxy has asked about the network by the time of a request. Here that happens before the way
    // is chosen.
    let config = match ask_conditions(loader, config).await {
        Ok(config) => config,
        Err(problems) => return write_problems(loader, &problems, format, out),
    };
    let budgeted = config.hops.iter().filter(|hop| hop.budget.is_some());
    let mut budgeted: Vec<_> = budgeted.map(|hop| Arc::clone(&hop.name)).collect();
    // The chain refuses addresses that lead back to the proxy that runs on this configuration.
    let listeners = config.server.listen.iter();
    let listening = listeners.flat_map(|listener| listener.address.sockets()).collect();
    let address = example_address(&config.server);
    let switches = describe::switches_by_chain(&config, &loader.network);
    let warnings = config.warnings.clone();
    // A running proxy begins with the lists that it has kept, and so does this.
    let lists = SavedLists::find(loader.source(), loader.environment()).read_only();
    let live = Live::new(Generation::first(config, listening, &loader.network, lists, advice));
    let generation = live.current();
    let admitted = errand.admitted();
    let ask = errand.ask(&admitted);
    let mut lacks_session = false;
    // From here on the steps are those of a client's request, so that the answer is that of the running
    // proxy.
    let way = ask.way(&generation);
    if format == Format::Human {
        match errand.preferences.is_empty() {
            true => writeln!(out, "{errand}")?,
            false => writeln!(out, "{errand} as {}", errand.preferences)?,
        }
        if let Ok(way) = &way {
            let hops: Vec<_> = way.chain.hops().iter().map(|hop| &*hop.name).collect();
            let hops = if hops.is_empty() { "direct".to_owned() } else { hops.join(", then ") };
            writeln!(out, "route {}, chain {}: {hops}", way.route, way.chain.name())?;
            // A chain that goes direct since a condition is false looks like one without hops.
            for switch in switches.get(way.chain.name()).into_iter().flatten() {
                writeln!(out, "{switch}")?;
            }
            writeln!(out)?;
        }
    }
    let began = Instant::now();
    // JSON is one document, so its steps are kept until the end.
    let steps = Steps::new(&errand.target, (format == Format::Human).then_some(&mut *out));
    let reached = match &way {
        Err(denial) => Err(denial.clone().into()),
        // As for a client, preferences are refused before anything is connected to.
        Ok(way) => match ask.preferences(*way, &generation) {
            Err(denial) => {
                lacks_session = matches!(denial, Denial::NoSession { .. });
                Err(denial.into())
            }
            Ok(_) => {
                let (chain, generation) = (way.chain, &generation);
                let visit = Visit { errand, chain, generation, tls, steps: &steps };
                let made = visit.make();
                let made = match format {
                    Format::Human => telling_waits(&steps, pin!(made)).await,
                    Format::Json => made.await,
                };
                made.map_err(Reply::for_probe)
            }
        },
    };
    let (steps, took) = (steps.finish()?, began.elapsed());
    // This process counts nothing, so only the running proxy knows.
    budgeted.retain(|name| {
        way.as_ref().is_ok_and(|way| way.chain.hops().iter().any(|hop| hop.name == *name))
    });
    let used_up = running::used_up_budgets(loader, &budgeted);
    let kept_lists =
        way.as_ref().map_or_else(|_| Vec::new(), |way| kept_lists(&generation, way.chain));
    let ignored = way.as_ref().ok().filter(|way| ask.has_unused_preferences(**way, &generation));
    let ignored = ignored.map(|way| no_say(way.chain.name(), way.chain.is_of_urls()));
    let doubts = reached.as_ref().err().map(|reply| doubtful_credentials(&warnings, reply));
    let doubts = doubts.unwrap_or_default();
    match format {
        Format::Human => {
            match &reached {
                Ok(answer) => {
                    describe(answer.as_ref(), out)?;
                    let took = milliseconds(took);
                    match answer.as_ref().map(|answer| (&answer.perhaps_by, &answer.sign)) {
                        Some((_, Some(_))) => writeln!(out, "answered in {took}; {NOT_BY_TARGET}")?,
                        Some((Some(_), None)) => writeln!(out, "answered in {took}")?,
                        _ => writeln!(out, "reached in {took}")?,
                    }
                }
                Err(reply) => {
                    // The line of the route is already followed by an empty line.
                    let gap = if way.is_ok() && steps.is_empty() { "" } else { "\n" };
                    writeln!(out, "{gap}not reached\n{}", reply.text_at(address))?;
                    if lacks_session {
                        writeln!(out, "{ASK_WITH_A_SESSION}")?;
                    }
                }
            }
            for note in doubts.iter().chain(&kept_lists) {
                writeln!(out, "{note}")?;
            }
            if let Some(why) = &ignored {
                writeln!(out, "{NO_EFFECT}: {why}")?;
            }
            for note in doubtful_preferences(&errand.preferences) {
                writeln!(out, "{note}")?;
            }
            if let Some(note) = running::note_on_budgets(&used_up) {
                writeln!(out, "{note}")?;
            }
        }
        Format::Json => {
            let answer = reached.as_ref().ok().and_then(Option::as_ref);
            let refusal = answer.and_then(refusal_of_a_proxy);
            let failure = reached.as_ref().err().map(|reply| failure(reply, address)).or(refusal);
            let probed = json!({
                "request": errand.to_string(),
                "target": errand.target.to_string(),
                "as": (!errand.preferences.is_empty()).then(|| errand.preferences.to_string()),
                "route": way.as_ref().ok().map(|way| way.route),
                "chain": way.as_ref().ok().map(|way| way.chain.name().as_ref()),
                "switches": way.as_ref().ok().and_then(|way| switches.get(way.chain.name())),
                "steps": steps,
                "seconds": took.as_secs_f64(),
                "reached": failure.is_none(),
                "ignored": ignored,
                "kept_lists": kept_lists,
                "doubtful_credentials": doubts,
                "budgets_used_up": used_up,
                "status": answer.map(|answer| answer.status),
                "exit": answer.and_then(|answer| answer.exit),
                "perhaps_by": answer.and_then(|answer| answer.perhaps_by.as_deref()),
                "note": answer.and_then(|answer| answer.note.as_deref()),
                "failure": failure,
            });
            writeln!(out, "{probed:#}")?;
        }
    }
    let is_reached =
        matches!(&reached, Ok(answer) if answer.as_ref().is_none_or(|one| one.sign.is_none()));
    Ok(if is_reached { Verdict::Valid } else { Verdict::Invalid })
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

/// Asks what the conditions of hops depend on, as a running proxy does, and loads the configuration for the answers.
async fn ask_conditions(loader: &Loader, config: Config) -> Result<Config, Problems> {
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
